import type { Clock } from '../lib/clock.ts';

/** How far a download is. */
export interface Progress {
  readonly bytes: number;
  readonly total: number;
  /** Over the last half minute or so; 0 before the first second is over. */
  readonly bytesPerSecond: number;
  /** Until the last byte at that rate; null while nothing comes. */
  readonly etaSeconds: number | null;
}

const SAMPLE_MS = 1_000;
/** The newest second weighs a tenth: jitter of the line does not make the estimate dance. */
const WEIGHT = 0.1;

/** Turns counts of bytes into a rate and an estimate. What lay there before the start does not count as rate. */
export class ProgressMeter {
  readonly #clock: Clock;
  readonly #total: number;
  #last: { readonly at: number; readonly bytes: number } | null = null;
  #rate = 0;

  constructor(total: number, clock: Clock) {
    this.#total = total;
    this.#clock = clock;
  }

  at(bytes: number): Progress {
    const now = this.#clock.monotonic();
    // a part that was thrown away is no negative rate
    if (this.#last === null || bytes < this.#last.bytes) this.#last = { at: now, bytes };
    const ms = now - this.#last.at;
    if (ms >= SAMPLE_MS) {
      const sample = ((bytes - this.#last.bytes) * 1000) / ms;
      const kept = this.#rate === 0 ? 0 : (1 - WEIGHT) ** (ms / SAMPLE_MS);
      this.#rate = kept * this.#rate + (1 - kept) * sample;
      this.#last = { at: now, bytes };
    }
    const rate = Math.round(this.#rate);
    return {
      bytes,
      total: this.#total,
      bytesPerSecond: rate,
      etaSeconds: rate > 0 ? Math.ceil((this.#total - bytes) / rate) : null,
    };
  }
}
