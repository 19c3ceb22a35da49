import { ANNOTATION, CONTAINER } from '../../src/api/contract.ts';
import { type ConditionUpdate, getCondition, type NodeConditionType, type Reason } from '../../src/api/index.ts';
import { compareSemver } from '../../src/config/index.ts';
import { type Tier, tierAtLeast } from '../../src/protocol/index.ts';
import type { Pod } from '../pod-types.ts';
import { reasonOfCode } from '../reasons.ts';
import type { NodeFacts } from './facts.ts';
import type { Prepared } from './prepare.ts';
import { containerStatus, containerTrouble, ENGINE_PHASES } from './trouble.ts';
import { no, unknown, type Verdict, yes } from './verdict.ts';

/** What the conditions are derived from: the facts, what the checks said, and what is decided already. */
export interface Scene {
  readonly facts: NodeFacts;
  readonly prepared: Prepared;
  /** The node's own live pod; undefined while there is none. */
  readonly pod: Pod | undefined;
  readonly assignedModel: string | undefined;
  /** The pod is being drained by us, and why. */
  readonly draining: string | undefined;
  /** Something on the pod's way that is no check: a pod that must go first, a foreign pod of that name. */
  readonly podTrouble: Verdict | undefined;
  /** What is to be said of the pod's images and template: an update under way (True) or held back (False). */
  readonly update: Verdict | undefined;
}

type Derive = (scene: Scene, so: (type: NodeConditionType) => Verdict) => Verdict;

const noPod = ({ prepared, podTrouble }: Scene): Verdict => {
  if (podTrouble) return podTrouble;
  if (prepared.blocked) return no('NotReady', 'there is no pod yet');
  return no('PodPending', 'the pod is being made');
};

/** A condition that a check has blocked speaks with the check's words. */
const blockedAs = ({ prepared }: Scene, type: NodeConditionType): Verdict | undefined =>
  prepared.blocked?.type === type ? no(prepared.blocked.reason, prepared.blocked.message) : undefined;

const gpuFit: Derive = (scene) => {
  const { prepared } = scene;
  const stop = blockedAs(scene, 'GPUFit');
  if (stop) return stop;
  const { fit } = prepared;
  const claims = scene.facts.node.spec.placement.resourceClaims?.map((c) => c.name).join(', ');
  // The scheduler binds a pod after it has allocated all of its claims, never before.
  if (scene.pod?.spec?.nodeName !== undefined)
    return yes(
      'FitFound',
      `${scene.assignedModel ?? 'the pod'} has its place${claims === undefined ? '' : `; its resource claims (${claims}) are allocated`}`,
    );
  if (fit === undefined) return unknown('Waiting', 'no model is assigned yet');
  if (claims !== undefined && scene.pod !== undefined)
    return no('ClaimPending', `the pod waits for its resource claims (${claims}); the scheduler allocates them`);
  if (fit.kind === 'now') return yes('FitFound', fit.message);
  return fit.reason === 'FitUnknown' ? unknown('FitUnknown', fit.message) : no(fit.reason, fit.message);
};

const podScheduled: Derive = (scene) => {
  const { pod } = scene;
  if (pod === undefined) return noPod(scene);
  if (scene.podTrouble) return scene.podTrouble;
  if (pod.spec?.nodeName !== undefined) return yes('PodScheduled', 'the pod has a Kubernetes node');
  const told = pod.status?.conditions?.find((c) => c.type === 'PodScheduled');
  if (told?.reason === 'SchedulingGated')
    return no('QueueWaiting', `a queue holds the pod back: ${scene.facts.queue ?? 'see its scheduling gates'}`);
  return told?.reason === 'Unschedulable'
    ? no('Unschedulable', `the scheduler finds no node: ${told.message ?? 'no reason given'}`)
    : no('PodPending', 'the pod waits for the scheduler');
};

/** What the scheduler says of a pod that has no place: no container can be waited for. */
const unplaced = (so: Parameters<Derive>[1]): Verdict | undefined =>
  so('PodScheduled').status === 'True' ? undefined : so('PodScheduled');

