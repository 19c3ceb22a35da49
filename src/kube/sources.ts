import type { Clock } from '../lib/clock.ts';
import type { Priority } from './queue.ts';
import type { Change, Store } from './store.ts';
import { breathe, pause } from './timing.ts';
import { controllerOf, joinKey, type Key, type KubeObject, keyOf, type ResourceType } from './types.ts';

export type Enqueue = (key: Key, reason: string, priority?: Priority) => void;

/** What makes keys due. `start` subscribes and returns the way to stop; `synced` holds the workers back until it is true. */
export interface Source {
  readonly start: (enqueue: Enqueue, signal: AbortSignal) => void;
  readonly synced?: () => boolean;
}

/** Whether a change matters. Compose with `and`, `or`, `not`. */
export type Predicate<T> = (change: Change<T>) => boolean;
export const and =
  <T>(...all: Predicate<T>[]): Predicate<T> =>
  (c) =>
    all.every((p) => p(c));
/** @public with `and` and `not` one set, though nothing of ours needs it yet */
export const or =
  <T>(...any: Predicate<T>[]): Predicate<T> =>
  (c) =>
    any.some((p) => p(c));
export const not =
  <T>(one: Predicate<T>): Predicate<T> =>
  (c) =>
    !one(c);

/** True but for updates that left `of` as it was (compared as JSON). */
export const changed =
  <T extends KubeObject>(of: (object: T) => unknown): Predicate<T> =>
  (c) =>
    c.type !== 'updated' || JSON.stringify(of(c.object)) !== JSON.stringify(of(c.old));

/** True but for updates of status only: generation, labels, annotations, finalizers or the deletion changed. */
export const specChanged: Predicate<KubeObject> = changed((o) => {
  const m = o.metadata;
  return [m?.generation, m?.deletionTimestamp, m?.labels, m?.annotations, m?.finalizers];
});

/** A change's source: each change of `store` that passes makes the keys of `map` due. Objects of the first list are `resync`. */
export const maps = <T extends KubeObject>(
  store: Store<T>,
  map: (object: T) => Iterable<Key>,
  when: Predicate<T> = () => true,
): Source => ({
  start: (enqueue, signal) => {
    const tell = (change: Change<T>): void => {
      if (!when(change)) return;
      const reason = `${store.type.kind} ${change.type}`;
      const priority = change.type === 'added' && change.initial ? 'resync' : 'live';
      const keys = new Set(map(change.object));
      // An object that moved (its labels, its owner) concerns those it left as well.
      if (change.type === 'updated') for (const key of map(change.old)) keys.add(key);
      for (const key of keys) enqueue(key, reason, priority);
    };
    const stop = store.subscribe(tell);
    signal.addEventListener('abort', stop, { once: true });
    // A store that was filled before we came has told its changes already.
    for (const object of store.list()) tell({ type: 'added', object, initial: true });
  },
  synced: () => store.synced(),
});

/** The controller's own objects. */
export const objects = <T extends KubeObject>(store: Store<T>, when?: Predicate<T>): Source =>
  maps(store, (object) => [keyOf(object)], when);

/** Children in `store` whose controlling owner is of `owner`'s kind: the owner becomes due. */
export const owns = <T extends KubeObject>(store: Store<T>, owner: ResourceType, when?: Predicate<T>): Source =>
  maps(
    store,
    (object) => {
      const ref = controllerOf(object);
      if (!ref || ref.kind !== owner.kind || !sameGroup(ref.apiVersion, owner.group)) return [];
      return [joinKey(owner.namespaced ? object.metadata?.namespace : undefined, ref.name)];
    },
    when,
  );

const sameGroup = (apiVersion: string, group: string): boolean =>
  apiVersion.includes('/') ? apiVersion.slice(0, apiVersion.indexOf('/')) === group : group === '';

/** Keys that become due without a turn of the loop in between. */
const AT_ONCE = 500;

/** All keys, every `ms`: a safety net, and the way to act when only time has passed. */
export const every = (clock: Clock, ms: number, keys: () => Iterable<Key>): Source => ({
  start: (enqueue, signal) => {
    const run = async (): Promise<void> => {
      while (await pause(clock, ms, signal)) {
        let n = 0;
        for (const key of [...keys()]) {
          if (++n % AT_ONCE === 0) await breathe();
          enqueue(key, 'resync', 'resync');
        }
      }
    };
    void run();
  },
});

/** Whatever else: `subscribe` gets the way to make keys due, and returns the way to stop. */
export const external = (subscribe: (enqueue: Enqueue) => () => void): Source => ({
  start: (enqueue, signal) => {
    const stop = subscribe(enqueue);
    signal.addEventListener('abort', stop, { once: true });
  },
});
