import { isAllowedRuntimeEnv, type NodeConditionType, type Reason } from '../../src/api/index.ts';
import { type SnapshotDocument, servedIn, subcloudsOf } from '../../src/config/index.ts';
import { CodedError, errorText } from '../../src/lib/index.ts';
import {
  type Assignment,
  acceleratorOf,
  assignModel,
  type Candidate,
  type FitVerdict,
  fitOfNode,
  gpuWanted,
  networkNotFound,
} from '../../src/placement/index.ts';
import { parseAddress } from '../../src/protocol/index.ts';
import { argProblems } from '../../src/runtime/args.ts';
import { chooseRuntime, resolveImage } from '../images.ts';
import { keySecretName } from '../names.ts';
import type { NetworkFacts, NodeFacts } from './facts.ts';
import { isUsed, nodeIdOf } from './ground.ts';
import type { PodInput } from './pod-input.ts';
import { rolledBackOf } from './rollout-state.ts';

/** Why no pod can be made now, and which condition says so. */
export interface Blocked {
  readonly type: NodeConditionType;
  readonly reason: Reason;
  readonly message: string;
  /** The phase that fits. */
  readonly phase: 'Pending' | 'Unplaced';
}

/** What the checks found out on their way. */
export interface Prepared {
  readonly blocked: Blocked | undefined;
  readonly assignment: Assignment | undefined;
  readonly fit: FitVerdict | undefined;
  /** No key yet, or one that was never used is gone: make one before the pod. */
  readonly needsIdentity: boolean;
  /** There when a pod can be made. */
  readonly input: PodInput | undefined;
}

type ReadyNetwork = Extract<NetworkFacts, { at: 'ready' }>;

/** What the checks share; each adds to it. */
interface Draft {
  network?: ReadyNetwork;
  assignment?: Assignment;
  fit?: FitVerdict;
  images?: PodInput['images'];
  heldBack?: PodInput['heldBack'];
  needsIdentity: boolean;
  keySecret?: string;
}

type Check = (facts: NodeFacts, draft: Draft) => Blocked | undefined;

const blocked = (
  type: NodeConditionType,
  reason: Reason,
  message: string,
  phase: Blocked['phase'] = 'Pending',
): Blocked => ({ type, reason, message, phase });

const networkFound: Check = ({ node, network }) =>
  network.at === 'missing'
    ? blocked('ConfigSynced', 'NetworkNotFound', networkNotFound(node.spec.networkRef.name))
    : undefined;

const networkReady: Check = ({ network }, draft) => {
  if (network.at === 'notReady') return blocked('ConfigSynced', 'NetworkNotReady', network.message);
  if (network.at === 'ready') draft.network = network;
  return undefined;
};

const ownerValid: Check = ({ node }) => {
  const { wallet } = node.spec.owner;
  if (wallet === undefined) return undefined;
  try {
    parseAddress(wallet);
    return undefined;
  } catch (error) {
    return blocked('Registered', 'OwnerInvalid', `spec.owner.wallet: ${errorText(error)}`);
  }
};

const specAllowed: Check = ({ node }) => {
  const { extraArgs = {}, env = [] } = node.spec.runtime ?? {};
  const problems = [
    ...argProblems(extraArgs),
    ...env.filter((e) => !isAllowedRuntimeEnv(e.name)).map((e) => `environment variable ${e.name} may not be set`),
  ];
  return problems.length === 0
    ? undefined
    : blocked('RuntimeReady', 'SpecInvalid', `spec.runtime: ${problems.join('; ')}`);
};

/** Assignment asks the fit of each model, so both are judged here. */
const modelFits: Check = (facts, draft) => {
  const { node, offers, servers } = facts;
  const document = draft.network?.document;
  if (document === undefined) return undefined;
  const candidates: Candidate[] = document.models.map((m) => ({
    model: m.ref,
    state: m.state,
    weight: m.weight,
    servers: servers.get(m.ref) ?? 0,
    fit: fitOfNode(node.spec, m, offers, held(facts)),
  }));
  const elsewhere = (ref: string): boolean =>
    document.models.some((m) => m.ref === ref && !servedIn(m, placesOf(node, document)));
  const wanted = node.spec.models?.assigned;
  if (wanted !== undefined && elsewhere(wanted))
    return blocked(
      'ModelsVerified',
      'ModelNotApproved',
      `${wanted} is for nodes of other subclouds; this one is in ${placesOf(node, document).join(', ') || 'none'}`,
    );
  const assignment = assignModel(
    candidates.filter((c) => !elsewhere(c.model)),
    node.spec.models ?? {},
    node.status?.assignedModel,
  );
  draft.assignment = assignment;
  if (assignment.fit !== undefined) draft.fit = assignment.fit;
  if (assignment.kind === 'none') {
    const failed = document.failedModels.find((m) => m.ref === wanted);
    if (failed)
      return blocked(
        'ModelsVerified',
        'ModelInvalid',
        `the snapshot's entry of ${failed.ref} is wrong: ${failed.reason}`,
      );
    return assignment.reason === 'NoModelFits'
      ? blocked('GPUFit', assignment.fit?.reason ?? 'NoModelFits', assignment.message, 'Unplaced')
      : blocked('ModelsVerified', assignment.reason, assignment.message);
  }
  if (node.spec.placement.fit === 'Require' && assignment.fit.kind !== 'now')
    return blocked('GPUFit', assignment.fit.reason, `placement.fit is Require: ${assignment.fit.message}`, 'Unplaced');
  return undefined;
};