const agentReady: Derive = (scene, so) => {
  const stop = blockedAs(scene, 'AgentReady');
  if (scene.pod === undefined) return stop ?? noPod(scene);
  const nowhere = unplaced(so);
  if (nowhere) return nowhere;
  const { machine } = scene.facts;
  if (machine.state === 'unreachable')
    return unknown(
      'MachineUnreachable',
      `machine ${machine.name} does not answer; no second pod is made until it is back, out of service, or force-replace is set`,
    );
  const status = containerStatus(scene.pod, CONTAINER.agent);
  const trouble = containerTrouble(status);
  if (trouble) return trouble;
  const { agent } = scene.facts.node.status ?? {};
  if (status?.state?.running === undefined) return no('PodStarting', 'the agent container is not running yet');
  if (agent?.phase === undefined) return no('AgentNotReporting', 'the agent runs and has not written status.agent yet');
  if (agent.phase === 'Failed')
    return no(reasonOfCode(agent.lastError?.code, 'NotReady'), agent.lastError?.message ?? 'the agent has failed');
  const { network } = scene.facts;
  const named = network.at === 'ready' ? network.document.agent.version : undefined;
  if (named !== undefined && agent.version !== undefined && compareSemver(agent.version, named) < 0)
    return yes('AgentOutdated', `agent ${agent.version} runs and reports; the network names ${named}`);
  return yes('AgentRunning', 'the agent runs and reports');
};

const runtimeReady: Derive = (scene, so) => {
  const stop = blockedAs(scene, 'RuntimeReady');
  if (scene.pod === undefined) return stop ?? noPod(scene);
  const nowhere = unplaced(so);
  if (nowhere) return nowhere;
  const status = containerStatus(scene.pod, CONTAINER.runtime);
  const trouble = containerTrouble(status);
  if (trouble) return trouble;
  const { agent } = scene.facts.node.status ?? {};
  const phase = agent?.runtime?.phase;
  if (status?.ready === true && (phase === undefined || phase === 'ready'))
    return yes('EngineReady', 'the engine answers');
  if (phase === 'ready') return no('PodStarting', 'the engine answers; the kubelet has not seen it yet');
  const [reason, message] = ENGINE_PHASES[phase ?? ''] ?? ['PodStarting', 'the runtime container is starting'];
  const code = reasonOfCode(agent?.lastError?.code, reason);
  const telling = phase === 'crashed' || code === 'KVCacheTooSmall';
  return no(telling ? code : reason, telling && agent?.lastError ? agent.lastError.message : message);
};

const runtimeIsolated: Derive = (scene) => {
  if (scene.pod === undefined) return noPod(scene);
  const { isolation, lastError } = scene.facts.node.status?.agent ?? {};
  if (isolation?.tier === undefined || isolation.provedAt === undefined) {
    const reason = reasonOfCode(lastError?.code, 'Waiting');
    return reason === 'IsolationUnproved'
      ? no(reason, lastError?.message ?? 'the sandbox could not be proved')
      : no('Waiting', 'the isolation has not been proved yet');
  }
  if (isolation.tier === 'none') return no('IsolationNone', 'the runtime is not isolated');
  const { network } = scene.facts;
  const minimum: Tier = network.at === 'ready' ? network.document.isolation.minTier : 'none';
  return tierAtLeast(isolation.tier, minimum)
    ? yes(
        'IsolationProved',
        isolation.tier === 'podpolicy'
          ? 'tier podpolicy: a NetworkPolicy of the pod, which no probe from inside can prove'
          : `tier ${isolation.tier}, proved by a probe inside it`,
      )
    : no('IsolationBelowMinimum', `tier ${isolation.tier}; the network asks for ${minimum}`);
};

