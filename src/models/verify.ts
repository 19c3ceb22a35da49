import { createHash } from 'node:crypto';
import { constants, lstat, open, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { ModelFile } from './manifest.ts';
import { type Pace, unlimited } from './rate-limit.ts';

export type Verdict =
  | { readonly ok: true; readonly bytes: number }
  | {
      readonly ok: false;
      readonly code: 'missing_file' | 'unlisted_file' | 'link' | 'size_mismatch' | 'digest_mismatch';
      readonly path: string;
      readonly message: string;
    };

export interface VerifyOptions {
  readonly signal?: AbortSignal;
  readonly onProgress?: (bytes: number) => void;
  /** Presence, kind and size only: for a quick look at start before the full hash. */
  readonly skipHash?: boolean;
  /** Holds the reading back; default as fast as the disk. */
  readonly pace?: Pace;
}

const CHUNK = 256 << 10;

/** Every entry below `root`, as paths with `/`; links and devices are told apart, never followed. */
const walk = async (root: string, below = ''): Promise<{ path: string; kind: 'file' | 'other' }[]> => {
  const found: { path: string; kind: 'file' | 'other' }[] = [];
  for (const entry of await readdir(join(root, below), { withFileTypes: true })) {
    const path = below === '' ? entry.name : `${below}/${entry.name}`;
    if (entry.isDirectory()) found.push(...(await walk(root, path)));
    else found.push({ path, kind: entry.isFile() ? 'file' : 'other' });
  }
  return found;
};

/**
 * Hashes in small chunks and yields after each, so that heartbeats and frames are never delayed by more than one chunk
 * (about 0.2 ms).
 */
const hashFile = async (path: string, options: VerifyOptions): Promise<string> => {
  const file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW);
  try {
    const hash = createHash('sha256');
    const pace = options.pace ?? unlimited;
    const buffer = Buffer.allocUnsafe(CHUNK);
    for (;;) {
      options.signal?.throwIfAborted();
      const { bytesRead } = await file.read(buffer, 0, CHUNK, null);
      if (bytesRead === 0) return hash.digest('hex');
      hash.update(buffer.subarray(0, bytesRead));
      options.onProgress?.(bytesRead);
      await pace.take(bytesRead, options.signal);
    }
  } finally {
    await file.close();
  }
};

/**
 * Whether a folder is exactly the listed files: nothing missing, nothing more, no links, every byte as signed.
 * @throws the signal's reason, and errors of the disk
 */
export const verifyFolder = async (
  root: string,
  files: readonly ModelFile[],
  options: VerifyOptions = {},
): Promise<Verdict> => {
  const listed = new Map(files.map((f) => [f.path, f]));
  const no = (code: Exclude<Verdict, { ok: true }>['code'], path: string, what: string): Verdict => ({
    ok: false,
    code,
    path,
    message: `${JSON.stringify(path.slice(0, 100))} ${what}`,
  });
  const top = await lstat(root).catch(() => null);
  if (top === null) return no('missing_file', '', 'the model folder is not there');
  if (!top.isDirectory()) return no('link', '', 'the model folder is no folder');
  for (const { path, kind } of await walk(root)) {
    if (kind === 'other') return no('link', path, 'is a link or no plain file');
    if (!listed.has(path)) return no('unlisted_file', path, 'is not listed');
  }
  let bytes = 0;
  for (const file of files) {
    const stat = await lstat(join(root, file.path)).catch(() => null);
    if (stat === null) return no('missing_file', file.path, 'is missing');
    if (stat.size !== file.size)
      return no('size_mismatch', file.path, `has ${stat.size} bytes, ${file.size} are signed`);
    if (!options.skipHash && (await hashFile(join(root, file.path), options)) !== file.sha256)
      return no('digest_mismatch', file.path, 'has another sha256 than the one that is signed');
    bytes += file.size;
  }
  return { ok: true, bytes };
};
