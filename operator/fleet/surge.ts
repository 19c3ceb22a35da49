import { ANNOTATION } from '../../src/api/contract.ts';
import {
  type Condition,
  type ConditionUpdate,
  type FleetConditionType,
  getCondition,
  isTrue,
  type Reason,
  type ResultityFleet,
  type ResultityNode,
} from '../../src/api/index.ts';
import { countOf, SURGE_WAIT_MS, stageOf, surgeLimit } from '../node/index.ts';

export interface SurgeFacts {
  /** Wall clock, ms. */
  readonly now: number;
  readonly fleet: ResultityFleet;
  /** The nodes that the fleet keeps, as many as it wants. */
  readonly members: readonly ResultityNode[];
  /** Those made for an update, the most useful first. */
  readonly surges: readonly ResultityNode[];
  /** Such ones that are on their way out. */
  readonly leaving: number;
  /** One more node would be no more than replicas and maxSurge, those on their way out counted; and none is missing. */
  readonly room: boolean;
  readonly braked: boolean;
  /** Whether one more node fits now, on a free GPU of a ready machine. Asked only when one would be made; undefined: not known yet. */
  readonly spare: () => Spare | undefined;
}

export type Spare = { readonly fits: true } | { readonly fits: false; readonly why: string };

export interface SurgeDecision {
  readonly keep: readonly ResultityNode[];
  readonly drop: readonly ResultityNode[];
  readonly make: boolean;
  /** Of the fleet's condition Surge; undefined where none is asked for. */
  readonly verdict: Verdict | undefined;
  /** Look again after so long, although nothing changes. */
  readonly againMs: number | undefined;
}
export type Verdict = Omit<ConditionUpdate<FleetConditionType>, 'type' | 'observedGeneration'>;

/** A GPU that got free wakes no fleet. */
const LOOK_AGAIN_MS = 30_000;
/** Until the configuration is known, after a restart. */
const UNKNOWN_MS = 1_000;

const progressOf = (n: ResultityNode): Condition | undefined => getCondition(n.status?.conditions, 'Progressing');
const saying =
  (...of: readonly Reason[]): ((n: ResultityNode) => boolean) =>
  (n) =>
    of.some((reason) => reason === progressOf(n)?.reason);

/** Its turn in the update comes by itself: nobody holds it, and its machine answers. */
const waits = (n: ResultityNode): boolean =>
  saying('SurgePending', 'PullingImage', 'UpdateHeld')(n) &&
  n.metadata.annotations?.[ANNOTATION.hold] !== 'true' &&
  getCondition(n.status?.conditions, 'AgentReady')?.reason !== 'MachineUnreachable';

/** Not serving again yet after its pod was changed, or not seen yet to do so; one that takes too long is broken, and no part of the update. */
const comesUp = (n: ResultityNode, now: number): boolean => {
  const serves = isTrue(n.status?.conditions, 'Serving');
  const visible = getCondition(n.status?.conditions, 'NetworkVisible');
  const progress = progressOf(n);
  const since = serves
    ? visible?.status === 'False' && visible.lastTransitionTime
    : progress?.status === 'True' && progress.lastTransitionTime;
  return typeof since === 'string' && now - Date.parse(since) < SURGE_WAIT_MS;
};

/**
 * Whether a fleet shall have nodes above its replicas for an update. Pure. One at a time is made, when a member waits for it
 * and a spare GPU fits now; they go when no member waits, is updated or comes up any more. Nothing is remembered but what
 * stands on the nodes and in the fleet's own condition, so that any process decides the same.
 */
export const decideSurge = (f: SurgeFacts): SurgeDecision => {
  const { fleet, members, now } = f;
  const most = surgeLimit(fleet);
  const updating = members.some(saying('Updating'));
  const paused = fleet.spec.rollout.pauseOnFailure && !updating && members.some(saying('RolledBack'));
  const waiting = paused ? [] : members.filter(waits);
  const under = updating || waiting.length > 0;
  const wanted = under || members.some((n) => comesUp(n, now));
  const keep = f.braked ? f.surges : f.surges.slice(0, wanted ? most : 0);
  const drop = f.surges.slice(keep.length);
  if (most === 0) return { keep, drop, make: false, verdict: undefined, againMs: undefined };

  const before = getCondition(fleet.status?.conditions, 'Surge')?.reason;
  const asked =
    waiting.some(saying('SurgePending')) || ((before === 'NoSpareGPU' || keep.length > 0) && waiting.length > 0);
  const placed = keep.every((n) => n.status?.kubernetesNode !== undefined);
  const looks = asked && placed && !f.braked && keep.length < Math.min(most, waiting.length);
  const spare = looks && f.room ? f.spare() : undefined;
  const unknown = looks && f.room && spare === undefined;
  const make = spare?.fits === true;
  const verdict = ((): Verdict => {
    if (make) return surging('a node more than wanted is made, as a spare GPU fits it');
    if (keep.length > 0) return standing(f, keep);
    if (f.leaving + drop.length > 0)
      return no('Draining', 'the nodes that were made for the update are drained and go');
    if (f.braked) return no('TooManyVanished', 'the fleet’s brake is on');
    if (spare?.fits === false) return no('NoSpareGPU', `${fallback(f)}: ${spare.why}`);
    if (unknown) return no('Waiting', 'the configuration is being verified; a spare GPU is looked for after that');
    if (looks) return no('Waiting', 'the fleet has as many nodes as it may have; some of them are going');
    // Stays said as long as the update goes on like that.
    const said = getCondition(fleet.status?.conditions, 'Surge');
    if (under && before === 'NoSpareGPU') return no('NoSpareGPU', said?.message ?? fallback(f));
    return no('Settled', 'no update needs a node more');
  })();
  // A node that comes up, or is waited for, stops to be so by time alone.
  const again = unknown ? UNKNOWN_MS : looks || keep.length > 0 ? LOOK_AGAIN_MS : undefined;
  return { keep, drop, make, verdict, againMs: again };
};

const standing = (f: SurgeFacts, keep: readonly ResultityNode[]): Verdict => {
  const stages = keep.map((n) => ({ name: n.metadata.name, stage: stageOf(n, f.now) }));
  const at = (...stage: readonly string[]) => stages.find((s) => stage.includes(s.stage))?.name;
  if (at('ready')) return surging(`${at('ready')} stands in while others are updated`);
  if (at('starting')) return surging(`${at('starting')} is starting; others are updated when it is ready`);
  if (at('failing')) return surging(`${at('failing')} does not come up; see its conditions`);
  return no('NoSpareGPU', `${at('unplaced', 'late')} gets no GPU or is not ready in time; ${fallback(f)}`);
};

const fallback = ({ fleet: { spec } }: SurgeFacts): string => {
  const most = countOf(spec.rollout.maxUnavailable, spec.replicas);
  return `the update goes on with ${most} out of service at a time`;
};

const surging = (message: string): Verdict => ({ status: 'True', reason: 'Surging', message });
const no = (reason: Reason, message: string): Verdict => ({ status: 'False', reason, message });