const registered: Derive = (scene) => {
  const stop = blockedAs(scene, 'Registered');
  if (stop) return stop;
  if (scene.pod === undefined) return noPod(scene);
  const { network, nodeId, lastError } = scene.facts.node.status?.agent ?? {};
  switch (network?.state) {
    case 'registered':
    case 'active':
    case 'out_of_rotation':
    case 'paused':
    case 'draining':
      return yes('Registered', `registered as ${nodeId ?? scene.facts.node.status?.nodeId ?? 'this key'}`);
    case 'pending':
      return no('NotAdmitted', network.reason ?? 'the network has not admitted the node yet');
    case 'revoked':
      return no('Revoked', network.reason ?? 'the network has revoked the node');
    default: {
      const reason = reasonOfCode(network?.reason ?? lastError?.code, 'NotRegistered');
      return no(reason, lastError?.message ?? 'the agent has not registered yet');
    }
  }
};

const networkVisible: Derive = (scene) => {
  if (scene.pod === undefined) return noPod(scene);
  const { sight } = scene.facts;
  switch (sight.kind) {
    case 'notAsked': {
      // After a restart of the operator: what was known stays, until the network has been asked.
      const before = getCondition(scene.facts.node.status?.conditions, 'NetworkVisible');
      return before === undefined || before.reason === 'PodPending' || before.reason === 'NotReady'
        ? unknown('Waiting', 'the network has not been asked yet')
        : { status: before.status, reason: reasonOfCode(before.reason, 'Unknown'), message: before.message };
    }
    case 'unreachable':
      return unknown('NetworkUnreachable', sight.message);
    case 'absent':
      return no('NotRegistered', 'the network does not know the node');
    case 'seen': {
      const { state, reasons: why } = sight.status;
      if (why.includes('DuplicateIdentity')) return no('DuplicateIdentity', 'another session uses the same key');
      if (state === 'active') return yes('NetworkSeesNode', 'the network sends jobs to the node');
      if (state === 'paused') return no('PausedByNetwork', 'the network has paused the node');
      if (state === 'draining') return no('Draining', 'the network drains the node');
      if (state === 'revoked') return no('Revoked', 'the network has revoked the node');
      return no(
        reasonOfCode(why[0], state === 'out_of_rotation' ? 'OutOfRotation' : 'NotReady'),
        `the network says ${state}${why.length > 0 ? `: ${why.slice(0, 3).join(', ')}` : ''}`,
      );
    }
  }
};

const configSynced: Derive = (scene) => {
  const stop = blockedAs(scene, 'ConfigSynced');
  if (stop) return stop;
  const { config, lastError } = scene.facts.node.status?.agent ?? {};
  const { network } = scene.facts;
  const desired = network.at === 'ready' ? network.digest : undefined;
  const short = (digest: string): string => digest.replace('sha256:', '').slice(0, 12);
  if (scene.pod === undefined) return noPod(scene);
  if (config?.ticketAge === 'Stale' || config?.ticketAge === 'Expired')
    return no(
      `Config${config.ticketAge}`,
      `no fresh ticket from the network; ${config.ticketAge === 'Stale' ? 'work goes on with what is applied' : 'the node drains until one comes'}`,
    );
  if (config?.applied !== undefined && (config.applied === desired || desired === undefined))
    return yes('DigestApplied', `applied ${short(config.applied)}`);
  if (config?.pending !== undefined) {
    const { step, reason } = config.blocked ?? {};
    const stays = config.applied === undefined ? '' : `; ${short(config.applied)} goes on`;
    if (reason === 'Held') return no('Held', `${short(config.pending)} waits: ${ANNOTATION.hold} is set${stays}`);
    if (step !== undefined && step !== 'validate')
      return no('RolledBack', `${short(config.pending)} failed at step ${step} (${reason})${stays}`);
    return no(
      'DigestPending',
      `${short(config.pending)} is accepted and not applied yet${reason === undefined ? '' : ` (${reason})`}${stays}`,
    );
  }
  const code = reasonOfCode(lastError?.code, 'Waiting');
  if (code !== 'Waiting' && ['SignatureInvalid', 'ConfigRejected', 'ConfigStale', 'DigestRejected'].includes(code))
    return no(code, lastError?.message ?? 'the agent refuses the configuration');
  if (config?.applied !== undefined)
    return no('DigestPending', `${short(config.applied)} is applied, ${short(desired ?? '')} is wanted`);
  return no('Waiting', 'the agent has applied no configuration yet');
};

