import { ANNOTATION, CONTAINER, FINALIZER } from '../../src/api/contract.ts';
import type { ConditionUpdate, NodeConditionType, NodePhase, ResultityNode } from '../../src/api/index.ts';
import { CodedError } from '../../src/lib/index.ts';
import type { Pod } from '../pod-types.ts';
import { nodeConditionsOf, type Scene } from './conditions.ts';
import type { NodeFacts } from './facts.ts';
import { nodeIdOf } from './ground.ts';
import { fenced, gpuLostFor, MOVE_AFTER_MS, OUT_OF_SERVICE } from './machine.ts';
import { phaseOf } from './phase.ts';
import { desiredPod, hashOf, podLabels, templateHash } from './pod.ts';
import { AFTER_DRAIN_SECONDS } from './pod-containers.ts';
import type { PodInput } from './pod-input.ts';
import { type Prepared, prepare } from './prepare.ts';
import { pullPod } from './pull.ts';
import type { RolloutDecision, RolloutStep, Told } from './rollout.ts';
import type { RolledBack } from './rollout-state.ts';
import { ended } from './trouble.ts';
import { decideUpdate } from './update.ts';
import { no, type Verdict } from './verdict.ts';

/** One thing to do. Those before `writeStatus` are what the status speaks of; those after rest on what it says. */
export type Step =
  | { readonly do: 'addFinalizer' }
  | { readonly do: 'removeFinalizer' }
  /** Make a key, note its address on the node (with our finalizer), then create the Secret. Ends the turn. */
  | { readonly do: 'makeIdentity' }
  /** The agents' account in this namespace, the volume claims of this node. */
  | { readonly do: 'makeGround'; readonly input: PodInput }
  | { readonly do: 'createPod'; readonly pod: Pod }
  | { readonly do: 'writeStatus' }
  /** Metadata of the live pod; a value of null takes an annotation away. */
  | {
      readonly do: 'markPod';
      readonly uid: string;
      readonly annotations: Readonly<Record<string, string | null>>;
      readonly labels: Readonly<Record<string, string>>;
      readonly tell?: Told;
    }
  /** The image of one container of the live pod, with annotations, in one patch; fails where it is not `from` any more. */
  | (Extract<RolloutStep, { do: 'patchImage' }> & { readonly uid: string; readonly index: number })
  | { readonly do: 'createPull'; readonly pod: Pod }
  | { readonly do: 'deletePull'; readonly uid: string }
  | { readonly do: 'rememberRollback'; readonly value: RolledBack }
  /** What an agent said whose pod is gone is true no more. */
  | { readonly do: 'forgetAgent' }
  | {
      readonly do: 'deletePod';
      readonly uid: string;
      readonly force: boolean;
      readonly graceSeconds?: number;
      readonly why: string;
    };

/** What the operator's part of the status shall say; conditions still without their times. */
export interface StatusIntent {
  readonly phase: NodePhase;
  readonly conditions: readonly ConditionUpdate<NodeConditionType>[];
  readonly nodeId: string | undefined;
  readonly pod: { readonly name: string; readonly uid: string; readonly incarnation: number } | undefined;
  readonly kubernetesNode: string | undefined;
  readonly gpu: NonNullable<ResultityNode['status']>['gpu'];
  readonly assignedModel: string | undefined;
  readonly modelSummary: string | undefined;
  readonly config: NonNullable<NonNullable<ResultityNode['status']>['config']> | undefined;
}

export interface Decision {
  readonly steps: readonly Step[];
  readonly status: StatusIntent;
  /** Look again after so long, although nothing changes. */
  readonly againMs: number | undefined;
  /** A turn of the rollout is taken with this. */
  readonly begins?: RolloutDecision['begins'];
}

/** A pod that failed is not replaced sooner than this after it was made: a machine that evicts at once is no hot loop. */
const REPLACE_AFTER_MS = 10_000;

/** A pod that the API server refused (a quota, a policy) is tried again after this. */
const TRY_AGAIN_MS = 15_000;

/** While the brake holds a node, it is looked at so often. */
const BRAKED_MS = 15_000;

