import { chmod, lstat, mkdir, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Dispatcher } from 'undici';
import { type Clock, systemClock } from '../lib/clock.ts';
import { CodedError, isCoded } from '../lib/errors.ts';
import { lacking, lackingText, missingBytes } from './admission.ts';
import { type FetchPort, fetchFile } from './fetch-file.ts';
import type { Lease } from './lease.ts';
import { type ModelManifest, manifestProblem, modelBytes } from './manifest.ts';
import { type Progress, ProgressMeter } from './progress.ts';
import { type Pace, unlimited } from './rate-limit.ts';
import type { SourceCredentials } from './source-request.ts';
import { fileUrl, type SourcePolicy } from './sources.ts';
import type { ModelStore } from './store.ts';
import { verifyFolder } from './verify.ts';

export interface DownloadOptions {
  readonly store: ModelStore;
  /** Of the model: who else wants it waits. */
  readonly lease: Lease;
  readonly dispatcher: Dispatcher;
  readonly policy: SourcePolicy;
  readonly credentials?: SourceCredentials | undefined;
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: Progress) => void;
  readonly clock?: Clock;
  /** Over all files together; default unlimited. */
  readonly pace?: Pace | undefined;
  /** Default 30 s and 512 KiB: slower is a stall, and the next source has its turn. */
  readonly stallMs?: number;
  readonly stallBytes?: number;
  /** Kept free beyond the model. Default 256 MiB. */
  readonly reserveBytes?: number;
  /** What other downloads to this volume still have to write. Default nothing. */
  readonly othersBytes?: () => Promise<number>;
  /** Asked once when there is no room; true when something went. */
  readonly makeRoom?: (bytes: number) => Promise<boolean>;
  /** A port for tests; default the file system's own number. */
  readonly freeBytes?: () => Promise<number>;
}

/** An attempt that got further is worth another at the same source; this many times at most. */
const RESUMES = 8;
/** Files at once: enough to fill a line over which one connection is slow. */
const PARALLEL = 4;

/** Bytes of the download that already lie in the staging folder. */
const stagedBytes = async (staging: string, model: ModelManifest): Promise<Map<string, number>> => {
  const held = new Map<string, number>();
  for (const file of model.files) {
    const stat = await lstat(join(staging, file.path)).catch(() => null);
    held.set(file.path, stat?.isFile() ? Math.min(stat.size, file.size) : 0);
  }
  return held;
};

/** The disk holds all of it, or nothing is asked for. @throws CodedError `insufficient_disk` naming what is missing where */
const admit = async (model: ModelManifest, held: number, o: DownloadOptions): Promise<void> => {
  const free = o.freeBytes ?? (() => o.store.freeBytes());
  const need = {
    missing: missingBytes(modelBytes(model.files), model.requires.diskMiB, held),
    others: (await o.othersBytes?.()) ?? 0,
    reserve: o.reserveBytes ?? 256 << 20,
  };
  let there = await free();
  const lack = lacking(need, there);
  if (lack > 0 && (await o.makeRoom?.(lack))) there = await free();
  if (lacking(need, there) > 0) throw new CodedError('insufficient_disk', lackingText(need, there, o.store.root));
};

/** The place of one file, as a plain file or empty: no link, no folder in its way. */
const prepare = async (staging: string, path: string): Promise<void> => {
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  for (let at = dirname(path); at.length > staging.length; at = dirname(at)) await chmod(at, 0o700);
  const there = await lstat(path).catch(() => null);
  if (there && !there.isFile()) await rm(path, { recursive: true, force: true });
  else if (there) await chmod(path, 0o600);
};

/**
 * Installs a model: disk admission before the first byte, every file from the first source that has it right, each hashed
 * while it streams with the signed size as cap, then the whole folder checked, made read-only and renamed into place.
 * A stopped download goes on where it stopped. Returns the model's folder.
 * @throws CodedError `bad_manifest`, `insufficient_disk`, `digest_mismatch`, `source_failed`, `source_stalled`,
 *   `untrusted_source`, `insecure_source`, `state_unwritable`, `lease_lost`; the signal's reason
 */
export const downloadModel = async (model: ModelManifest, options: DownloadOptions): Promise<string> => {
  const { store, lease, clock = systemClock } = options;
  const problem = manifestProblem(model);
  if (problem !== undefined) throw new CodedError('bad_manifest', problem);
  const staging = await store.stage(model.digest, lease);
  const held = await stagedBytes(staging, model);
  const sum = (): number => [...held.values()].reduce((a, b) => a + b, 0);
  await admit(model, sum(), options);
  const meter = new ProgressMeter(modelBytes(model.files), clock);
  const failed = new AbortController();
  const signals = [lease.lost, failed.signal, ...(options.signal ? [options.signal] : [])];
  const port: FetchPort = {
    dispatcher: options.dispatcher,
    policy: options.policy,
    credentials: options.credentials,
    clock,
    pace: options.pace ?? unlimited,
    stallMs: options.stallMs ?? 30_000,
    stallBytes: options.stallBytes ?? 512 << 10,
    tags: new Map(),
    signal: AbortSignal.any(signals),
  };
  // the largest first, so that the last file to end is a small one
  const waiting = [...model.files].sort((a, b) => b.size - a.size);
  const worker = async (): Promise<void> => {
    for (let file = waiting.shift(); file; file = waiting.shift()) {
      const { path: name } = file;
      const path = join(staging, name);
      await prepare(staging, path);
      await fromAnySource(model, file, path, {
        ...port,
        onBytes: (bytes) => {
          held.set(name, bytes);
          options.onProgress?.(meter.at(sum()));
        },
      });
    }
  };
  const workers = Array.from({ length: Math.min(PARALLEL, waiting.length) }, () =>
    worker().catch((error: unknown) => {
      failed.abort(error);
      throw error;
    }),
  );
  // all of them end before the first error is told: nobody writes into the folder after that
  await Promise.allSettled(workers);
  if (failed.signal.aborted) throw failed.signal.reason;
  // The bytes were hashed as they came; what is left to see is that nothing else lies there.
  const verdict = await verifyFolder(staging, model.files, { skipHash: true });
  if (!verdict.ok) {
    await store.removeStaged(model.digest);
    throw new CodedError('digest_mismatch', verdict.message);
  }
  await lease.check();
  return store.publish(model.digest, model.files, staging);
};

type File = ModelManifest['files'][number];

/** The sources in their order. The error that says most is the one that is thrown: wrong bytes before no bytes. */
const fromAnySource = async (model: ModelManifest, file: File, path: string, port: FetchPort): Promise<void> => {
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
        if (isCoded(error, 'digest_mismatch') && before > 0 && last === 0) continue;
        if (!isCoded(error, 'source_failed') || last <= before) break;
      }
    }
  }
  throw worst;
};
