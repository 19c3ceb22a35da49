import { chmod, copyFile, lstat, mkdir, readdir, rename, rm, stat, statfs, utimes, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { CodedError } from '../lib/errors.ts';
import { syncFolder } from '../lib/fs.ts';
import type { Sha256 } from '../protocol/values.ts';
import type { Lease } from './lease.ts';
import type { ModelFile } from './manifest.ts';

const FOLDER = /^sha256-([0-9a-f]{64})$/;
const PART = /^\.(sha256-[0-9a-f]{64})\.part\.(\d+)$/;
const digestOf = (name: string): Sha256 => name.replace('-', ':') as Sha256;

/**
 * The models folder: one read-only folder per model digest, which appears whole by rename or not at all. Beside it
 * `.sha256-<hex>.part.<n>` is a download under way by holder n of the lease `.sha256-<hex>.lock`, `.sha256-<hex>.unlisted`
 * marks since when nobody lists it, `.sha256-<hex>.used` when an engine last had it, `.trash-*` is a removal under way.
 */
export class ModelStore {
  readonly root: string;

  constructor(root: string) {
    this.root = root;
  }

  pathOf(digest: Sha256): string {
    return join(this.root, digest.replace(':', '-'));
  }
  /** Name of the lease that whoever downloads or removes the model holds. */
  lockOf(digest: Sha256): string {
    return `.${digest.replace(':', '-')}.lock`;
  }
  stagingOf(digest: Sha256, n = 0): string {
    return join(this.root, `.${digest.replace(':', '-')}.part.${n}`);
  }
  markerOf(digest: Sha256, kind: 'unlisted' | 'used'): string {
    return join(this.root, `.${digest.replace(':', '-')}.${kind}`);
  }

  /** Digests whose folder is there. That says nothing about their bytes: see verifyFolder. */
  async list(): Promise<Sha256[]> {
    const names = await readdir(this.root).catch(() => []);
    return names.filter((name) => FOLDER.test(name)).map(digestOf);
  }
  /** Downloads that are there, under way or cut short. */
  async staged(): Promise<{ readonly digest: Sha256; readonly path: string }[]> {
    const names = await readdir(this.root).catch(() => []);
    return names.flatMap((name) => {
      const of = PART.exec(name)?.[1];
      return of ? [{ digest: digestOf(of), path: join(this.root, name) }] : [];
    });
  }
  async has(digest: Sha256): Promise<boolean> {
    return lstat(this.pathOf(digest)).then(
      (s) => s.isDirectory(),
      () => false,
    );
  }
  /** Bytes that this user may still write. */
  async freeBytes(): Promise<number> {
    const fs = await statfs(this.root);
    return fs.bavail * fs.bsize;
  }

  /** An engine takes the model: what was used last is removed last. */
  async touch(digest: Sha256, nowMs: number): Promise<void> {
    const marker = this.markerOf(digest, 'used');
    await writeFile(marker, '');
    await utimes(marker, nowMs / 1000, nowMs / 1000);
  }
  async lastUsed(digest: Sha256): Promise<number> {
    return stat(this.markerOf(digest, 'used')).then(
      (s) => s.mtimeMs,
      () => 0,
    );
  }

  /**
   * The folder in which the holder of the lease downloads, with what an earlier one left there. After a takeover the files are
   * copied: whoever held them open and only slept writes into files that have no name any more.
   */
  async stage(digest: Sha256, { n, forced }: Pick<Lease, 'n' | 'forced'>): Promise<string> {
    const staging = this.stagingOf(digest, n);
    for (const { path } of (await this.staged()).filter((s) => s.digest === digest && s.path !== staging)) {
      await openUp(path);
      if (forced)
        await copyTree(path, staging).catch(() => {}); // no room: what is not copied is fetched again
      else if (
        await rename(path, staging).then(
          () => true,
          () => false,
        )
      )
        continue; // two leftovers: the first counts
      await this.#trash(path);
    }
    await mkdir(staging, { recursive: true, mode: 0o700 });
    await openUp(staging);
    return staging;
  }

  /**
   * Turns a complete, hashed staging folder into the model's folder: read-only, fsynced, by one rename. What the caller found
   * wrong there it has removed; a folder that is there all the same is a successor's, and stays.
   * @throws CodedError `lease_lost`
   */
  async publish(digest: Sha256, files: readonly ModelFile[], staging: string): Promise<string> {
    const folders = new Set<string>([staging]);
    for (const file of files) {
      const path = join(staging, file.path);
      await chmod(path, 0o444);
      for (let at = dirname(path); at !== staging; at = dirname(at)) folders.add(at);
    }
    for (const folder of [...folders].sort((a, b) => b.length - a.length)) {
      await syncFolder(folder);
      await chmod(folder, 0o555);
    }
    const path = this.pathOf(digest);
    const there = await lstat(path).catch(() => null);
    if (there && !there.isDirectory()) await rm(path);
    await rename(staging, path).catch((cause: NodeJS.ErrnoException) => {
      if (cause.code !== 'ENOTEMPTY' && cause.code !== 'EEXIST' && cause.code !== 'ENOENT') throw cause;
      throw new CodedError('lease_lost', 'another agent installed the model meanwhile', { cause });
    });
    await syncFolder(this.root);
    return path;
  }

  /** Removes a model's folder and marks. A reader that holds files open keeps them. The caller holds the lease. */
  async remove(digest: Sha256): Promise<void> {
    await this.#trash(this.pathOf(digest));
    for (const kind of ['unlisted', 'used'] as const) await rm(this.markerOf(digest, kind), { force: true });
  }
  /** Removes what was downloaded of a model so far. The caller holds the lease. */
  async removeStaged(digest: Sha256): Promise<void> {
    for (const { path } of (await this.staged()).filter((s) => s.digest === digest)) await this.#trash(path);
  }
  /** Ends removals that were cut short. */
  async sweep(): Promise<void> {
    await mkdir(this.root, { recursive: true });
    for (const name of await readdir(this.root)) if (name.startsWith('.trash-')) await clear(join(this.root, name));
  }

  async #trash(path: string): Promise<void> {
    const trash = join(this.root, `.trash-${crypto.randomUUID()}`);
    try {
      await rename(path, trash);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return;
      throw error;
    }
    await clear(trash);
  }
}

/** Folders writable again, as a publish that was cut short left them read-only. Links are left alone, never followed. */
const openUp = async (folder: string): Promise<void> => {
  if (!(await lstat(folder)).isDirectory()) return;
  await chmod(folder, 0o700);
  for (const entry of await readdir(folder, { withFileTypes: true }))
    if (entry.isDirectory()) await openUp(join(folder, entry.name));
};

const clear = async (path: string): Promise<void> => {
  await openUp(path).catch(() => {});
  await rm(path, { recursive: true, force: true });
};

const copyTree = async (from: string, to: string): Promise<void> => {
  await mkdir(to, { recursive: true, mode: 0o700 });
  for (const entry of await readdir(from, { withFileTypes: true })) {
    const path = join(to, entry.name);
    if (entry.isDirectory()) await copyTree(join(from, entry.name), path);
    else if (entry.isFile()) {
      await copyFile(join(from, entry.name), path);
      await rm(join(from, entry.name)); // never both for longer than one file
    }
  }
};
