import { setImmediate as turn } from 'node:timers/promises';
import type { Clock } from '../lib/clock.ts';

/** setTimeout's range; longer waits are done in slices by whoever waits. */
export const MAX_SLEEP_MS = 2 ** 31 - 1;

/** Sleeps; true when the time passed, false when `signal` ended it. Never rejects. */
export const pause = async (clock: Clock, ms: number, signal?: AbortSignal): Promise<boolean> => {
  try {
    await clock.sleep(Math.min(Math.max(ms, 0), MAX_SLEEP_MS), signal);
    return true;
  } catch {
    return false;
  }
};

/** Lets everything else that is due run: sockets, timers, probes. For long work on one thread. */
export const breathe = (): Promise<void> => turn();

/** What a timer that is not needed any more ends with; given, because AbortController makes an error with its stack otherwise. */
const NOT_NEEDED = Symbol('not needed');

/** A signal that ends with its parent or when its time is over. `close` must be called; it frees timer and listener. */
export interface Deadline {
  readonly signal: AbortSignal;
  /** True when the time, not the parent, ended it. */
  readonly expired: () => boolean;
  readonly close: () => void;
  /** Starts the time again. */
  readonly poke: () => void;
  readonly abort: (reason: unknown) => void;
}

export const deadline = (
  clock: Clock,
  ms: number,
  parent: AbortSignal | undefined,
  reason: () => unknown,
): Deadline => {
  const ours = new AbortController();
  const timer = new AbortController();
  let expired = false;
  let until = clock.monotonic() + ms;
  const onParent = (): void => ours.abort(parent?.reason);
  if (parent?.aborted) onParent();
  else parent?.addEventListener('abort', onParent, { once: true });
  const run = async (): Promise<void> => {
    for (;;) {
      const left = until - clock.monotonic();
      if (left <= 0) {
        expired = true;
        ours.abort(reason());
        return;
      }
      if (!(await pause(clock, left, timer.signal))) return;
    }
  };
  if (!ours.signal.aborted && Number.isFinite(ms)) void run();
  return {
    signal: ours.signal,
    expired: () => expired,
    close: () => {
      timer.abort(NOT_NEEDED);
      parent?.removeEventListener('abort', onParent);
    },
    poke: () => {
      until = clock.monotonic() + ms;
    },
    abort: (why) => ours.abort(why),
  };
};
