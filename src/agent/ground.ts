import { randomUUID } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { rootCertificates } from 'node:tls';
import type { Clock } from '../lib/clock.ts';
import type { Logger } from '../lib/log.ts';
import type { Metrics } from '../lib/metrics.ts';
import { checksumAddress, signatureBackend } from '../protocol/index.ts';
import { EngineClient, LauncherLink } from '../runtime/index.ts';
import { PodAnnotations } from './annotations.ts';
import { stopEngine } from './engine-loader.ts';
import { EngineWatch } from './engine-watch.ts';
import { NetworkHttp, networkDispatcher } from './http.ts';
import { loadCa, loadSigner, loadTrust } from './identity.ts';
import { agentMetrics } from './job-metrics.ts';
import { type Journal, SqliteJournal } from './journal.ts';
import { ExecutionRecord } from './record.ts';
import { ServerClock } from './server-clock.ts';
import type { Settings } from './settings.ts';
import { claimState } from './state-claim.ts';

export interface AgentOptions {
  readonly settings: Settings;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly clock: Clock;
  /** The dice of the reconnect's back-off, uniform in [0, 1). Default Math.random. */
  readonly random?: () => number;
  /** Stands between the program and its journal: where a fault run kills it at a single write. */
  readonly wrapJournal?: (journal: Journal) => Journal;
}

/** What the agent stands on: its key and trust, its files, its ways to the network and to the engine. No loop runs yet. */
export type Ground = Awaited<ReturnType<typeof layGround>>;

/** Opens all that is outside the program. @throws CodedError when it cannot even begin (key, trust, journal) */
export const layGround = async (options: AgentOptions, onLost: (message: string) => void) => {
  const { settings, logger, clock } = options;
  const { paths, network } = settings;
  const metrics = agentMetrics(options.metrics);

  // First of all, so that the runtime container can start (the agent's startup probe passes only after this).
  const link = new LauncherLink({ controlDir: paths.control, engineDir: paths.engine }, clock.now());
  await link.install();
  // What an earlier agent of this pod wished stands: replacing the agent must not stop the engine.
  if (!(await exists(join(paths.control, 'desired.json')))) await stopEngine(link, settings.isolation);

  const signer = await loadSigner(paths);
  const node = signer.address;
  const ca = await loadCa(paths);
  const { pinnedRoot, domain, chainId } = await loadTrust(paths, network);
  await claimState(paths.state, { network: network.name, environment: network.environment, chainId });
  logger.info({ node: checksumAddress(node), network: network.name, signatures: signatureBackend }, 'identity loaded');
  const { name, environment } = network;
  metrics.info.set({ node, version: settings.version, network: name, environment, signatures: signatureBackend }, 1);

  const server = new ServerClock(clock);
  const dispatcher = networkDispatcher({ ca, proxy: network.proxy });
  // model sources are other hosts: the public authorities count there too
  const downloads = networkDispatcher({ ca: ca && [...rootCertificates, ca], proxy: network.proxy });
  const http = new NetworkHttp({ endpoint: network.endpoint, dispatcher, domain, signer, clock: server });
  const engine = new EngineClient({ socketPath: join(paths.engine, 'engine.sock') });
  const watch = new EngineWatch(link, engine, clock);
  const annotations = new PodAnnotations(paths.annotations);
  await annotations.refresh();
  const record = new ExecutionRecord({
    dir: join(paths.state, 'record'),
    clock,
    logger,
    http,
    onLost,
  });
  await record.open();
  const file = new SqliteJournal(join(paths.state, 'journal.db'), (key) =>
    logger.error({ job: key.jobId, attempt: key.attempt }, 'a record of the journal is damaged and was dropped'),
  );
  const journal = options.wrapJournal?.(file) ?? file;
  return {
    bootId: randomUUID(),
    startedAt: clock.monotonic(),
    metrics,
    link,
    signer,
    node,
    ca,
    pinnedRoot,
    domain,
    server,
    dispatcher,
    downloads,
    http,
    engine,
    watch,
    annotations,
    record,
    journal,
    close: async (): Promise<void> => {
      await engine.close();
      await dispatcher.destroy();
      await downloads.destroy();
      journal.close();
    },
  };
};

const exists = (path: string): Promise<boolean> =>
  readFile(path).then(
    () => true,
    () => false,
  );