const modelsVerified: Derive = (scene) => {
  const stop = blockedAs(scene, 'ModelsVerified');
  if (stop) return stop;
  const { assignedModel } = scene;
  if (assignedModel === undefined) return no('Waiting', 'no model is assigned yet');
  const model = scene.facts.node.status?.agent?.models?.find((m) => m.model === assignedModel);
  switch (model?.state) {
    case undefined:
      return no('Waiting', `the agent has not begun with ${assignedModel} yet`);
    case 'active':
      return yes('ModelActive', `${assignedModel} is installed, verified and tested`);
    case 'pending':
      return no(
        reasonOfCode(model.reason, 'Downloading'),
        `${assignedModel} is on its way${model.progress === undefined ? '' : `, ${model.progress} %`}`,
      );
    case 'inactive':
      return no('ModelInactive', `${assignedModel} is installed and not active`);
    case 'archived':
      return no('ModelArchived', `${assignedModel} is archived by the network`);
    case 'failed':
      return no(
        reasonOfCode(model.reason, 'Quarantined'),
        `${assignedModel} failed: ${model.reason ?? 'see the agent’s log'}`,
      );
  }
};

const serving: Derive = ({ facts, pod, prepared, podTrouble }, so) => {
  if (pod === undefined)
    return prepared.blocked
      ? no(prepared.blocked.reason, prepared.blocked.message)
      : noPod({ prepared, podTrouble } as Scene);
  const { phase } = facts.node.status?.agent ?? {};
  const working = phase === 'Active' || phase === 'Draining' || phase === 'Handover';
  const first = (['AgentReady', 'RuntimeReady', 'ModelsVerified'] as const).find((type) => so(type).status !== 'True');
  if (first === undefined && working) return yes('Serving', 'the engine serves its model');
  if (first !== undefined) return so(first).status === 'Unknown' ? so(first) : no(so(first).reason, so(first).message);
  return no('NotServing', `the agent is ${phase ?? 'silent'}`);
};

const progressing: Derive = (scene, so) => {
  const { facts, pod, prepared, draining } = scene;
  if (draining !== undefined) return yes('Draining', draining);
  if (pod === undefined) {
    if (prepared.blocked) return no(prepared.blocked.reason, prepared.blocked.message);
    return yes('PodPending', scene.podTrouble?.message ?? 'the pod is being made');
  }
  const { agent } = facts.node.status ?? {};
  const { update } = scene;
  if (update?.status === 'True') return update;
  const settled = so('Serving').status === 'True' || agent?.phase === 'Paused';
  // A configuration that waits for an image waits as long as the image is held back.
  if (update !== undefined && settled) return update;
  const stuck = agent?.config?.blocked;
  if (agent?.config?.pending !== undefined && (stuck === undefined || stuck.reason === 'ImageMismatch'))
    return yes('DigestPending', 'a new configuration is being applied');
  if (settled) return no('Settled', 'nothing is under way');
  if (agent?.phase === 'Failed') return no('NotReady', 'the agent has failed');
  const first = (
    ['PodScheduled', 'AgentReady', 'Registered', 'ModelsVerified', 'RuntimeReady', 'RuntimeIsolated'] as const
  ).find((type) => so(type).status !== 'True');
  return first === undefined
    ? yes('Progressing', `the agent is ${agent?.phase ?? 'starting'}`)
    : yes(so(first).reason, so(first).message);
};

