import { assertNever } from '../lib/errors.ts';
import type { KubeMetrics } from './metrics.ts';
import { type Key, type KubeObject, keyOf, type ResourceType, versionOf } from './types.ts';
import type { WatchEvent } from './watcher.ts';

/** A difference of the cache. A replaced object (same name, new UID) is told as deleted and added. */
export type Change<T> =
  /** `initial`: it was in the first list, so it is no news. */
  | { readonly type: 'added'; readonly object: T; readonly initial: boolean }
  | { readonly type: 'updated'; readonly object: T; readonly old: T }
  /** The last state that was seen; `known` false when the deletion itself was missed and a list told it. */
  | { readonly type: 'deleted'; readonly object: T; readonly known: boolean };

export interface StoreOptions<T extends KubeObject> {
  /** What is kept of an object. Gets one without managedFields; must keep metadata's name, namespace, uid, resourceVersion. */
  readonly transform?: ((object: T) => T) | undefined;
  /** Named functions that give the index values of an object, for `byIndex`. */
  readonly indexers?: Readonly<Record<string, (object: T) => readonly string[]>> | undefined;
  readonly metrics?: KubeMetrics | undefined;
  /** A subscriber that throws ends here; the cache goes on. */
  readonly onError?: ((error: unknown) => void) | undefined;
}

/**
 * The cache of one watch. Objects are frozen through and through; readers see a list wholly or not at all.
 * One store is fed by one watch: that makes `version` meaningful.
 */
export class Store<T extends KubeObject = KubeObject> {
  readonly type: ResourceType<T>;
  readonly #o: StoreOptions<T>;
  #objects = new Map<Key, T>();
  #incoming: Map<Key, T> | undefined;
  readonly #indexes = new Map<string, { of: (object: T) => readonly string[]; values: Map<string, Map<Key, T>> }>();
  readonly #subscribers = new Set<(change: Change<T>) => void>();
  readonly #advanced = new Set<() => void>();
  #version = 0n;
  #synced = false;

  constructor(type: ResourceType<T>, options: StoreOptions<T> = {}) {
    this.type = type;
    this.#o = options;
    for (const [name, of] of Object.entries(options.indexers ?? {})) this.#indexes.set(name, { of, values: new Map() });
  }

