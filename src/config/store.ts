import { mkdir, readdir, readFile } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { CodedError, errorText } from '../lib/errors.ts';
import { syncFolder, writeDurably } from '../lib/fs.ts';
import { decodeUtf8, type Refusal, type Sha256, sha256Hex } from '../protocol/index.ts';
import { decodeFloor, encodeFloor, type Floor } from './floor.ts';

/** What a node remembers of its network's configuration. Every save is durable when it resolves. */
export interface StateStore {
  /** Answers of `GET /v1/roots/<n>` as received, by n. Unreadable ones are left out. */
  loadRoots(): Promise<Map<number, string>>;
  saveRoot(n: number, answer: string): Promise<void>;
  /** @throws CodedError<Refusal> `floor_missing` when there was one, `floor_unreadable` */
  loadFloor(): Promise<Floor | undefined>;
  saveFloor(floor: Floor): Promise<void>;
  /** Bytes whose digest holds, or undefined. */
  loadSnapshot(digest: Sha256): Promise<Uint8Array | undefined>;
  saveSnapshot(digest: Sha256, bytes: Uint8Array): Promise<void>;
  /** The last accepted answer of `GET /v1/config`. */
  loadEvidence(): Promise<string | undefined>;
  saveEvidence(answer: string): Promise<void>;
}

/** The writes of the store, so that a test can cut the power between any two of them. */
export interface StateDisk {
  /** Undefined when there is no such file. */
  read(path: string): Promise<Uint8Array | undefined>;
  list(folder: string): Promise<readonly string[]>;
  /** Makes a folder and its parents, durably. */
  makeFolder(path: string): Promise<void>;
  /** Temp, fsync, rename, fsync of the folder. */
  write(path: string, bytes: string | Uint8Array): Promise<void>;
  syncFolder(path: string): Promise<void>;
}

const isMissing = (error: unknown): boolean => (error as NodeJS.ErrnoException).code === 'ENOENT';

const nodeDisk: StateDisk = {
  async read(path) {
    try {
      return await readFile(path);
    } catch (error) {
      if (isMissing(error)) return undefined;
      throw error;
    }
  },
  async list(folder) {
    try {
      return await readdir(folder);
    } catch (error) {
      if (isMissing(error)) return [];
      throw error;
    }
  },
  async makeFolder(path) {
    const made = await mkdir(path, { recursive: true });
    // also when it stood already: an earlier process may have died before it synced the parent
    await syncFolder(dirname(path)).catch((error: unknown) => {
      if (made !== undefined) throw error;
    });
    // every parent that was made is durable only when the folder above it is synced
    const top = made === undefined ? path : dirname(made);
    for (let at = dirname(path); at !== top && at.startsWith(top); at = dirname(at)) await syncFolder(dirname(at));
  },
  write: (path, bytes) => writeDurably(path, bytes),
  syncFolder,
};

/**
 * The state folder of docs/protocol.md §7: `config/sha256-<hex>`, `roots/<n>.json`, `floor.json`, the marker `floor.once`;
 * and `evidence.json`, the answer that the accepted snapshot came with. One writer.
 */
export class FileStateStore implements StateStore {
  readonly #dir: string;
  readonly #disk: StateDisk;
  readonly #folders = new Set<string>();
  #settled = false;

  constructor(dir: string, disk: StateDisk = nodeDisk) {
    this.#dir = resolve(dir);
    this.#disk = disk;
  }

  async loadRoots(): Promise<Map<number, string>> {
    const roots = new Map<number, string>();
    const names = await this.#disk.list(join(this.#dir, 'roots')).catch(() => []);
    for (const name of names) {
      const n = /^([1-9][0-9]{0,15})\.json$/.exec(name)?.[1];
      if (n === undefined) continue;
      try {
        const bytes = await this.#disk.read(join(this.#dir, 'roots', name));
        if (bytes !== undefined) roots.set(Number(n), decodeUtf8(bytes));
      } catch {
        // an unreadable root is as good as none: the walk starts at the pinned one
      }
    }
    return roots;
  }

  saveRoot(n: number, answer: string): Promise<void> {
    return this.#write(['roots', `${n}.json`], answer);
  }

