import type { Clock } from '../lib/clock.ts';

/**
 * Server time as this node knows it. Only a welcome sets it (bound to our nonce), and it runs on the monotonic clock from
 * there, so that a jump of the wall clock moves nothing (docs/protocol.md §3, faults I12).
 */
export class ServerClock {
  readonly #clock: Clock;
  #anchor: { readonly server: number; readonly monotonic: number } | null = null;

  constructor(clock: Clock) {
    this.#clock = clock;
  }
  /** @param serverTime welcome.serverTime; @param sentAt our monotonic clock when hello left: half the way back is added */
  set(serverTime: number, sentAt: number): void {
    const monotonic = this.#clock.monotonic();
    this.#anchor = { server: serverTime + Math.max(0, (monotonic - sentAt) / 2), monotonic };
  }
  /** Server time, or local time before the first welcome. */
  now(): number {
    return Math.round(this.known() ?? this.#clock.now());
  }
  /** Server time once known. */
  known(): number | undefined {
    return this.#anchor ? this.#anchor.server + (this.#clock.monotonic() - this.#anchor.monotonic) : undefined;
  }
  /** Server minus local, in ms; 0 before the first welcome. */
  offset(): number {
    const known = this.known();
    return known === undefined ? 0 : Math.round(known - this.#clock.now());
  }
}