  get(key: Key): T | undefined {
    return this.#objects.get(key);
  }
  list(): T[] {
    return [...this.#objects.values()];
  }
  keys(): Key[] {
    return [...this.#objects.keys()];
  }
  get size(): number {
    return this.#objects.size;
  }
  /** Objects with this value in the index; throws on an index that was never declared. */
  byIndex(index: string, value: string): T[] {
    return [...(this.#bucket(index, value)?.values() ?? [])];
  }

  /** How many `byIndex` would give; costs nothing. */
  countByIndex(index: string, value: string): number {
    return this.#bucket(index, value)?.size ?? 0;
  }
  #bucket(index: string, value: string): Map<Key, T> | undefined {
    const found = this.#indexes.get(index);
    if (!found) throw new RangeError(`the store of ${this.type.plural} has no index ${index}`);
    return found.values.get(value);
  }

  /** True once a whole list has been taken; stays true. */
  synced(): boolean {
    return this.#synced;
  }
  /** The newest resourceVersion seen: everything written up to it is in the cache. */
  get version(): bigint {
    return this.#version;
  }

  /** Calls `then` for each later change, in order, after the cache shows it. Returns the way to stop. */
  subscribe(then: (change: Change<T>) => void): () => void {
    this.#subscribers.add(then);
    return () => this.#subscribers.delete(then);
  }
  /** Calls `then` whenever `version` or `synced` may have advanced. */
  onAdvance(then: () => void): () => void {
    this.#advanced.add(then);
    return () => this.#advanced.delete(then);
  }

  /** The object as the cache would keep it: transformed and frozen. */
  project(object: T): T {
    const { managedFields: _, ...metadata } = object.metadata ?? {};
    const slim = { ...object, metadata } as T;
    return deepFreeze(this.#o.transform ? this.#o.transform(slim) : slim);
  }

  /** Takes one event of the watch. */
  handle(event: WatchEvent<T>): void {
    switch (event.type) {
      case 'init':
        this.#incoming = new Map();
        return;
      case 'initApply': {
        const object = this.project(event.object);
        this.#incoming?.set(keyOf(object), object);
        return;
      }
      case 'initDone':
        this.#replace(this.#incoming ?? new Map());
        this.#incoming = undefined;
        this.#version = versionOf(event.resourceVersion); // may fall: the server may have been restored
        break;
      case 'apply':
        this.#put(this.project(event.object), false);
        this.#advance(versionOf(event.object));
        break;
      case 'delete':
        this.#drop(keyOf(event.object), this.project(event.object), true);
        this.#advance(versionOf(event.object));
        break;
      case 'bookmark':
        this.#advance(versionOf(event.resourceVersion));
        break;
      case 'error':
        return;
      default:
        assertNever(event);
    }
    this.#o.metrics?.cacheObjects.set({ kind: this.type.kind }, this.#objects.size);
    for (const then of [...this.#advanced]) this.#safely(then);
  }

  #advance(version: bigint): void {
    if (version > this.#version) this.#version = version;
  }

  /** Swaps everything in one turn, then tells the differences. */
  #replace(next: Map<Key, T>): void {
    const before = this.#objects;
    const first = !this.#synced;
    const changes: Change<T>[] = [];
    for (const [key, old] of before) {
      const now = next.get(key);
      if (!now || now.metadata?.uid !== old.metadata?.uid) changes.push({ type: 'deleted', object: old, known: false });
    }
    for (const [key, object] of next) {
      const old = before.get(key);
      if (!old || old.metadata?.uid !== object.metadata?.uid) changes.push({ type: 'added', object, initial: first });
      else if (old.metadata?.resourceVersion !== object.metadata?.resourceVersion)
        changes.push({ type: 'updated', object, old });
    }
    this.#objects = next;
    for (const index of this.#indexes.values()) index.values.clear();
    for (const [key, object] of next) this.#index(key, object);
    this.#synced = true;
    for (const change of changes) this.#tell(change);
  }

  #put(object: T, initial: boolean): void {
    const key = keyOf(object);
    const old = this.#objects.get(key);
    const same = old !== undefined && old.metadata?.uid === object.metadata?.uid;
    if (old && !same) this.#drop(key, old, false);
    if (same && old.metadata?.resourceVersion === object.metadata?.resourceVersion) return;
    if (same) this.#unindex(key, old);
    this.#objects.set(key, object);
    this.#index(key, object);
    this.#tell(same ? { type: 'updated', object, old } : { type: 'added', object, initial });
  }

  #drop(key: Key, object: T, known: boolean): void {
    const old = this.#objects.get(key);
    if (!old) return;
    this.#objects.delete(key);
    this.#unindex(key, old);
    this.#tell({ type: 'deleted', object, known });
  }

  #index(key: Key, object: T): void {
    for (const index of this.#indexes.values()) {
      for (const value of index.of(object)) {
        const bucket = index.values.get(value) ?? new Map<Key, T>();
        bucket.set(key, object);
        index.values.set(value, bucket);
      }
    }
  }

  #unindex(key: Key, object: T): void {
    for (const index of this.#indexes.values()) {
      for (const value of index.of(object)) {
        const bucket = index.values.get(value);
        bucket?.delete(key);
        if (bucket?.size === 0) index.values.delete(value);
      }
    }
  }

  #tell(change: Change<T>): void {
    for (const then of [...this.#subscribers]) this.#safely(() => then(change));
  }

  #safely(then: () => void): void {
    try {
      then();
    } catch (error) {
      this.#o.onError?.(error);
    }
  }
}

const deepFreeze = <V>(value: V): V => {
  if (typeof value !== 'object' || value === null || Object.isFrozen(value)) return value;
  Object.freeze(value);
  for (const inner of Object.values(value)) deepFreeze(inner);
  return value;
};
