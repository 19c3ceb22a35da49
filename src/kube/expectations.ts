import type { Clock } from '../lib/clock.ts';
import type { Store } from './store.ts';
import { deadline } from './timing.ts';
import { type Key, type KubeObject, versionOf } from './types.ts';

/**
 * Read-your-writes: resolves true when `store` has reached `version`, false when `ms` or `signal` ended first.
 * The object must be one that the store's watch would see.
 */
export const waitForVersion = (
  clock: Clock,
  store: Pick<Store, 'version' | 'onAdvance'>,
  version: bigint,
  ms: number,
  signal?: AbortSignal,
): Promise<boolean> => {
  if (store.version >= version) return Promise.resolve(true);
  return new Promise((resolve) => {
    const limit = deadline(clock, ms, signal, () => undefined);
    const end = (reached: boolean): void => {
      stop();
      limit.close();
      resolve(reached);
    };
    const stop = store.onAdvance(() => {
      if (store.version >= version) end(true);
    });
    if (limit.signal.aborted) end(false);
    else limit.signal.addEventListener('abort', () => end(store.version >= version), { once: true });
  });
};

interface Expected {
  readonly store: Pick<Store, 'version' | 'onAdvance'>;
  readonly version: bigint;
  readonly since: number;
}

const WAIT_MS = 500;
/** Longer than the time between two bookmarks: by then a cache that lives has told. Do not hold a key back for ever. */
const GIVE_UP_MS = 90_000;

/** Per key, what its caches must have seen before it is looked at again. */
export class Expectations {
  readonly #clock: Clock;
  readonly #of = new Map<Key, Expected[]>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  add<T extends KubeObject>(key: Key, store: Store<T>, written: T): void {
    const version = versionOf(written);
    if (version <= store.version) return;
    const rest = (this.#of.get(key) ?? []).filter((e) => e.store !== store || e.version > version);
    this.#of.set(key, [...rest, { store, version, since: this.#clock.monotonic() }]);
  }

  /** Waits shortly; true when nothing is missing (any more). */
  async met(key: Key, signal: AbortSignal): Promise<boolean> {
    const all = this.#of.get(key);
    if (!all) return true;
    for (const e of all) {
      if (this.#clock.monotonic() - e.since > GIVE_UP_MS) continue;
      if (!(await waitForVersion(this.#clock, e.store, e.version, WAIT_MS, signal))) return false;
    }
    this.#of.delete(key);
    return true;
  }
}
