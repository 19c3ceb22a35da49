import { assertNever } from '../lib/errors.ts';
import type { KubeMetrics } from './metrics.ts';
import { breathe } from './timing.ts';
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

/** Differences of one list that are told without a turn of the loop in between: each may wake several subscribers. */
const TELL_AT_ONCE = 200;

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
  readonly #sizes = new WeakMap<T, number>();
  /** What a list changed and nobody has been told yet. */
  #untold: Iterator<Change<T>> | undefined;
  #bytes = 0;
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
  /** About how much memory the objects take: characters of keys and texts, and eight bytes for all else. */
  get bytes(): number {
    return this.#bytes;
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
    const kept = this.#o.transform ? this.#o.transform(slim) : slim;
    this.#sizes.set(kept, freeze(kept));
    return kept;
  }

  /**
   * Takes one event of the watch. A list that changes much is shown at once, but told in slices between which the loop
   * turns: then there is a promise to wait for. Who does not wait loses nothing; the next event comes after all of it.
   */
  handle(event: WatchEvent<T>): Promise<void> | undefined {
    this.#tellNext(Number.POSITIVE_INFINITY);
    switch (event.type) {
      case 'init':
        this.#incoming = new Map();
        return undefined;
      case 'initApply': {
        const object = this.project(event.object);
        this.#incoming?.set(keyOf(object), object);
        return undefined;
      }
      case 'initDone':
        this.#replace(this.#incoming ?? new Map());
        this.#incoming = undefined;
        this.#version = versionOf(event.resourceVersion); // may fall: the server may have been restored
        this.#measure();
        if (!this.#tellNext(TELL_AT_ONCE)) return this.#tellRest();
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
        return undefined;
      default:
        assertNever(event);
    }
    this.#measure();
    this.#announce();
    return undefined;
  }

  #measure(): void {
    this.#o.metrics?.cacheObjects.set({ kind: this.type.kind }, this.#objects.size);
    this.#o.metrics?.cacheBytes.set({ kind: this.type.kind }, this.#bytes);
  }

  #announce(): void {
    for (const then of [...this.#advanced]) this.#safely(then);
  }

  async #tellRest(): Promise<void> {
    do await breathe();
    while (!this.#tellNext(TELL_AT_ONCE));
    this.#announce();
  }

  /** Tells up to `count` of what a list changed; true when nothing is left. */
  #tellNext(count: number): boolean {
    for (let n = 0; this.#untold && n < count; n++) {
      const next = this.#untold.next();
      if (next.done) this.#untold = undefined;
      else this.#tell(next.value);
    }
    return this.#untold === undefined;
  }

  #advance(version: bigint): void {
    if (version > this.#version) this.#version = version;
  }

  /** Swaps everything in one turn, and notes the differences to be told. */
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
    this.#bytes = 0;
    for (const object of next.values()) this.#bytes += this.#sizes.get(object) ?? 0;
    this.#synced = true;
    this.#untold = changes.values();
  }

  #put(object: T, initial: boolean): void {
    const key = keyOf(object);
    const old = this.#objects.get(key);
    const same = old !== undefined && old.metadata?.uid === object.metadata?.uid;
    if (old && !same) this.#drop(key, old, false);
    if (same && old.metadata?.resourceVersion === object.metadata?.resourceVersion) return;
    if (same) this.#forget(key, old);
    this.#objects.set(key, object);
    this.#bytes += this.#sizes.get(object) ?? 0;
    this.#index(key, object);
    this.#tell(same ? { type: 'updated', object, old } : { type: 'added', object, initial });
  }

  #drop(key: Key, object: T, known: boolean): void {
    const old = this.#objects.get(key);
    if (!old) return;
    this.#objects.delete(key);
    this.#forget(key, old);
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

  #forget(key: Key, object: T): void {
    this.#bytes -= this.#sizes.get(object) ?? 0;
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

/** Freezes a value through and through, and tells about how many bytes it takes. */
const freeze = (value: unknown): number => {
  if (typeof value === 'string') return value.length;
  if (typeof value !== 'object' || value === null) return 8;
  let bytes = 8;
  for (const [key, inner] of Object.entries(value)) bytes += (Array.isArray(value) ? 0 : key.length) + freeze(inner);
  Object.freeze(value);
  return bytes;
};
