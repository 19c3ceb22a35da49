import { type Clock, systemClock } from '../../src/lib/clock.ts';

/** The real clock, until it leaps: both clocks move on by `ms`, and whoever slept past that moment wakes. */
export class LeapClock implements Clock {
  #ahead = 0;
  #leap = new AbortController();

  now(): number {
    return systemClock.now() + this.#ahead;
  }
  monotonic(): number {
    return systemClock.monotonic() + this.#ahead;
  }
  async sleep(ms: number, signal?: AbortSignal): Promise<void> {
    for (const end = this.monotonic() + ms; this.monotonic() < end; ) {
      const woken = AbortSignal.any([this.#leap.signal, ...(signal ? [signal] : [])]);
      await systemClock.sleep(Math.max(0, end - this.monotonic()), woken).catch(() => {});
      signal?.throwIfAborted();
    }
  }
  leap(ms: number): void {
    this.#ahead += ms;
    this.#leap.abort();
    this.#leap = new AbortController();
  }
}
