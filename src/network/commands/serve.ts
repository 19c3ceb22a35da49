import { readFileSync } from 'node:fs';
import { systemClock } from '../../lib/clock.ts';
import { CodedError } from '../../lib/errors.ts';
import { createLogger, type LogLevel } from '../../lib/log.ts';
import { Metrics } from '../../lib/metrics.ts';
import { serveObserved } from '../../lib/observe.ts';
import { readAdmission } from '../admission-files.ts';
import { ApiKeys } from '../api-keys.ts';
import { systemRandom } from '../random.ts';
import { startService } from '../service.ts';
import { type AdmissionPolicy, DEFAULT_LIMITS, type Limits } from '../settings.ts';
import { type Io, readPassword } from './io.ts';
import { openKey } from './keystore.ts';
import { followTls, readTls } from './tls-files.ts';

export interface ServeOptions {
  readonly data: string;
  readonly root: string;
  readonly key: string;
  readonly passwordFile?: string | undefined;
  readonly tlsCert?: string | undefined;
  readonly tlsKey?: string | undefined;
  readonly listen: string;
  readonly authority: readonly string[];
  readonly models?: string | undefined;
  readonly apiKeys?: string | undefined;
  readonly admission: AdmissionPolicy;
  readonly enrolment?: string | undefined;
  readonly allowList?: string | undefined;
  /** New nodes wait for `node approve`. */
  readonly hold: boolean;
  readonly limits?: string | undefined;
  readonly metricsPort?: number | undefined;
  /** Seconds that running jobs have to end after the signal. */
  readonly grace: number;
  readonly logLevel: LogLevel;
}

/** Runs the service until the signal. */
export const serve = async (options: ServeOptions, io: Io): Promise<void> => {
  const log = createLogger('resultity-network', options.logLevel);
  const { host, port } = parseListen(options.listen);
  if ((options.tlsCert === undefined) !== (options.tlsKey === undefined))
    throw new CodedError('bad_usage', 'give --tls-cert and --tls-key together');
  if (options.tlsCert === undefined && !['127.0.0.1', '::1', 'localhost'].includes(host))
    throw new CodedError('bad_usage', 'without --tls-cert and --tls-key it listens on loopback only');
  const { tlsCert, tlsKey } = options;
  const readFiles = tlsCert === undefined || tlsKey === undefined ? undefined : () => readTls(tlsCert, tlsKey);
  const tls = readFiles?.();
  const metrics = new Metrics().collectProcess();
  const service = await startService({
    data: options.data,
    root: readFileSync(options.root, 'utf8').trim(),
    signer: await openKey(options.key, () => readPassword(options.passwordFile, options.key)),
    tls,
    host,
    port,
    authorities: options.authority,
    models: options.models,
    keys: ApiKeys.read(options.apiKeys),
    admission: readAdmission(options.admission, options.enrolment, options.allowList, options.hold),
    limits: { ...DEFAULT_LIMITS, ...readLimits(options.limits) },
    clock: systemClock,
    random: systemRandom,
    metrics,
    log,
  });
  const observed =
    options.metricsPort === undefined
      ? undefined
      : await serveObserved(
          {
            metrics,
            ready: () => service.ready(),
            status: () => ({
              config: service.publications.reference,
              withheld: service.publications.withheld ?? null,
              root: service.publications.root.version,
              nodes: Object.fromEntries(service.registry.counts()),
              sessions: service.hub.size,
            }),
          },
          options.metricsPort,
        );
  const stopped = new Promise<void>((resolve) => {
    if (io.signal.aborted) resolve();
    else io.signal.addEventListener('abort', () => resolve(), { once: true });
  });
  const serving = new AbortController();
  const following =
    tls &&
    readFiles &&
    followTls(tls, readFiles, (files) => service.renewTls(files), { clock: systemClock, log, signal: serving.signal });
  let grace = 0;
  try {
    await Promise.race([stopped, service.failed]);
    grace = options.grace;
  } finally {
    serving.abort();
    await following;
    log.info({ graceSeconds: grace }, 'stopping');
    await service.close(grace * 1_000);
    await observed?.close();
  }
};

const parseListen = (text: string): { host: string; port: number } => {
  const match = /^(?:\[([0-9a-fA-F:]+)\]|([^:]*)):(\d{1,5})$/.exec(text);
  if (!match) throw new CodedError('bad_usage', `--listen "${text}": write ADDRESS:PORT, for example 0.0.0.0:8443`);
  return { host: match[1] ?? (match[2] === '' ? '0.0.0.0' : (match[2] ?? '')), port: Number(match[3]) };
};

const readLimits = (path: string | undefined): Partial<Limits> => {
  if (path === undefined) return {};
  const value = JSON.parse(readFileSync(path, 'utf8')) as Record<string, unknown>;
  for (const [name, limit] of Object.entries(value))
    if (!(name in DEFAULT_LIMITS) || typeof limit !== 'number' || !(limit > 0))
      throw new CodedError('bad_usage', `${path}: "${name}" is no limit, or no number above 0`);
  return value as Partial<Limits>;
};
