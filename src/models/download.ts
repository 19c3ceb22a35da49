import { chmod, lstat, mkdir, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Dispatcher } from 'undici';
import { type Clock, systemClock } from '../lib/clock.ts';
import { CodedError, isCoded } from '../lib/errors.ts';
import { fetchFile } from './fetch-file.ts';
import { type ModelManifest, manifestProblem, modelBytes } from './manifest.ts';
import { fileUrl, type SourcePolicy } from './sources.ts';
import type { ModelStore } from './store.ts';
import { verifyFolder } from './verify.ts';

export interface Progress {
  readonly bytes: number;
  readonly total: number;
}

export interface DownloadOptions {
  readonly store: ModelStore;
  readonly dispatcher: Dispatcher;
  readonly policy: SourcePolicy;
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: Progress) => void;
  readonly clock?: Clock;
  /** Default 30 s and 64 KiB: slower is a stall, and the next source has its turn. */
  readonly stallMs?: number;
  readonly stallBytes?: number;
  /** Kept free beyond the model. Default 256 MiB. */
  readonly reserveBytes?: number;
  /** A port for tests; default the file system's own number. */
  readonly freeBytes?: () => Promise<number>;
}

/** An attempt that got further is worth another at the same source; this many times at most. */
const RESUMES = 5;
const mib = (bytes: number): string => `${Math.ceil(bytes / 2 ** 20)} MiB`;

/** Bytes of the download that already lie in the staging folder. */
const stagedBytes = async (staging: string, model: ModelManifest): Promise<Map<string, number>> => {
  const held = new Map<string, number>();
  for (const file of model.files) {
    const stat = await lstat(join(staging, file.path)).catch(() => null);
    held.set(file.path, stat?.isFile() ? Math.min(stat.size, file.size) : 0);
  }
  return held;
};

/**
 * Installs a model: disk admission before the first byte, every file from the first source that has it right, each hashed
 * while it streams with the signed size as cap, then the whole folder checked, made read-only and renamed into place.
 * A stopped download goes on where it stopped. Returns the model's folder.
 * @throws CodedError `bad_manifest`, `insufficient_disk`, `digest_mismatch`, `source_failed`, `source_stalled`,
 *   `untrusted_source`, `insecure_source`, `state_unwritable`; the signal's reason
 */
export const downloadModel = async (model: ModelManifest, options: DownloadOptions): Promise<string> => {
  const { store, policy, signal } = options;
  const problem = manifestProblem(model);
  if (problem !== undefined) throw new CodedError('bad_manifest', problem);
  const staging = store.stagingOf(model.digest);
  await mkdir(staging, { recursive: true, mode: 0o700 });
  await chmod(staging, 0o700); // a publish that was cut short left it read-only
  const held = await stagedBytes(staging, model);
  const total = modelBytes(model.files);
  const sum = (): number => [...held.values()].reduce((a, b) => a + b, 0);
  const missing = total - sum() + (options.reserveBytes ?? 256 << 20);
  const free = await (options.freeBytes ?? (() => store.freeBytes()))();
  if (free < missing)
    throw new CodedError(
      'insufficient_disk',
      `${mib(missing)} are needed and ${mib(free)} are free: ${mib(missing - free)} are missing`,
    );
  for (const file of model.files) {
    const path = join(staging, file.path);
    await mkdir(dirname(path), { recursive: true, mode: 0o700 });
    for (let at = dirname(path); at.length > staging.length; at = dirname(at)) await chmod(at, 0o700);
    const there = await lstat(path).catch(() => null);
    if (there && !there.isFile()) await rm(path, { recursive: true, force: true });
    else if (there) await chmod(path, 0o600);
    await fromAnySource(model, file, path, {
      dispatcher: options.dispatcher,
      policy,
      clock: options.clock ?? systemClock,
      stallMs: options.stallMs ?? 30_000,
      stallBytes: options.stallBytes ?? 64 << 10,
      ...(signal ? { signal } : {}),
      onBytes: (bytes) => {
        held.set(file.path, bytes);
        options.onProgress?.({ bytes: sum(), total });
      },
    });
  }
  // The bytes were hashed as they came; what is left to see is that nothing else lies there.
  const verdict = await verifyFolder(staging, model.files, { skipHash: true, ...(signal ? { signal } : {}) });
  if (!verdict.ok) {
    await store.remove(model.digest);
    throw new CodedError('digest_mismatch', verdict.message);
  }
  return store.publish(model.digest, model.files);
};

type File = ModelManifest['files'][number];

/** The sources in their order. The error that says most is the one that is thrown: wrong bytes before no bytes. */
const fromAnySource = async (
  model: ModelManifest,
  file: File,
  path: string,
  port: Parameters<typeof fetchFile>[3],
): Promise<void> => {
  let worst: unknown;
  for (const source of model.sources) {
    for (let attempt = 0; attempt < RESUMES; attempt++) {
      let before = -1;
      let last = 0;
      try {
        const onBytes = (bytes: number): void => {
          if (before < 0) before = bytes;
          last = bytes;
          port.onBytes?.(bytes);
        };
        return await fetchFile(fileUrl(source, file.path, port.policy), file, path, { ...port, onBytes });
      } catch (error) {
        if (port.signal?.aborted) throw port.signal.reason;
        if (isCoded(error, 'insufficient_disk', 'state_unwritable')) throw error;
        if (!isCoded(worst, 'digest_mismatch')) worst = error;
        // What lay there from an earlier source may be the wrong part: this source gets to send it all.
        if (isCoded(error, 'digest_mismatch') && before > 0) continue;
        if (!isCoded(error, 'source_failed', 'source_stalled') || last <= before) break;
      }
    }
  }
  throw worst;
};