/** Subclouds that the node is in as far as the operator knows; the GPU's memory and the owner's proof are the network's to judge. */
const placesOf = ({ spec, status }: NodeFacts['node'], document: SnapshotDocument): readonly string[] =>
  subcloudsOf(document, {
    node: status?.nodeId?.toLowerCase() ?? '',
    owner: spec.owner.wallet?.toLowerCase() ?? spec.owner.email,
    labels: spec.podTemplate?.labels ?? {},
    gpuMemoryMiB: Number.MAX_SAFE_INTEGER,
    join: spec.subclouds?.join ?? [],
    leave: spec.subclouds?.leave ?? [],
  }).ids;

const imagesAllowed: Check = ({ node, settings }, draft) => {
  const { network, assignment } = draft;
  if (network === undefined || assignment?.kind !== 'assigned') return undefined;
  const model = network.document.models.find((m) => m.ref === assignment.model);
  const accelerator = acceleratorOf(node.spec.placement.gpu);
  const runtime = chooseRuntime(network.document.runtimes, accelerator, model?.engine.minVersion, model?.engine.name);
  if (runtime === undefined)
    return blocked(
      'RuntimeReady',
      'NoRuntimeImage',
      `the snapshot names no runtime image for accelerator ${accelerator}, vllm ≥ ${model?.engine.minVersion ?? '0'}`,
    );
  const { allowedRepositories, mirrors } = network.object.spec.images ?? {};
  const rules = { pulledFrom: settings.allowedRepositories, listed: allowedRepositories, mirrors };
  const agent = resolveImage(
    'agent',
    settings.agentImage === '' ? network.document.agent.image : settings.agentImage,
    rules,
  );
  if (!agent.ok) return blocked('AgentReady', 'ImageNotAllowed', agent.message);
  const image = resolveImage('runtime', runtime.image, rules);
  if (!image.ok) return blocked('RuntimeReady', 'ImageNotAllowed', image.message);
  // An image that was patched back on this node is not tried again by itself, in its next pod either.
  const back = rolledBackOf(node);
  const published = { agent: agent.image, runtime: image.image };
  const heldBack = (['agent', 'runtime'] as const).filter((part) => back[part]?.refused === published[part]);
  const instead = (part: 'agent' | 'runtime'): string =>
    heldBack.includes(part) ? (back[part]?.using ?? published[part]) : published[part];
  draft.images = { agent: instead('agent'), runtime: instead('runtime') };
  draft.heldBack = heldBack;
  return undefined;
};

/** The key of an identity that was ever used is never replaced: the node would silently become another one. */
const identityThere: Check = ({ node, keySecret }, draft) => {
  const { secretRef } = node.spec.identity;
  const nodeId = nodeIdOf(node);
  if (secretRef !== undefined) {
    draft.keySecret = secretRef.name;
    return keySecret === 'missing'
      ? blocked(
          'Registered',
          'IdentitySecretMissing',
          `spec.identity.secretRef: there is no Secret "${secretRef.name}" in this namespace`,
        )
      : undefined;
  }
  if (nodeId === undefined || (keySecret === 'missing' && !isUsed(node))) {
    draft.needsIdentity = true;
    return undefined;
  }
  draft.keySecret = keySecretName(node.metadata.name ?? '', nodeId);
  return keySecret === 'missing'
    ? blocked(
        'Registered',
        'IdentitySecretMissing',
        `the Secret with the key of ${nodeId} is gone; restore it from a backup under the same name`,
      )
    : undefined;
};

/** The GPUs that the node's own pod holds: they count as free for it. */
const held = ({ pod, node }: NodeFacts): Parameters<typeof fitOfNode>[3] => {
  const at = pod?.spec?.nodeName;
  const { resourceName, count } = node.status?.gpu ?? {};
  return at === undefined || resourceName === undefined || pod?.metadata?.uid !== node.status?.podUID
    ? undefined
    : { node: at, resourceName, count: count ?? 0 };
};

/** In this order; the first that blocks is what people are told. */
export const podChecks: readonly (readonly [string, Check])[] = [
  ['networkFound', networkFound],
  ['networkReady', networkReady],
  ['ownerValid', ownerValid],
  ['specAllowed', specAllowed],
  ['modelFits', modelFits],
  ['imagesAllowed', imagesAllowed],
  ['identityThere', identityThere],
];

/** Runs the checks up to the first that blocks. Pure and total. */
export const prepare = (facts: NodeFacts): Prepared => {
  const draft: Draft = { needsIdentity: false };
  let stop: Blocked | undefined;
  for (const [, check] of podChecks) {
    stop = check(facts, draft);
    if (stop) break;
  }
  return {
    blocked: stop,
    assignment: draft.assignment,
    fit: draft.fit,
    needsIdentity: stop === undefined && draft.needsIdentity,
    input: stop === undefined ? inputOf(facts, draft) : undefined,
  };
};

const inputOf = ({ node, settings }: NodeFacts, draft: Draft): PodInput | undefined => {
  const { network, assignment, images, keySecret } = draft;
  if (network === undefined || assignment?.kind !== 'assigned' || images === undefined || keySecret === undefined)
    return undefined;
  const model = network.document.models.find((m) => m.ref === assignment.model);
  if (model === undefined) throw new CodedError('unreachable', 'an assigned model that the snapshot does not list');
  const { extraArgs = {}, env = [] } = node.spec.runtime ?? {};
  return {
    node,
    network: { object: network.object, name: network.name, environment: network.environment },
    images,
    heldBack: draft.heldBack ?? [],
    agentVersion: network.document.agent.version,
    accelerator: acceleratorOf(node.spec.placement.gpu),
    gpu: gpuWanted(node.spec.placement, model.requires.gpus),
    gpuMemoryMiB: model.requires.gpuMemoryMiB,
    keySecret,
    assignedModel: assignment.model,
    engineArgs: extraArgs,
    engineEnv: Object.fromEntries(env.map((e) => [e.name, e.value])),
    agentLogLevel: settings.agentLogLevel,
  };
};
