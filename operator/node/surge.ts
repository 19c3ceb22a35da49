import { ANNOTATION } from '../../src/api/contract.ts';
import {
  getCondition,
  type IntOrPercent,
  isTrue,
  type Reason,
  type ResultityFleet,
  type ResultityNode,
} from '../../src/api/index.ts';

/** An update waits so long (ms) for a node that was made for it; then it goes on as if there were no spare GPU. */
export const SURGE_WAIT_MS = 1_800_000;

/** Made for an update, above the fleet's replicas: goes when that is over. */
export const isSurge = (node: ResultityNode): boolean => node.metadata.annotations?.[ANNOTATION.surge] === 'true';

/** How many of so many; a percentage is rounded down. */
export const shareOf = (value: IntOrPercent, of: number, round: (n: number) => number = Math.floor): number => {
  const n = typeof value === 'number' ? value : round((Number.parseInt(value, 10) * of) / 100);
  return Number.isFinite(n) ? Math.max(0, n) : 0;
};

/** How many nodes more than wanted a fleet may have; a percentage is rounded up. */
export const surgeLimit = ({ spec }: ResultityFleet): number =>
  shareOf(spec.rollout.maxSurge, spec.replicas, Math.ceil);

/** What ails a node that was made with an image that is no good; the others of Degraded may be its machine's. */
const BY_IMAGE: ReadonlySet<string> = new Set<Reason>([
  'ImagePullError',
  'ContainerCrashLoopBackOff',
  'EngineDead',
  'EngineWedged',
  'TestInferenceFailed',
]);

/** ready: stands in for another one. unplaced: its GPU went to somebody else. failing: by its image. late: not waited for any more. */
export type SurgeStage = 'ready' | 'starting' | 'unplaced' | 'failing' | 'late';

export const stageOf = ({ metadata, status }: ResultityNode, now: number): SurgeStage => {
  if (isTrue(status?.conditions, 'Ready')) return 'ready';
  if (status?.phase === 'Unplaced') return 'unplaced';
  const degraded = getCondition(status?.conditions, 'Degraded');
  if (degraded?.status === 'True' && BY_IMAGE.has(degraded.reason)) return 'failing';
  return isLate(metadata, now) ? 'late' : 'starting';
};
const isLate = ({ creationTimestamp }: ResultityNode['metadata'], now: number): boolean =>
  now - Date.parse(creationTimestamp ?? '') >= SURGE_WAIT_MS;

/**
 * Why a node of the fleet may not begin yet: one that is made for the update must be Ready before another one stops serving.
 * undefined = it may, be it that one is Ready, that there is no spare GPU, or that none is asked for. Pure.
 * @param surges those that the fleet has besides the asking node
 */
export const surgeWait = (fleet: ResultityFleet, surges: readonly ResultityNode[], now: number): string | undefined => {
  if (surgeLimit(fleet) === 0) return undefined;
  if (surges.length === 0)
    return getCondition(fleet.status?.conditions, 'Surge')?.reason === 'NoSpareGPU'
      ? undefined
      : 'a spare GPU is looked for, to make one node more first (maxSurge)';
  const at = (stage: SurgeStage): ResultityNode | undefined => surges.find((n) => stageOf(n, now) === stage);
  if (at('ready')) return undefined;
  const failing = at('failing')?.metadata;
  if (failing && fleet.spec.rollout.pauseOnFailure)
    return `${failing.name}, made for this update, does not come up (pauseOnFailure); publish another image, or see ${failing.name}`;
  const starting = at('starting')?.metadata ?? failing;
  return starting === undefined || isLate(starting, now)
    ? undefined
    : `${starting.name}, made for this update, must be ready first (maxSurge)`;
};
