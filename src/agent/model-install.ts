import type { Dispatcher } from 'undici';
import type { ModelEntry } from '../config/index.ts';
import type { Clock } from '../lib/clock.ts';
import type { Logger } from '../lib/log.ts';
import { downloadModel, type ModelStore, type SourcePolicy, verifyFolder } from '../models/index.ts';
import type { Sha256 } from '../protocol/index.ts';
import type { AgentMetrics } from './job-metrics.ts';

export interface InstallOptions {
  readonly store: ModelStore;
  readonly dispatcher: Dispatcher;
  readonly policy: SourcePolicy;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: AgentMetrics;
  /** Digests whose bytes this process has hashed: they are not hashed again before the daily review. */
  readonly verified: Set<Sha256>;
  readonly onStep: (step: 'downloading' | 'verifying', percent: number) => void;
}

const mib = (bytes: number): number => Math.round(bytes / 2 ** 20);

/**
 * Brings a model's folder in place, whole and hashed. A folder from an earlier run is hashed first; if a byte differs it is
 * thrown away and fetched again. Resolves with the folder. @throws CodedError of src/models; the signal's reason
 */
export const installModel = async (model: ModelEntry, o: InstallOptions, signal: AbortSignal): Promise<string> => {
  const total = model.files.reduce((sum, f) => sum + f.size, 0);
  const path = o.store.pathOf(model.digest);
  const started = o.clock.monotonic();
  if (await o.store.has(model.digest)) {
    if (o.verified.has(model.digest)) return path;
    o.onStep('verifying', 0);
    let bytes = 0;
    const verdict = await verifyFolder(path, model.files, {
      signal,
      onProgress: (n) => {
        bytes += n;
        o.onStep('verifying', Math.floor((100 * bytes) / Math.max(1, total)));
      },
    });
    if (verdict.ok) {
      o.verified.add(model.digest);
      o.logger.info(
        { model: model.ref, files: model.files.length, mib: mib(total), ms: Math.round(o.clock.monotonic() - started) },
        'model files verified on disk',
      );
      return path;
    }
    o.metrics.verifyFailures.inc();
    o.logger.error(
      { model: model.ref, reason: verdict.code, error: verdict.message },
      'model files at rest are wrong, fetching them again',
    );
    await o.store.remove(model.digest);
  }
  o.logger.info({ model: model.ref, files: model.files.length, mib: mib(total) }, 'downloading the model');
  o.onStep('downloading', 0);
  let before = 0;
  let told = 0;
  await downloadModel(model, {
    store: o.store,
    dispatcher: o.dispatcher,
    policy: o.policy,
    signal,
    clock: o.clock,
    onProgress: ({ bytes }) => {
      if (bytes > before) o.metrics.downloadBytes.inc(bytes - before);
      before = bytes;
      const percent = Math.floor((100 * bytes) / Math.max(1, total));
      o.onStep('downloading', percent);
      if (percent >= told + 25 && percent < 100) {
        told = percent - (percent % 25);
        o.logger.info({ model: model.ref, percent: told }, 'downloading the model');
      }
    },
  });
  const ms = o.clock.monotonic() - started;
  o.metrics.downloadDuration.observe(ms / 1000);
  o.verified.add(model.digest);
  o.logger.info({ model: model.ref, mib: mib(total), ms: Math.round(ms) }, 'model installed, every file verified');
  return path;
};
