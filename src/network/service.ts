import { mkdir } from 'node:fs/promises';
import type { Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import type { Clock } from '../lib/clock.ts';
import { CodedError } from '../lib/errors.ts';
import type { Logger } from '../lib/log.ts';
import type { Metrics } from '../lib/metrics.ts';
import type { Signer } from '../protocol/index.ts';
import { adminApi } from './admin-api.ts';
import type { AdmissionRules } from './admission.ts';
import type { ApiKeys } from './api-keys.ts';
import { CallGate } from './call-gate.ts';
import { limitConnections } from './connection-limits.ts';
import { JobDesk } from './desk.ts';
import { createHttpServer, type TlsFiles } from './http.ts';
import { Hub } from './hub.ts';
import { Ledger } from './ledger.ts';
import { networkMetrics } from './metrics.ts';
import { modelFiles } from './model-files.ts';
import { nodeApi } from './node-api.ts';
import { nodeOrders } from './node-orders.ts';
import { openAiApi } from './openai-api.ts';
import { Publications } from './publications.ts';
import type { Random } from './random.ts';
import { Registry } from './registry.ts';
import type { Limits } from './settings.ts';
import { acceptSockets } from './sockets.ts';
import { SqliteStore } from './sqlite-store.ts';
import type { Store } from './store.ts';

/** What a service is made of. */
export interface ServiceOptions {
  /** Folder of ledger.db, roots/, snapshots/; made when missing. */
  readonly data: string;
  /** Text of the pinned root. */
  readonly root: string;
  /** Ticket and online key in one. */
  readonly signer: Signer;
  readonly tls?: TlsFiles | undefined;
  readonly host: string;
  readonly port: number;
  /** Public authorities, `host` or `host:port`; with none, the one that is listened on (tests). */
  readonly authorities: readonly string[];
  readonly models?: string | undefined;
  readonly keys: ApiKeys;
  readonly admission: AdmissionRules;
  readonly limits: Limits;
  readonly clock: Clock;
  readonly random: Random;
  readonly metrics: Metrics;
  readonly log: Logger;
  /** Stands between the program and its store: where a fault run kills it at a single write. */
  readonly wrapStore?: (store: Store) => Store;
}

export interface Service {
  readonly port: number;
  readonly publications: Publications;
  readonly registry: Registry;
  readonly hub: Hub;
  /** Rejects when the ledger's disk failed: nothing is kept any more until the service is started anew. Never resolves. */
  readonly failed: Promise<never>;
  /** Undefined when it takes calls, also before the first publication: that comes in as a call. Else why not. */
  ready(): string | undefined;
  /** Shows this certificate to every connection from now on; those that stand stay. Nothing without TLS. */
  renewTls(tls: TlsFiles): void;
  /** Lets what runs end within `graceMs` (default 0) while nothing new is taken, says bye to nodes, closes the ledger. */
  close(graceMs?: number): Promise<void>;
}

/** How long a service that closes waits for callers to read their answers. */
const FLUSH_MS = 2_000;

/** Wires the rooms of the service together and listens. */
export const startService = async (options: ServiceOptions): Promise<Service> => {
  const { clock, random, limits, log, signer } = options;
  await mkdir(options.data, { recursive: true, mode: 0o700 });
  const publications = await Publications.open(options.data, options.root, signer, clock);
  const { promise: failed, reject: fail } = Promise.withResolvers<never>();
  failed.catch(() => {});
  const file = new SqliteStore(join(options.data, 'ledger.db'), (error) => {
    log.error({ error }, 'the disk of the ledger failed');
    fail(new CodedError('store_failed', 'the disk of the ledger failed: start the service again', { cause: error }));
  });
  const store = options.wrapStore?.(file) ?? file;
  const metrics = networkMetrics(options.metrics);
  const registry = new Registry(store, clock, limits.maxLagMs);
  const configure = (): void => {
    const { document, reference } = publications;
    if (document && reference) registry.configure({ document, digest: reference.digest, since: clock.monotonic() });
  };
  configure();
  if (publications.withheld !== undefined)
    log.warn({ detail: publications.withheld }, 'the last publication is withheld: publish anew');

  const app = createHttpServer(options.tls, log);
  const authorities = options.authorities.map((a) => a.toLowerCase());
  const hub = new Hub({ clock, random, signer, audiences: authorities, limits, publications, registry, metrics, log });
  const ledger = new Ledger({
    store,
    clock,
    domain: publications.domain,
    signer,
    rootVersion: () => publications.root.version,
    nodeOf: (node) => registry.row(node),
    receipts: metrics.receipts,
  });
  const desk = new JobDesk({ clock, random, store, ledger, link: hub, limits, metrics, log });
  const gate = new CallGate(publications.domain, authorities, clock, random);
  nodeApi(app, {
    clock,
    limits,
    gate,
    store,
    registry,
    publications,
    admission: options.admission,
    hub,
    desk,
    metrics,
  });
  openAiApi(app, { clock, limits, keys: options.keys, publications, desk, store });
  adminApi(app, {
    clock,
    publications,
    log,
    published: () => {
      configure();
      hub.announce();
    },
    rooted: () => hub.reconnectAll(),
  });
  nodeOrders(app, { registry, hub, keys: options.keys, log });
  if (options.models !== undefined) modelFiles(app, options.models);
  const server = app.server as unknown as Server;
  limitConnections(server, limits);
  acceptSockets(server, hub, limits, log);
  hub.start(desk);
  await app.listen({ host: options.host, port: options.port });
  const { port } = server.address() as AddressInfo;
  if (authorities.length === 0) authorities.push(`localhost:${port}`, `127.0.0.1:${port}`);
  log.info({ port, authorities, network: publications.domain.network, root: publications.root.version }, 'listening');

  let closing = false;
  return {
    port,
    publications,
    registry,
    hub,
    failed,
    ready: () => (closing ? 'it is stopping' : undefined),
    renewTls: (tls) => {
      if (options.tls) server.setSecureContext({ ...tls, minVersion: 'TLSv1.2' });
    },
    close: async (graceMs = 0) => {
      closing = true;
      await desk.close(graceMs);
      await hub.close();
      // answers that are written reach their callers; who does not read is cut
      const closed = new AbortController();
      const cut = clock.sleep(FLUSH_MS, closed.signal).then(
        () => server.closeAllConnections(),
        () => {},
      );
      await app.close();
      closed.abort();
      await cut;
      store.close();
    },
  };
};
