import { dirname } from 'node:path';
import type { StateDisk } from '../../src/config/store.ts';

export class PowerCut extends Error {}

/**
 * A disk that forgets what was not fsynced. Each durable write is four steps (temp, fsync, rename, fsync of the folder),
 * each new folder two; `cutAfter` n lets n steps happen and then fails everything. `restart` gives the disk as it is
 * after power returns: a rename that was not synced is lost, or, with `lucky`, survived.
 */
export class PowerCutDisk implements StateDisk {
  readonly #durable: Map<string, Uint8Array>;
  readonly #visible: Map<string, Uint8Array>;
  readonly #failure: () => Error;
  steps = 0;
  cutAfter: number;

  constructor(
    cutAfter = Number.POSITIVE_INFINITY,
    files: ReadonlyMap<string, Uint8Array> = new Map(),
    failure: () => Error = () => new PowerCut(),
  ) {
    this.cutAfter = cutAfter;
    this.#durable = new Map(files);
    this.#visible = new Map(files);
    this.#failure = failure;
  }

  restart(lucky: boolean, cutAfter = Number.POSITIVE_INFINITY): PowerCutDisk {
    return new PowerCutDisk(cutAfter, lucky ? this.#visible : this.#durable);
  }
  /** What everybody sees. */
  files(): ReadonlyMap<string, Uint8Array> {
    return this.#visible;
  }
  text(path: string): string | undefined {
    const bytes = this.#visible.get(path);
    return bytes && Buffer.from(bytes).toString();
  }
  put(path: string, text: string | undefined): void {
    for (const map of [this.#durable, this.#visible])
      if (text === undefined) map.delete(path);
      else map.set(path, Buffer.from(text));
  }

  #step(): void {
    if (this.steps >= this.cutAfter) throw this.#failure();
    this.steps++;
  }
  async read(path: string): Promise<Uint8Array | undefined> {
    return this.#visible.get(path);
  }
  async list(folder: string): Promise<readonly string[]> {
    return [...this.#visible.keys()].filter((p) => dirname(p) === folder).map((p) => p.slice(folder.length + 1));
  }
  async makeFolder(): Promise<void> {
    this.#step();
    this.#step();
  }
  async write(path: string, bytes: string | Uint8Array): Promise<void> {
    const data = Buffer.from(bytes);
    this.#step();
    this.#visible.set(`${path}.1.tmp`, data.subarray(0, data.length >> 1));
    this.#step();
    this.#visible.set(`${path}.1.tmp`, data);
    this.#durable.set(`${path}.1.tmp`, data);
    this.#step();
    this.#visible.delete(`${path}.1.tmp`);
    this.#visible.set(path, data);
    await this.syncFolder(dirname(path));
  }
  async syncFolder(folder: string): Promise<void> {
    this.#step();
    for (const path of new Set([...this.#visible.keys(), ...this.#durable.keys()])) {
      if (dirname(path) !== folder) continue;
      const now = this.#visible.get(path);
      if (now === undefined) this.#durable.delete(path);
      else this.#durable.set(path, now);
    }
  }
}
