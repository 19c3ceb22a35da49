import type { Key } from './types.ts';

/**
 * Entries by key, each of a flow: served in turns over the flows, first in first out within one. However many entries one
 * flow has, the first of another waits for no more than one of each other flow.
 */
export class FairMap<E> {
  /** The flow that comes next is the first. */
  readonly #flows = new Map<string, Map<Key, E>>();
  readonly #flowOf = new Map<Key, string>();

  get size(): number {
    return this.#flowOf.size;
  }
  has(key: Key): boolean {
    return this.#flowOf.has(key);
  }
  get(key: Key): E | undefined {
    return this.#flows.get(this.#flowOf.get(key) ?? '')?.get(key);
  }
  /** Puts a new key behind those of its flow; one that is there keeps its place. */
  set(key: Key, entry: E, flow: string): void {
    const known = this.#flowOf.get(key) ?? flow;
    const entries = this.#flows.get(known) ?? new Map<Key, E>();
    entries.set(key, entry);
    this.#flows.set(known, entries);
    this.#flowOf.set(key, known);
  }
  delete(key: Key): void {
    const flow = this.#flowOf.get(key);
    if (flow === undefined) return;
    this.#flowOf.delete(key);
    const entries = this.#flows.get(flow);
    entries?.delete(key);
    if (entries?.size === 0) this.#flows.delete(flow);
  }
  /** Takes the next one out; its flow goes behind the others. */
  shift(): [Key, E] | undefined {
    for (const [flow, entries] of this.#flows)
      for (const [key, entry] of entries) {
        this.delete(key);
        if (this.#flows.delete(flow)) this.#flows.set(flow, entries);
        return [key, entry];
      }
    return undefined;
  }
  clear(): void {
    this.#flows.clear();
    this.#flowOf.clear();
  }
}