/** What to do about one node and what to say of it. Pure and total; no error of the API server ever reaches it (I14). */
export const decideNode = (facts: NodeFacts): Decision =>
  facts.node.metadata.deletionTimestamp === undefined ? living(facts) : leaving(facts);

const living = (facts: NodeFacts): Decision => {
  const { node, now } = facts;
  const prepared = prepare(facts);
  const { own, foreign } = whose(facts);
  const steps: Step[] = [];
  let podTrouble: Verdict | undefined;
  let againMs: number | undefined;
  if (!(node.metadata.finalizers ?? []).includes(FINALIZER.node)) steps.push({ do: 'addFinalizer' });

  if (foreign)
    podTrouble = no('PodRefused', 'a pod with this node’s name exists and is not its own; remove or rename it');
  else if (own === undefined) {
    const waitMs = facts.refusal === undefined ? 0 : facts.refusal.at + TRY_AGAIN_MS - now;
    if (facts.refusal !== undefined)
      podTrouble = {
        status: 'False',
        reason: 'PodRefused',
        message: `the API server refuses the pod: ${facts.refusal.message}`,
      };
    if (node.status?.agent !== undefined && node.status.nodeId !== undefined) steps.push({ do: 'forgetAgent' });
    if (prepared.needsIdentity) steps.push({ do: 'makeIdentity' });
    else if (prepared.input && waitMs > 0) againMs = waitMs;
    else if (prepared.input)
      steps.push(
        { do: 'makeGround', input: prepared.input },
        {
          do: 'createPod',
          pod: desiredPod(prepared.input, { ...wishes(facts, prepared), ...incarnationMark(next(node, now)) }),
        },
      );
  } else if (forced(node)) {
    podTrouble = no(
      'FencingWait',
      'the pod goes, as force-replace was set; the next one is made when its object is gone',
    );
    steps.push({ do: 'deletePod', uid: uidOf(own), force: true, why: 'force-replace was set' });
  } else if (facts.machine.state === 'gone' && facts.brake() !== undefined) {
    podTrouble = braked(facts, 'MachineLost', `machine ${facts.machine.name} is gone from the cluster`);
    againMs = BRAKED_MS;
  } else if (fenced(facts)) {
    podTrouble = no('MachineLost', `${fenced(facts)}; another pod is made with the same identity`);
    steps.push({ do: 'deletePod', uid: uidOf(own), force: true, why: fenced(facts) ?? '' });
  } else if (own.metadata?.deletionTimestamp !== undefined) {
    podTrouble = no(
      'FencingWait',
      facts.machine.state === 'unreachable'
        ? `the old pod’s machine ${facts.machine.name} does not answer: taint it ${OUT_OF_SERVICE} or annotate this node ${ANNOTATION.forceReplace}, once it is surely off`
        : 'the old pod is ending; the next one is made when its object is gone',
    );
  } else if (own.status?.phase === 'Failed' || own.status?.phase === 'Succeeded') {
    podTrouble = ended(own);
    const since = now - Date.parse(own.metadata?.creationTimestamp ?? '');
    if (facts.brake() !== undefined) {
      podTrouble = braked(facts, podTrouble.reason, 'the pod has ended');
      againMs = BRAKED_MS;
    } else if (since >= REPLACE_AFTER_MS)
      steps.push({ do: 'deletePod', uid: uidOf(own), force: false, why: podTrouble.message });
    else againMs = REPLACE_AFTER_MS - since;
  }

  const lostSince = own !== undefined && podTrouble === undefined ? gpuLostFor(facts) : undefined;
  if (own !== undefined && lostSince !== undefined) {
    if (lostSince >= MOVE_AFTER_MS && facts.brake() !== undefined) {
      podTrouble = braked(facts, 'GPULost', `machine ${facts.machine.name} has fewer GPUs than its pods hold`);
      againMs = BRAKED_MS;
    } else if (lostSince >= MOVE_AFTER_MS) {
      podTrouble = no(
        'GPULost',
        `machine ${facts.machine.name} has fewer GPUs than its pods hold; another place is looked for`,
      );
      steps.push({ do: 'deletePod', uid: uidOf(own), force: false, why: podTrouble.message });
    } else againMs = MOVE_AFTER_MS - lostSince;
  }
  const live = own !== undefined && podTrouble === undefined ? own : undefined;
  const assignedModel =
    prepared.assignment?.kind === 'assigned' ? prepared.assignment.model : node.status?.assignedModel;
  const update = live === undefined ? undefined : decideUpdate(facts, prepared, live, assignedModel);
  const scene: Scene = {
    facts,
    prepared,
    pod: live,
    assignedModel,
    draining: undefined,
    podTrouble,
    update: update?.verdict,
  };
  const status = statusOf(scene, own);
  steps.push({ do: 'writeStatus' });
  if (live !== undefined) {
    const mark = marks(
      live,
      { ...wishes(facts, prepared), ...incarnationMark(status.pod?.incarnation) },
      prepared.input,
    );
    if (mark) steps.push(mark);
    for (const step of update?.steps ?? []) steps.push(carriedOut(step, live, prepared.input));
  } else if (facts.pull?.metadata?.ownerReferences?.some((o) => o.uid === node.metadata.uid))
    steps.push({ do: 'deletePull', uid: uidOf(facts.pull) });
  againMs = sooner(againMs, update?.againMs);
  return { steps, status, againMs, ...(update?.begins === undefined ? {} : { begins: update.begins }) };
};