  async loadFloor(): Promise<Floor | undefined> {
    const path = join(this.#dir, 'floor.json');
    const bytes = await this.#disk.read(path).catch((error: unknown) => {
      throw new CodedError<Refusal>('floor_unreadable', `${path} cannot be read (${errorText(error)})`, {
        cause: error,
      });
    });
    if (bytes === undefined) {
      if (await this.#hasMarker())
        throw new CodedError<Refusal>(
          'floor_missing',
          `${path} is gone though it once stood; if you know why, reopen with: resultity config reset --state ${this.#dir} --floor EPOCH,VERSION`,
        );
      return undefined;
    }
    const floor = decodeFloor(bytes);
    await this.#settle();
    return floor;
  }

  async saveFloor(floor: Floor): Promise<void> {
    await this.#write(['floor.json'], encodeFloor(floor));
    if (!(await this.#hasMarker())) await this.#write(['floor.once'], '');
  }

  async loadSnapshot(digest: Sha256): Promise<Uint8Array | undefined> {
    const bytes = await this.#disk.read(join(this.#dir, 'config', fileName(digest))).catch(() => undefined);
    return bytes !== undefined && sha256Hex(bytes) === digest ? bytes : undefined;
  }

  saveSnapshot(digest: Sha256, bytes: Uint8Array): Promise<void> {
    return this.#write(['config', fileName(digest)], bytes);
  }

  async loadEvidence(): Promise<string | undefined> {
    try {
      const bytes = await this.#disk.read(join(this.#dir, 'evidence.json'));
      return bytes === undefined ? undefined : decodeUtf8(bytes);
    } catch {
      return undefined;
    }
  }

  saveEvidence(answer: string): Promise<void> {
    return this.#write(['evidence.json'], answer);
  }

  async #hasMarker(): Promise<boolean> {
    const path = join(this.#dir, 'floor.once');
    try {
      return (await this.#disk.read(path)) !== undefined;
    } catch (error) {
      throw new CodedError<Refusal>('floor_unreadable', `${path} cannot be read (${errorText(error)})`, {
        cause: error,
      });
    }
  }

  /** A floor that is visible may not be durable yet if its writer died before the folder's fsync: make it so. */
  async #settle(): Promise<void> {
    if (this.#settled) return;
    await this.#guard(this.#dir, () => this.#disk.syncFolder(this.#dir));
    if (!(await this.#hasMarker())) await this.#write(['floor.once'], '');
    this.#settled = true;
  }

  async #write(path: readonly string[], bytes: string | Uint8Array): Promise<void> {
    const file = join(this.#dir, ...path);
    await this.#guard(file, async () => {
      for (const folder of new Set([this.#dir, dirname(file)])) {
        if (this.#folders.has(folder)) continue;
        await this.#disk.makeFolder(folder);
        this.#folders.add(folder);
      }
      await this.#disk.write(file, bytes);
    });
  }

  async #guard(path: string, step: () => Promise<void>): Promise<void> {
    try {
      await step();
    } catch (error) {
      throw new CodedError<Refusal>('state_unwritable', `${path} cannot be written (${errorText(error)})`, {
        cause: error,
      });
    }
  }
}

const fileName = (digest: Sha256): string => digest.replace(':', '-');

/** A store that forgets with the process: for checks that must leave nothing behind. */
export class MemoryStateStore implements StateStore {
  readonly roots = new Map<number, string>();
  readonly snapshots = new Map<Sha256, Uint8Array>();
  floor: Floor | undefined;
  evidence: string | undefined;

  async loadRoots(): Promise<Map<number, string>> {
    return new Map(this.roots);
  }
  async saveRoot(n: number, answer: string): Promise<void> {
    this.roots.set(n, answer);
  }
  async loadFloor(): Promise<Floor | undefined> {
    return this.floor;
  }
  async saveFloor(floor: Floor): Promise<void> {
    this.floor = floor;
  }
  async loadSnapshot(digest: Sha256): Promise<Uint8Array | undefined> {
    return this.snapshots.get(digest);
  }
  async saveSnapshot(digest: Sha256, bytes: Uint8Array): Promise<void> {
    this.snapshots.set(digest, bytes);
  }
  async loadEvidence(): Promise<string | undefined> {
    return this.evidence;
  }
  async saveEvidence(answer: string): Promise<void> {
    this.evidence = answer;
  }
}
