import type { IntOrPercent, Rollout } from '../../src/api/index.ts';
import type { Turn } from './rollout.ts';
import { shareOf } from './surge.ts';

/** Another node under the same rollout policy. */
export interface Peer {
  readonly name: string;
  readonly updating: boolean;
  readonly pulling: boolean;
  /** Has a pod that should serve and does not. */
  readonly down: boolean;
  /** Images that it has patched back. */
  readonly refused: readonly string[];
  /** One more than wanted, made for an update; `ready`: it stands in for another one. */
  readonly surge?: 'ready' | 'not ready' | undefined;
}

export interface TurnFacts {
  /** The other nodes: of its fleet, or the single nodes of its network. */
  readonly peers: readonly Peer[];
  readonly policy: Pick<Rollout, 'maxUnavailable' | 'pauseOnFailure'>;
  /** This node serves: only then can an update put it out of service. */
  readonly serving: boolean;
  readonly images: readonly string[];
  /** It is itself one more than wanted. */
  readonly surge?: boolean;
  /** Why a node that serves must wait for one more first; undefined when it need not. */
  readonly wait?: string | undefined;
}

/** More machines than may be down at a time may pull: it costs the registry, not the callers. */
const MORE_PULLS = 3;

/** Whether one more node of a group may begin, by its policy. Pure. */
export const turnOf = ({ peers, policy, serving, images, surge = false, wait }: TurnFacts): Turn => {
  const failed = peers.find((p) => p.refused.some((image) => images.includes(image)));
  if (failed && policy.pauseOnFailure)
    return {
      go: false,
      pull: false,
      why: `${failed.name} was patched back from it (pauseOnFailure); publish another image, or take resultity.com/rolled-back off ${failed.name}`,
    };
  const regular = peers.filter((p) => p.surge === undefined);
  const ready = peers.filter((p) => p.surge === 'ready').length;
  const limit = Math.max(1, shareOf(policy.maxUnavailable, regular.length + (surge ? 0 : 1)) + ready);
  const out = regular.filter((p) => p.updating || p.down);
  const pulling = peers.filter((p) => p.pulling).length;
  const pull = pulling < limit + MORE_PULLS;
  if (serving && !surge && wait !== undefined) return { go: false, pull, why: wait, reason: 'SurgePending' };
  const go = !serving || out.length < limit;
  const names = out.slice(0, 3).map((p) => `${p.name} ${p.updating ? 'is updated' : 'is not serving'}`);
  const allowed = ready === 0 ? `maxUnavailable is ${limit}` : `${limit} may be out, with ${ready} more than wanted`;
  const why = go ? `${pulling} machines pull already` : `${allowed}: ${names.join(', ')}`;
  return { go, pull, why };
};

/** At least one, or nothing would ever be updated. A percentage is rounded down. */
export const countOf = (value: IntOrPercent, of: number): number => Math.max(1, shareOf(value, of));

/**
 * Turns that were given a moment ago and cannot be read off the pods yet: two nodes decided at the same time would both see
 * nobody. Only the leader gives turns, and a lost process leaves none behind.
 */
export class Turns {
  readonly #taken = new Map<string, { kind: 'update' | 'pull'; until: number }>();

  take(node: string, kind: 'update' | 'pull', now: number): void {
    this.#taken.set(node, { kind, until: now + TAKEN_MS });
  }
  has(node: string, kind: 'update' | 'pull', now: number): boolean {
    const taken = this.#taken.get(node);
    return taken !== undefined && taken.until > now && taken.kind === kind;
  }
  forget(node: string): void {
    this.#taken.delete(node);
  }
}

/** By then the cache shows what was written, or it was not written. */
const TAKEN_MS = 30_000;