/** What would replace the pod, and why it does not now. */
const braked = (facts: NodeFacts, reason: Verdict['reason'], what: string): Verdict =>
  no(reason, `${what}; nothing is replaced while ${facts.brake()} (${ANNOTATION.forceReplace} does it all the same)`);

const sooner = (a: number | undefined, b: number | undefined): number | undefined =>
  a === undefined || b === undefined ? (a ?? b) : Math.min(a, b);

/** A step of the rollout as one of the node's. */
const carriedOut = (step: RolloutStep, pod: Pod, input: PodInput | undefined): Step => {
  const uid = uidOf(pod);
  switch (step.do) {
    case 'mark':
      return { do: 'markPod', uid, annotations: step.annotations, labels: {}, ...(step.tell && { tell: step.tell }) };
    case 'patchImage': {
      const containers = step.part === 'agent' ? pod.spec?.initContainers : pod.spec?.containers;
      return { ...step, uid, index: (containers ?? []).findIndex((c) => c.name === CONTAINER[step.part]) };
    }
    case 'pull':
      if (input === undefined) throw new CodedError('unreachable', 'a pull without a wanted pod');
      return { do: 'createPull', pod: pullPod(input, step.images, pod.spec?.nodeName ?? '') };
    case 'replacePod':
      return { do: 'deletePod', uid, force: false, why: step.why };
    default:
      return step;
  }
};

