import { getCondition, type Reason, type ResultityNode } from '../../src/api/index.ts';
import type { ContainerStatus, Pod } from '../pod-types.ts';
import { no, type Verdict } from './verdict.ts';

export const containerStatus = (pod: Pod | undefined, name: string): ContainerStatus | undefined =>
  [...(pod?.status?.initContainerStatuses ?? []), ...(pod?.status?.containerStatuses ?? [])].find(
    (c) => c.name === name,
  );

/** The kubelet's reasons for an image that does not come. */
export const PULL_REASONS: ReadonlySet<string> = new Set([
  'ErrImagePull',
  'ImagePullBackOff',
  'InvalidImageName',
  'ErrImageNeverPull',
  'ImageInspectError',
  'RegistryUnavailable',
]);

/** What keeps a container from running, in words that do not change from try to try. Termination messages are hostile: not shown. */
export const containerTrouble = (status: ContainerStatus | undefined): Verdict | undefined => {
  if (status === undefined) return undefined;
  const waiting = status.state?.waiting?.reason;
  const last = status.lastState?.terminated ?? status.state?.terminated;
  if (waiting !== undefined && PULL_REASONS.has(waiting))
    return no('ImagePullError', `the ${status.name} image cannot be pulled (${waiting}); see the pod's events`);
  if (last?.reason === 'OOMKilled' && status.ready !== true)
    return no('ContainerOOMKilled', `the ${status.name} container ran out of memory; raise its limit`);
  if (waiting === 'CrashLoopBackOff')
    return no(
      'ContainerCrashLoopBackOff',
      `the ${status.name} container ends with exit code ${last?.exitCode ?? '?'} again and again; see its log`,
    );
  if (waiting === 'CreateContainerConfigError' || waiting === 'CreateContainerError')
    return no('PodRefused', `the ${status.name} container cannot be created (${waiting}); see the pod's events`);
  return undefined;
};

/** What a phase of the engine that is not ready is told as. */
export const ENGINE_PHASES: Readonly<Record<string, readonly [Reason, string]>> = {
  waiting: ['Waiting', 'the engine has no model to load yet'],
  downloading: ['Downloading', 'the model is being downloaded'],
  loading: ['LoadingWeights', 'the engine loads weights'],
  compiling: ['Compiling', 'the engine compiles'],
  capturing: ['CapturingGraphs', 'the engine captures graphs'],
  draining: ['Draining', 'the engine is being drained'],
  crashed: ['EngineDead', 'the engine has ended and is started again'],
  wedged: ['EngineWedged', 'the engine answers nothing and is started again'],
  stopped: ['EngineStopped', 'the engine is stopped'],
};

/** Of a pod that has come to its end. */
export const ended = (pod: Pod): Verdict => {
  const evicted =
    pod.status?.reason === 'Evicted' ||
    pod.status?.conditions?.some((c) => c.type === 'DisruptionTarget' && c.status === 'True') === true;
  return evicted
    ? {
        status: 'False',
        reason: 'PodEvicted',
        message: 'the pod was evicted; another one is made with the same identity',
      }
    : { status: 'False', reason: 'PodLost', message: 'the pod has ended; another one is made with the same identity' };
};

/** An engine's probe that timed out once says False for a moment; a node that has stopped serving says it for longer. */
const BLINK_MS = 60_000;
/** The operator's clock and the API server's may differ so much. */
const SKEW_MS = 10_000;

/** It serves, or did so in this pod until a moment ago. */
export const servedLately = ({ status }: ResultityNode, pod: Pod | undefined, now: number): boolean => {
  const serving = getCondition(status?.conditions, 'Serving');
  if (serving?.status !== 'False') return serving?.status === 'True';
  const turned = Date.parse(serving.lastTransitionTime);
  // A node that never served says False from its pod's first moment on.
  return now - turned < BLINK_MS && turned > Date.parse(pod?.metadata?.creationTimestamp ?? '') + SKEW_MS;
};
