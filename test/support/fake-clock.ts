import type { Clock } from '../../src/lib/clock.ts';

interface Sleeper {
  readonly at: number;
  readonly wake: () => void;
  readonly leave: () => void;
}

/** A clock that stands still until told: `advance` moves both clocks and wakes sleepers in order; `jumpWall` moves only the wall. */
export class FakeClock implements Clock {
  #wall: number;
  #mono = 0;
  readonly #sleepers = new Set<Sleeper>();

  constructor(wall = Date.UTC(2026, 10, 21, 10)) {
    this.#wall = wall;
  }
  now(): number {
    return this.#wall;
  }
  monotonic(): number {
    return this.#mono;
  }
  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    if (signal?.aborted) return Promise.reject(signal.reason);
    return new Promise((resolve, reject) => {
      const onAbort = (): void => {
        this.#sleepers.delete(sleeper);
        reject(signal?.reason);
      };
      const sleeper: Sleeper = {
        at: this.#mono + ms,
        wake: () => {
          sleeper.leave();
          resolve();
        },
        leave: () => signal?.removeEventListener('abort', onAbort),
      };
      signal?.addEventListener('abort', onAbort, { once: true });
      this.#sleepers.add(sleeper);
    });
  }
  /** Sleepers that wait now; 0 at the end of a suite means nothing leaked. */
  get waiting(): number {
    return this.#sleepers.size;
  }
  /** Time is over: who sleeps now sleeps for ever. A listener left on a joined signal would keep all of it in memory. */
  stop(): void {
    for (const sleeper of this.#sleepers) sleeper.leave();
    this.#sleepers.clear();
  }
  jumpWall(ms: number): void {
    this.#wall += ms;
  }
  /** Moves time by `ms`, waking each sleeper at its own moment and letting what it started run before the next. */
  async advance(ms: number): Promise<void> {
    const end = this.#mono + ms;
    await settle();
    for (;;) {
      const next = [...this.#sleepers].filter((s) => s.at <= end).sort((a, b) => a.at - b.at)[0];
      if (!next) break;
      this.#wall += Math.max(0, next.at - this.#mono);
      this.#mono = Math.max(this.#mono, next.at);
      this.#sleepers.delete(next);
      next.wake();
      await settle();
    }
    this.#wall += end - this.#mono;
    this.#mono = end;
    await settle();
  }
}

/** Lets promise chains and immediates run until the loop is idle for a few turns. */
export const settle = async (turns = 5): Promise<void> => {
  for (let i = 0; i < turns; i++) await new Promise<void>((resolve) => setImmediate(resolve));
};
