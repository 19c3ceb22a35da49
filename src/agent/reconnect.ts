import { fullJitter } from '../lib/backoff.ts';
import { CLOSE, isTerminalClose } from '../protocol/index.ts';
import type { SessionEnd } from './session.ts';

/** What is remembered between sessions. */
export interface ReconnectState {
  readonly failures: number;
  /** Monotonic times of supersedes within the last 24 h. */
  readonly superseded: readonly number[];
}
export const FRESH: ReconnectState = { failures: 0, superseded: [] };

export type Next =
  | { readonly kind: 'wait'; readonly ms: number; readonly register: boolean; readonly state: ReconnectState }
  /** Another process with a higher incarnation holds this identity: this one does not try again. */
  | { readonly kind: 'stop'; readonly why: string };

const TEN_MINUTES = 600_000;
const DAY = 86_400_000;
const HEALTHY_MS = 60_000;

/**
 * When to come back after a session ended (docs/protocol.md §6). Pure.
 * @param aliveMs how long the session was open; @param now monotonic clock; @param random uniform in [0, 1)
 */
export const afterSession = (
  end: SessionEnd,
  aliveMs: number,
  state: ReconnectState,
  now: number,
  random: () => number = Math.random,
): Next => {
  const failures = end.welcomed && aliveMs >= HEALTHY_MS ? 0 : state.failures;
  const backoff = fullJitter(failures, { baseMs: 500, capMs: 30_000, random });
  if (end.own || !isTerminalClose(end.code)) {
    const ms = Math.max(end.retryAfterMs ?? 0, backoff);
    return { kind: 'wait', ms, register: false, state: { ...state, failures: failures + 1 } };
  }
  if (end.code === CLOSE.superseded) {
    if (!end.welcomed) return { kind: 'stop', why: 'a newer incarnation of this identity is connected' };
    const superseded = [...state.superseded.filter((at) => now - at < DAY), now];
    const oldest = superseded[superseded.length - 4];
    const ms = oldest === undefined ? TEN_MINUTES : Math.max(TEN_MINUTES, oldest + DAY - now);
    return { kind: 'wait', ms, register: false, state: { failures: 0, superseded } };
  }
  const register = end.code === CLOSE.auth || end.code === CLOSE.forbidden;
  return { kind: 'wait', ms: TEN_MINUTES, register, state: { ...state, failures: 0 } };
};
