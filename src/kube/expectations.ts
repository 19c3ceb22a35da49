import type { Clock } from '../lib/clock.ts';
import type { Store } from './store.ts';
import { type Key, type KubeObject, versionOf } from './types.ts';

interface Expected {
  readonly store: Pick<Store, 'version' | 'onAdvance'>;
  readonly version: bigint;
  readonly since: number;
}

/** Longer than the time between two bookmarks: by then a cache that lives has told. Do not hold a key back for ever. */
const GIVE_UP_MS = 90_000;

/** Read-your-writes: per key, what its caches must have seen before it is looked at again. */
export class Expectations {
  readonly #clock: Clock;
  readonly #of = new Map<Key, readonly Expected[]>();
  readonly #waiting = new Map<Key, () => void>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** `written` must be an object that the store's watch would see. */
  add<T extends KubeObject>(key: Key, store: Store<T>, written: T): void {
    const version = versionOf(written);
    if (version <= store.version) return;
    const rest = (this.#of.get(key) ?? []).filter((e) => e.store !== store || e.version > version);
    this.#of.set(key, [...rest, { store, version, since: this.#clock.monotonic() }]);
  }

  /** True when nothing is missing (any more). Otherwise `then` is called once, when it has come; a later call for the key takes its place. */
  met(key: Key, then: () => void): boolean {
    this.#waiting.get(key)?.();
    const missing = this.#missing(key);
    if (missing.length === 0) return true;
    const stops = missing.map(({ store }) =>
      store.onAdvance(() => {
        if (this.#missing(key).length > 0) return;
        stop();
        then();
      }),
    );
    const stop = (): void => {
      this.#waiting.delete(key);
      for (const off of stops) off();
    };
    this.#waiting.set(key, stop);
    return false;
  }

  /** Nobody is called any more. */
  stop(): void {
    for (const stop of [...this.#waiting.values()]) stop();
  }

  #missing(key: Key): readonly Expected[] {
    const now = this.#clock.monotonic();
    const left = (this.#of.get(key) ?? []).filter((e) => e.version > e.store.version && now - e.since <= GIVE_UP_MS);
    if (left.length === 0) this.#of.delete(key);
    return left;
  }
}
