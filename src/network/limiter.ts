import type { Clock } from '../lib/clock.ts';

interface Bucket {
  tokens: number;
  at: number;
}

/**
 * Token buckets by key on the monotonic clock: `limit` calls per `windowMs`, refilled evenly. Memory is bounded: full
 * buckets are forgotten, and above `maxKeys` the oldest goes.
 */
export class RateLimiter {
  readonly #clock: Clock;
  readonly #windowMs: number;
  readonly #maxKeys: number;
  readonly #buckets = new Map<string, Bucket>();

  constructor(clock: Clock, windowMs: number, maxKeys = 100_000) {
    this.#clock = clock;
    this.#windowMs = windowMs;
    this.#maxKeys = maxKeys;
  }

  /** Takes one call of `key`; undefined when it is within the limit, else milliseconds until the next is. */
  take(key: string, limit: number): number | undefined {
    const now = this.#clock.monotonic();
    const old = this.#buckets.get(key);
    const tokens = old ? Math.min(limit, old.tokens + ((now - old.at) * limit) / this.#windowMs) : limit;
    this.#buckets.delete(key);
    if (tokens < 1) {
      this.#buckets.set(key, { tokens, at: now });
      return Math.ceil(((1 - tokens) * this.#windowMs) / limit);
    }
    this.#buckets.set(key, { tokens: tokens - 1, at: now });
    if (this.#buckets.size > this.#maxKeys) this.#buckets.delete(this.#buckets.keys().next().value as string);
    return undefined;
  }
}
