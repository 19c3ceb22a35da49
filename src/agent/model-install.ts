import type { Dispatcher } from 'undici';
import { IDS } from '../api/contract.ts';
import type { ModelEntry } from '../config/index.ts';
import type { Clock } from '../lib/clock.ts';
import { CodedError } from '../lib/errors.ts';
import type { Logger } from '../lib/log.ts';
import {
  downloadModel,
  type Lease,
  makeRoom,
  modelBytes,
  othersMissing,
  type Pace,
  type Progress,
  type Shared,
  type SourceCredentials,
  type SourcePolicy,
  sealOf,
  verifyFolder,
} from '../models/index.ts';
import type { Sha256 } from '../protocol/index.ts';
import type { AgentMetrics } from './job-metrics.ts';

export interface InstallOptions {
  readonly shared: Shared;
  readonly dispatcher: Dispatcher;
  readonly policy: SourcePolicy;
  /** Read anew for each download, since a Secret may change. */
  readonly credentials: () => Promise<SourceCredentials>;
  readonly pace: Pace;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: AgentMetrics;
  /** Seal of each folder whose bytes this process has hashed: one with another seal is hashed again. */
  readonly verified: Map<Sha256, string>;
  /** How the configuration lists a model: what must not go when room is made. */
  readonly standing: (digest: Sha256) => 'active' | 'other' | 'no';
  readonly onStep: (step: 'queued' | 'downloading' | 'verifying', percent: number, progress?: Progress) => void;
}

const mib = (bytes: number): number => Math.round(bytes / 2 ** 20);

/**
 * Brings a model's folder in place, whole and hashed, under its lease. A folder from an earlier run, or from another agent
 * that shares it, is hashed first; if a byte differs it is thrown away and fetched again. The model counts as in use here
 * from then on. Resolves with the folder. @throws CodedError of src/models; the signal's reason
 */
export const installModel = async (model: ModelEntry, o: InstallOptions, signal: AbortSignal): Promise<string> => {
  try {
    return await install(model, o, signal);
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    if (code !== 'EACCES' && code !== 'EPERM' && code !== 'EROFS') throw cause;
    const who = `user ${IDS.agent}, group ${IDS.shared}`;
    const why = `the models volume cannot be written (${code}); make it writable for ${who}`;
    throw new CodedError('state_unwritable', why, { cause });
  }
};

const install = async (model: ModelEntry, o: InstallOptions, signal: AbortSignal): Promise<string> => {
  const { store, leases, uses } = o.shared;
  const { digest } = model;
  const path = store.pathOf(digest);
  if (o.verified.has(digest)) {
    await uses.only(new Set([...uses.own, digest]));
    if (o.verified.get(digest) === (await sealOf(path, model.files))) return path;
  }
  o.verified.delete(digest);
  await store.sweep();
  let told = false;
  const lease = await leases.acquire(store.lockOf(digest), {
    bytes: modelBytes(model.files),
    signal,
    onWait: () => {
      o.onStep('queued', 0);
      if (!told) o.logger.info({ model: model.ref }, 'another agent installs the model, waiting for it');
      told = true;
    },
  });
  try {
    await uses.only(new Set([...uses.own, digest]));
    if (!(await rightAtRest(model, o, signal))) await download(model, o, lease, signal);
    await store.touch(digest, o.clock.now());
  } finally {
    await lease.release();
  }
  return path;
};

/** Whether the folder is there and every byte is right; else it is gone. */
const rightAtRest = async (model: ModelEntry, o: InstallOptions, signal: AbortSignal): Promise<boolean> => {
  const { store } = o.shared;
  const { digest, files } = model;
  if (!(await store.has(digest))) return false;
  const path = store.pathOf(digest);
  const total = modelBytes(files);
  const started = o.clock.monotonic();
  o.onStep('verifying', 0);
  let bytes = 0;
  // the seal is taken before: what changes while it is hashed has another one after
  const seal = await sealOf(path, files);
  const verdict = await verifyFolder(path, files, {
    signal,
    onProgress: (n) => {
      bytes += n;
      o.onStep('verifying', Math.floor((100 * bytes) / Math.max(1, total)));
    },
  });
  if (verdict.ok) {
    o.verified.set(digest, seal);
    const ms = Math.round(o.clock.monotonic() - started);
    o.logger.info({ model: model.ref, files: files.length, mib: mib(total), ms }, 'model files verified on disk');
    return true;
  }
  o.metrics.verifyFailures.inc();
  o.logger.error(
    { model: model.ref, reason: verdict.code, error: verdict.message },
    'model files at rest are wrong, fetching them again',
  );
  await store.remove(digest);
  return false;
};

const download = async (model: ModelEntry, o: InstallOptions, lease: Lease, signal: AbortSignal): Promise<void> => {
  const { shared, logger, metrics, clock } = o;
  const total = modelBytes(model.files);
  const started = clock.monotonic();
  logger.info({ model: model.ref, files: model.files.length, mib: mib(total) }, 'downloading the model');
  o.onStep('downloading', 0);
  let before = 0;
  let told = 0;
  const path = await downloadModel(model, {
    store: shared.store,
    lease,
    dispatcher: o.dispatcher,
    policy: o.policy,
    credentials: await o.credentials(),
    pace: o.pace,
    signal,
    clock,
    othersBytes: () => othersMissing(shared, model.digest),
    makeRoom: async (bytes) => {
      const gone = await makeRoom(shared, bytes, o.standing);
      for (const digest of gone) logger.info({ digest }, 'model removed to make room');
      return gone.length > 0;
    },
    onProgress: (progress) => {
      if (progress.bytes > before) metrics.downloadBytes.inc(progress.bytes - before);
      before = progress.bytes;
      metrics.downloadEta.set(progress.etaSeconds ?? 0);
      const percent = Math.floor((100 * progress.bytes) / Math.max(1, total));
      o.onStep('downloading', percent, progress);
      if (percent >= told + 25 && percent < 100) {
        told = percent - (percent % 25);
        const { etaSeconds, bytesPerSecond } = progress;
        logger.info(
          { model: model.ref, percent: told, etaSeconds, mibPerSecond: mib(bytesPerSecond) },
          'downloading the model',
        );
      }
    },
  }).finally(() => metrics.downloadEta.set(0));
  const ms = clock.monotonic() - started;
  metrics.downloadDuration.observe(ms / 1000);
  o.verified.set(model.digest, await sealOf(path, model.files));
  logger.info({ model: model.ref, mib: mib(total), ms: Math.round(ms) }, 'model installed, every file verified');
};
