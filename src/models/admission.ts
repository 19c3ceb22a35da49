import type { Sha256 } from '../protocol/values.ts';

const MIB = 2 ** 20;
const mib = (bytes: number): string => `${Math.ceil(bytes / MIB)} MiB`;

/** What must fit before the first byte of a download is asked for. */
export interface DiskNeed {
  /** Of this model: all that is not on the disk yet. */
  readonly missing: number;
  /** Of other models that are being downloaded to the same volume: what they still have to write. */
  readonly others: number;
  /** Kept free for whoever else writes there. */
  readonly reserve: number;
}

/** Bytes that lack; 0 when there is room. */
export const lacking = (need: DiskNeed, free: number): number =>
  Math.max(0, need.missing + need.others + need.reserve - free);

/** One line that names the volume and every number of the sum. */
export const lackingText = (need: DiskNeed, free: number, volume: string): string =>
  `${mib(lacking(need, free))} missing on ${volume}: ${mib(need.missing)} to download${
    need.others > 0 ? `, ${mib(need.others)} of other downloads` : ''
  }, ${mib(need.reserve)} kept free, ${mib(free)} free`;

/**
 * Bytes that a model still needs: the sum of its files, or `requires.diskMiB` where that is more, less what lies there.
 */
export const missingBytes = (filesTotal: number, diskMiB: number, held: number): number =>
  Math.max(0, Math.max(filesTotal, diskMiB * MIB) - held);

/** A model on the disk that may be asked to go. */
export interface Evictable {
  readonly digest: Sha256;
  readonly bytes: number;
  /** Wall clock, ms. */
  readonly lastUsed: number;
  /** Loaded in an engine, here or in another agent that shares the folder. */
  readonly inUse: boolean;
  /** What the configuration says: listed as active, listed otherwise, or not at all. */
  readonly listed: 'active' | 'other' | 'no';
}

const RANK = { no: 0, other: 1, active: 2 } as const;

/**
 * Which models go so that `bytes` come free, in this order: what nobody lists, then what is listed and not active, then what
 * is listed as active; within each the least recently used first. Never one that is in use. A model listed as active thus
 * goes only when nothing else is left and the model that is wanted now would not fit otherwise. When all of it would not be
 * enough, nothing goes.
 */
export const evictions = (held: readonly Evictable[], bytes: number): Sha256[] => {
  const order = held.filter((m) => !m.inUse).sort((a, b) => RANK[a.listed] - RANK[b.listed] || a.lastUsed - b.lastUsed);
  const going: Sha256[] = [];
  let freed = 0;
  for (const model of order) {
    if (freed >= bytes) break;
    going.push(model.digest);
    freed += model.bytes;
  }
  return freed >= bytes ? going : [];
};
