import { lstat, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Sha256 } from '../protocol/values.ts';
import { type Evictable, evictions } from './admission.ts';
import { type Holder, Leases } from './lease.ts';
import { ModelStore } from './store.ts';
import { UseLeases } from './use-leases.ts';

/** What removes from a folder that others may share: only under the model's lease, and never what is in use. */
export interface Shared {
  readonly store: ModelStore;
  readonly leases: Leases;
  readonly uses: UseLeases;
  /** Marks of unlisted models, and since when (monotonic, ms) this process sees them. */
  readonly marks: Map<Sha256, { readonly mark: string | undefined; readonly since: number }>;
}

/** The models folder of one agent. */
export const openShared = (root: string, holder: Holder): Shared => ({
  store: new ModelStore(root),
  leases: new Leases(root, holder),
  uses: new UseLeases(root, holder),
  marks: new Map(),
});

/** Bytes below a folder. */
const folderBytes = async (folder: string): Promise<number> => {
  let sum = 0;
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true }).catch(() => []))
    if (entry.isFile()) sum += (await lstat(join(entry.parentPath, entry.name)).catch(() => ({ size: 0 }))).size;
  return sum;
};

/** Removes one model unless it is in use or under work. True when it is gone. */
const removeIdle = async ({ store, leases, uses }: Shared, digest: Sha256): Promise<boolean> => {
  const lease = await leases.acquire(store.lockOf(digest), { wait: false });
  if (!lease) return false;
  try {
    // a use begins under this lease, so none can begin between the look and the removal
    if ((await uses.inUse()).has(digest)) return false;
    await store.remove(digest);
    return true;
  } finally {
    await lease.release();
  }
};

/**
 * Removes what nobody lists: models `cacheMs` after this process saw that first, downloads and half-done removals at once. A
 * mark lies beside an unlisted model; an agent that lists it takes the mark away, and the time begins anew. It is measured on
 * the monotonic clock, so that a jump of the wall clock removes nothing. Returns the models that were removed.
 */
export const removeUnlisted = async (
  shared: Shared,
  listed: ReadonlySet<Sha256>,
  cacheMs: number,
): Promise<Sha256[]> => {
  const { store, leases } = shared;
  await store.sweep();
  const removed: Sha256[] = [];
  for (const { digest } of await store.staged()) {
    if (listed.has(digest)) continue;
    const lease = await leases.acquire(store.lockOf(digest), { wait: false });
    await (lease && store.removeStaged(digest).finally(() => lease.release()));
  }
  for (const digest of await store.list()) {
    const marker = store.markerOf(digest, 'unlisted');
    if (listed.has(digest)) {
      await rm(marker, { force: true });
      continue;
    }
    if ((await unlistedMs(shared, digest, marker)) < cacheMs) continue;
    if (await removeIdle(shared, digest)) removed.push(digest);
  }
  return removed;
};

/** For how long this process has seen this very mark. */
const unlistedMs = async ({ leases, marks }: Shared, digest: Sha256, marker: string): Promise<number> => {
  const now = leases.holder.clock.monotonic();
  const mark = (): Promise<string | undefined> =>
    stat(marker, { bigint: true }).then(
      (s) => `${s.ino} ${s.ctimeNs}`,
      () => undefined,
    );
  const there = await mark();
  const seen = marks.get(digest);
  if (there !== undefined && seen?.mark === there) return now - seen.since;
  if (there === undefined) await writeFile(marker, '');
  marks.set(digest, { mark: await mark(), since: now });
  return 0;
};

/** What other downloads to this folder still have to write, as far as their leases say how much it is. */
export const othersMissing = async ({ store, leases }: Shared, own: Sha256): Promise<number> => {
  let sum = 0;
  for (const { digest, path } of await store.staged()) {
    const other = digest === own ? undefined : await leases.held(store.lockOf(digest));
    if (other) sum += Math.max(0, other.bytes - (await folderBytes(path)));
  }
  return sum;
};

/** Makes room for `bytes` by the rule of `evictions`. Returns the models that were removed. */
export const makeRoom = async (
  shared: Shared,
  bytes: number,
  standing: (digest: Sha256) => Evictable['listed'],
): Promise<Sha256[]> => {
  const { store, uses } = shared;
  const used = await uses.inUse();
  const held: Evictable[] = [];
  for (const digest of await store.list())
    held.push({
      digest,
      bytes: await folderBytes(store.pathOf(digest)),
      lastUsed: await store.lastUsed(digest),
      inUse: used.has(digest),
      listed: standing(digest),
    });
  const removed: Sha256[] = [];
  for (const digest of evictions(held, bytes)) if (await removeIdle(shared, digest)) removed.push(digest);
  return removed;
};