/** What a person should look at, although the node may go on. */
const degraded: Derive = (scene, so) => {
  const { nodeId, agent } = scene.facts.node.status ?? {};
  if (nodeId !== undefined && agent?.nodeId !== undefined && nodeId.toLowerCase() !== agent.nodeId.toLowerCase())
    return yes('IdentityMismatch', `the agent holds the key of ${agent.nodeId}, not of ${nodeId}`);
  if (so('NetworkVisible').reason === 'DuplicateIdentity')
    return yes('DuplicateIdentity', so('NetworkVisible').message);
  const bad: readonly Reason[] = [
    'ImagePullError',
    'ContainerCrashLoopBackOff',
    'ContainerOOMKilled',
    'PodRefused',
    'DigestMismatch',
    'SignatureInvalid',
    'TestInferenceFailed',
    'Quarantined',
    'InsufficientDisk',
    'VolumeUnwritable',
    'SourceUnavailable',
    'SourceNotTrusted',
    'EngineDead',
    'EngineWedged',
    'KVCacheTooSmall',
    'IsolationUnproved',
    'IsolationBelowMinimum',
    'RegistrationRejected',
    'NotAdmitted',
    'Revoked',
    'ConfigStale',
    'IdentitySecretMissing',
    'ImageNotAllowed',
  ];
  const first = (
    ['AgentReady', 'RuntimeReady', 'RuntimeIsolated', 'Registered', 'ConfigSynced', 'ModelsVerified'] as const
  ).find((type) => so(type).status === 'False' && bad.includes(so(type).reason));
  if (first !== undefined) return yes(so(first).reason, so(first).message);
  if (agent?.phase === 'Failed')
    return yes(reasonOfCode(agent.lastError?.code, 'NotReady'), agent.lastError?.message ?? 'the agent has failed');
  return no('AsExpected', 'nothing is wrong');
};

const paused: Derive = ({ facts }) => {
  if (facts.node.spec.paused) return yes('PausedByUser', 'spec.paused is true');
  if (facts.sight.kind === 'seen' && facts.sight.status.state === 'paused')
    return yes('PausedByNetwork', 'the network has paused the node');
  return no('NotPaused', 'not paused');
};

const drainingOf: Derive = ({ draining }) =>
  draining === undefined ? no('NotDraining', 'not draining') : yes('Draining', draining);

const ready: Derive = (scene, so) => {
  for (const type of ['Serving', 'Registered', 'NetworkVisible'] as const) {
    const verdict = so(type);
    if (verdict.status !== 'True')
      return {
        ...verdict,
        reason: scene.prepared.blocked?.reason ?? verdict.reason,
        message: scene.prepared.blocked?.message ?? verdict.message,
      };
  }
  const under = so('Progressing');
  return under.status === 'True'
    ? no(under.reason, under.message)
    : yes('Ready', 'serving, registered and seen by the network');
};

/** In the order in which they are shown; a condition may ask for those of any place, but for itself. */
const derivations: Readonly<Record<NodeConditionType, Derive>> = {
  Ready: ready,
  Serving: serving,
  Progressing: progressing,
  Degraded: degraded,
  GPUFit: gpuFit,
  PodScheduled: podScheduled,
  AgentReady: agentReady,
  RuntimeReady: runtimeReady,
  RuntimeIsolated: runtimeIsolated,
  Registered: registered,
  NetworkVisible: networkVisible,
  ConfigSynced: configSynced,
  ModelsVerified: modelsVerified,
  Draining: drainingOf,
  Paused: paused,
};

/** All conditions of a node. Pure and total. */
export const nodeConditionsOf = (scene: Scene): ConditionUpdate<NodeConditionType>[] => {
  const known = new Map<NodeConditionType, Verdict>();
  const so = (type: NodeConditionType): Verdict => {
    const found = known.get(type);
    if (found) return found;
    const verdict = derivations[type](scene, so);
    known.set(type, verdict);
    return verdict;
  };
  const generation = scene.facts.node.metadata.generation;
  return (Object.keys(derivations) as NodeConditionType[]).map((type) => ({
    type,
    ...so(type),
    ...(generation === undefined ? {} : { observedGeneration: generation }),
  }));
};