/** drain → the agent has drained, or its time is over → delete the pod → its object is gone → the finalizer goes. */
const leaving = (facts: NodeFacts): Decision => {
  const { node, now } = facts;
  const { own } = whose(facts);
  const prepared: Prepared = {
    blocked: undefined,
    assignment: undefined,
    fit: undefined,
    needsIdentity: false,
    input: undefined,
  };
  const steps: Step[] = own === undefined ? [] : [{ do: 'writeStatus' }];
  let againMs: number | undefined;
  let draining = 'the node is being deleted';
  const finalizers = node.metadata.finalizers ?? [];
  // With orphan the cluster's collector takes our pod off this object first; then it is nobody's, and stays.
  if (!finalizers.includes(FINALIZER.node) || finalizers.includes('orphan'))
    return {
      steps: [],
      status: statusOf(
        {
          facts,
          prepared,
          pod: undefined,
          assignedModel: undefined,
          draining,
          podTrouble: undefined,
          update: undefined,
        },
        own,
      ),
      againMs,
    };
  if (own === undefined) steps.push({ do: 'removeFinalizer' });
  else if (own.metadata?.deletionTimestamp !== undefined) {
    draining = 'the pod is ending';
    const why = forced(node) ? 'force-replace was set' : fenced(facts);
    if (why !== undefined) steps.push({ do: 'deletePod', uid: uidOf(own), force: true, why });
  } else {
    const { phase } = node.status?.agent ?? {};
    const began = Date.parse(node.metadata.deletionTimestamp ?? '');
    const left = began + node.spec.drain.timeoutSeconds * 1000 - now;
    const reports = phase !== undefined && node.status?.podUID === uidOf(own) && own.status?.phase === 'Running';
    const away = (why: string, bound: { graceSeconds?: number } = {}): Step => {
      return { do: 'deletePod', uid: uidOf(own), force: false, why, ...bound };
    };
    if (phase === 'Drained') steps.push(away('drained'));
    // A SIGTERM before the agent's process takes its first breath is lost, and the kubelet sends no second one.
    else if (!reports) steps.push(away('nothing to drain', { graceSeconds: AFTER_DRAIN_SECONDS }));
    else if (left <= 0) steps.push(away('drain timed out'));
    else {
      againMs = left;
      const mark = marks(own, { [ANNOTATION.drain]: 'true' }, undefined);
      if (mark) steps.push(mark);
    }
  }
  const scene: Scene = {
    facts,
    prepared,
    pod: own,
    assignedModel: node.status?.assignedModel,
    draining,
    podTrouble: undefined,
    update: undefined,
  };
  return { steps, status: { ...statusOf(scene, own), phase: 'Terminating' }, againMs };
};

const uidOf = (pod: Pod): string => pod.metadata?.uid ?? '';
const forced = (node: ResultityNode): boolean => node.metadata.annotations?.[ANNOTATION.forceReplace] !== undefined;

/** The pod is this node's own only if this very object made it. */
const whose = ({ pod, node }: NodeFacts): { own: Pod | undefined; foreign: boolean } => {
  if (pod === undefined) return { own: undefined, foreign: false };
  const mine = pod.metadata?.ownerReferences?.some((o) => o.uid === node.metadata.uid) === true;
  return mine ? { own: pod, foreign: false } : { own: undefined, foreign: true };
};

/** Annotations by which the operator speaks to the agent. While the network is not known they stay as they are. */
const wishes = ({ node, network, pod }: NodeFacts, { assignment }: Prepared): Record<string, string> => ({
  [ANNOTATION.paused]: String(node.spec.paused),
  ...holdOf(node, pod),
  ...(assignment?.kind === 'assigned' ? { [ANNOTATION.assignedModel]: assignment.model } : {}),
  ...(network.at === 'ready'
    ? { [ANNOTATION.floor]: `${network.epoch},${network.version}`, [ANNOTATION.desiredDigest]: network.digest }
    : {}),
});

/** Its agent has been told to stay, or says that something waits for that reason. */
const isHeld = (node: ResultityNode, pod: Pod | undefined): boolean =>
  node.status?.agent?.config?.blocked?.reason === 'Held' ||
  [node, pod].every((o) => o?.metadata?.annotations?.[ANNOTATION.hold] === 'true');

/** Copied to the pod, so that the agent stays on what it has applied; no annotation where there never was one. */
const holdOf = (node: ResultityNode, pod: Pod | undefined): Record<string, string> => {
  const held = node.metadata.annotations?.[ANNOTATION.hold] === 'true';
  return held || pod?.metadata?.annotations?.[ANNOTATION.hold] !== undefined ? { [ANNOTATION.hold]: String(held) } : {};
};

const incarnationMark = (incarnation: number | undefined): Record<string, string> =>
  incarnation === undefined ? {} : { [ANNOTATION.incarnation]: String(incarnation) };

