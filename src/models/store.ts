import { chmod, mkdir, readdir, rename, rm, stat, statfs, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { syncFolder } from '../lib/fs.ts';
import type { Sha256 } from '../protocol/values.ts';
import type { ModelFile } from './manifest.ts';

const FOLDER = /^sha256-([0-9a-f]{64})$/;

/**
 * The models folder: one read-only folder per model digest, which appears whole by rename or not at all.
 * `.sha256-<hex>.part` is a download under way, `.sha256-<hex>.unlisted` marks since when nobody lists it,
 * `.trash-*` is a removal under way.
 */
export class ModelStore {
  readonly root: string;

  constructor(root: string) {
    this.root = root;
  }

  pathOf(digest: Sha256): string {
    return join(this.root, digest.replace(':', '-'));
  }

  stagingOf(digest: Sha256): string {
    return join(this.root, `.${digest.replace(':', '-')}.part`);
  }

  private markerOf(digest: Sha256): string {
    return join(this.root, `.${digest.replace(':', '-')}.unlisted`);
  }

  /** Digests whose folder is there. That says nothing about their bytes: see verifyFolder. */
  async list(): Promise<Sha256[]> {
    const names = await readdir(this.root).catch(() => []);
    return names.flatMap((name) => {
      const hex = FOLDER.exec(name)?.[1];
      return hex ? [`sha256:${hex}` as Sha256] : [];
    });
  }

  async has(digest: Sha256): Promise<boolean> {
    return stat(this.pathOf(digest)).then(
      (s) => s.isDirectory(),
      () => false,
    );
  }

  /** Bytes that this user may still write. */
  async freeBytes(): Promise<number> {
    const fs = await statfs(this.root);
    return fs.bavail * fs.bsize;
  }

  /** Turns a complete, hashed staging folder into the model's folder: read-only, fsynced, by one rename. */
  async publish(digest: Sha256, files: readonly ModelFile[]): Promise<string> {
    const staging = this.stagingOf(digest);
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
    await this.remove(digest, { keepStaging: true });
    await rename(staging, path);
    await syncFolder(this.root);
    return path;
  }

  /** Removes a model's folder and, unless told otherwise, its download. A reader that holds files open keeps them. */
  async remove(digest: Sha256, { keepStaging = false } = {}): Promise<void> {
    const trash = join(this.root, `.trash-${digest.slice(7, 23)}-${process.pid}`);
    for (const path of keepStaging ? [this.pathOf(digest)] : [this.pathOf(digest), this.stagingOf(digest)]) {
      const there = await rename(path, trash).then(
        () => true,
        (error: NodeJS.ErrnoException) => {
          if (error.code === 'ENOENT') return false;
          throw error;
        },
      );
      if (there) await this.clear(trash);
    }
    await rm(this.markerOf(digest), { force: true });
  }

  private async clear(path: string): Promise<void> {
    const open = async (folder: string): Promise<void> => {
      await chmod(folder, 0o700);
      for (const entry of await readdir(folder, { withFileTypes: true }))
        if (entry.isDirectory()) await open(join(folder, entry.name));
    };
    await open(path);
    await rm(path, { recursive: true, force: true });
  }

  /**
   * Removes what nobody lists: models after `cacheMs`, downloads and half-done removals at once.
   * Returns the digests that were removed. `listed` must hold the loaded model, whatever the snapshot says of it.
   */
  async gc(listed: ReadonlySet<Sha256>, cacheMs: number, nowMs: number): Promise<Sha256[]> {
    await mkdir(this.root, { recursive: true });
    const removed: Sha256[] = [];
    for (const name of await readdir(this.root)) {
      if (name.startsWith('.trash-')) await this.clear(join(this.root, name));
      const part = /^\.(sha256-[0-9a-f]{64})\.part$/.exec(name)?.[1]?.replace('-', ':') as Sha256 | undefined;
      if (part && !listed.has(part)) {
        await chmod(join(this.root, name), 0o700);
        await this.clear(join(this.root, name));
      }
    }
    for (const digest of await this.list()) {
      const marker = this.markerOf(digest);
      if (listed.has(digest)) {
        await rm(marker, { force: true });
        continue;
      }
      const since = await stat(marker).then(
        (s) => s.mtimeMs,
        async () => {
          await writeFile(marker, '');
          return nowMs;
        },
      );
      if (nowMs - since < cacheMs) continue;
      await this.remove(digest);
      removed.push(digest);
    }
    return removed;
  }
}