/** Only what differs; undefined when nothing does. A lost template hash is put back, not taken for a change. */
const marks = (pod: Pod, wanted: Readonly<Record<string, string>>, input: PodInput | undefined): Step | undefined => {
  const annotations: Record<string, string> = {};
  const all = {
    ...wanted,
    ...(input !== undefined && hashOf(pod) === undefined ? { [ANNOTATION.templateHash]: templateHash(input) } : {}),
  };
  for (const [key, value] of Object.entries(all))
    if (pod.metadata?.annotations?.[key] !== value) annotations[key] = value;
  const labels: Record<string, string> = {};
  if (input)
    for (const [key, value] of Object.entries(podLabels(input)))
      if (pod.metadata?.labels?.[key] !== value) labels[key] = value;
  if (Object.keys(annotations).length + Object.keys(labels).length === 0) return undefined;
  return { do: 'markPod', uid: uidOf(pod), annotations, labels };
};

const statusOf = (scene: Scene, own: Pod | undefined): StatusIntent => {
  const { facts, assignedModel } = scene;
  const { node, network } = facts;
  const conditions = nodeConditionsOf(scene);
  const agent = node.status?.agent;
  const model = agent?.models?.find((m) => m.model === assignedModel);
  const progress =
    scene.pod !== undefined && model?.state === 'pending' && model.progress !== undefined ? ` ${model.progress}%` : '';
  const applied = agent?.config?.applied;
  return {
    phase: phaseOf(scene, conditions),
    conditions,
    // An imported key's address is what the agent says of it, once; later it is only compared.
    nodeId: nodeIdOf(node) ?? (node.spec.identity.secretRef === undefined ? undefined : agent?.nodeId),
    pod:
      own === undefined
        ? undefined
        : { name: own.metadata?.name ?? '', uid: uidOf(own), incarnation: incarnation(node, own) },
    kubernetesNode: own?.spec?.nodeName,
    gpu: gpuOf(facts, own, scene.prepared.input),
    assignedModel,
    modelSummary: assignedModel === undefined ? undefined : `${assignedModel}${progress}`,
    config:
      network.at === 'ready' || applied !== undefined
        ? {
            ...(network.at === 'ready' ? { desiredDigest: network.digest } : {}),
            ...(applied !== undefined && isHeld(node, own) ? { heldAt: applied } : {}),
            ...(applied === undefined ? {} : { shortDigest: applied.replace('sha256:', '').slice(0, 12) }),
          }
        : undefined,
  };
};

/** The time in ms, above every earlier one. */
const next = ({ status }: ResultityNode, ms: number): number => Math.max(ms, (status?.incarnation ?? -1) + 1);

/** What stands in the status of this pod, else on the pod since it was made; its creation time where that is not so. */
export const incarnation = (node: ResultityNode, pod: Pod): number => {
  const before = node.status?.incarnation;
  if (before !== undefined && node.status?.podUID === uidOf(pod)) return before;
  const marked = Number(pod.metadata?.annotations?.[ANNOTATION.incarnation] ?? '');
  if (Number.isSafeInteger(marked) && marked > Math.max(0, before ?? 0)) return marked;
  return next(node, Date.parse(pod.metadata?.creationTimestamp ?? '') || 0);
};

const gpuOf = (facts: NodeFacts, pod: Pod | undefined, input: PodInput | undefined): StatusIntent['gpu'] => {
  const at = pod?.spec?.nodeName;
  if (pod === undefined || at === undefined) return undefined;
  const limits = pod.spec?.containers.find((c) => c.name === 'runtime')?.resources?.limits ?? {};
  const [resourceName, amount] = Object.entries(limits).find(([name]) => name.includes('/')) ?? [];
  if (resourceName === undefined) return { summary: input?.accelerator === 'cpu' ? 'CPU' : 'none', count: 0 };
  const count = Number(amount) || 1;
  const offer = facts.offers?.find((o) => o.node.name === at && o.resourceName === resourceName);
  const product = offer?.product;
  const name = `${product ?? resourceName}${offer?.migProfile === undefined ? '' : ` ${offer.migProfile}`}`;
  return {
    summary: count === 1 ? name : `${count} x ${name}`,
    resourceName,
    count,
    ...(product === undefined ? {} : { product }),
    ...(offer?.memoryMiB === undefined ? {} : { memoryMiB: offer.memoryMiB }),
    ...(offer?.migProfile === undefined ? {} : { migProfile: offer.migProfile }),
  };
};
