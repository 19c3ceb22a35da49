import { randomUUID } from 'node:crypto';
import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { rootCertificates } from 'node:tls';
import { KEY, RUNTIME_READY_PATH } from '../api/contract.ts';
import { FileStateStore, httpSource, onlineKeys, openRoot, participates, subcloudsOf } from '../config/index.ts';
import type { Clock } from '../lib/clock.ts';
import { CodedError, errorText } from '../lib/errors.ts';
import type { Logger } from '../lib/log.ts';
import type { Metrics } from '../lib/metrics.ts';
import { serveObserved } from '../lib/observe.ts';
import { ModelStore } from '../models/index.ts';
import {
  CLOSE,
  checksumAddress,
  domainOf,
  isTerminalClose,
  type NodeState,
  newNonce,
  signatureBackend,
  zNodeStatus,
} from '../protocol/index.ts';
import { EngineClient, LauncherLink } from '../runtime/index.ts';
import { PodAnnotations } from './annotations.ts';
import { ConfigSync, higherFloor } from './config-sync.ts';
import { Connection } from './connection.ts';
import { Drain } from './drain.ts';
import { EngineWatch } from './engine-watch.ts';
import { type Hardware, readHardware } from './hardware.ts';
import { Heartbeats } from './heartbeat.ts';
import { NetworkHttp, networkDispatcher } from './http.ts';
import { loadBind, loadCa, loadEnrolment, loadSigner } from './identity.ts';
import { handleInbound, type InboundTargets, obeyWelcome } from './inbound.ts';
import { launcherTier, Surroundings } from './isolation.ts';
import type { JobChannel } from './job-channel.ts';
import { agentMetrics } from './job-metrics.ts';
import { Jobs } from './jobs.ts';
import { SqliteJournal } from './journal.ts';
import { ModelManager } from './model-manager.ts';
import { heartbeatOf, type NodeView, phaseOf, statusOf } from './node-view.ts';
import { imageDigest } from './plan.ts';
import { ExecutionRecord } from './record.ts';
import { registerUntilAdmitted } from './registration.ts';
import { Results } from './results.ts';
import { ServerClock } from './server-clock.ts';
import { Session } from './session.ts';
import type { Settings } from './settings.ts';
import { openWebSocket } from './socket.ts';
import { StatusWriter } from './status.ts';

export interface AgentOptions {
  readonly settings: Settings;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly clock: Clock;
}

export interface RunningAgent {
  /** The node's address. */
  readonly node: `0x${string}`;
  readonly port: number;
  view(): NodeView;
  /** Resolves when the agent ended by itself (an order of the network, or a stop). */
  readonly ended: Promise<void>;
  /** SIGTERM: stop accepting → finish or job.lost → bye → all loops over. */
  stop(): Promise<void>;
  /** Ends at once, as a crash would: nothing is finished and nobody is told. For tests. */
  kill(): Promise<void>;
}

/** Builds all parts, wires them, starts their loops. @throws CodedError when it cannot even begin (key, trust, journal) */
export const startAgent = async (options: AgentOptions): Promise<RunningAgent> => {
  const { settings, logger, clock } = options;
  const { paths, network } = settings;
  const bootId = randomUUID();
  const startedAt = clock.monotonic();
  const metrics = agentMetrics(options.metrics);

  // First of all, so that the runtime container can start (the agent's startup probe passes only after this).
  const link = new LauncherLink({ controlDir: paths.control, engineDir: paths.engine }, clock.now());
  await link.install();
  // What an earlier agent of this pod wished stands: replacing the agent must not stop the engine.
  if (!(await exists(join(paths.control, 'desired.json'))))
    await link.desire({
      action: 'stop',
      model: null,
      args: {},
      env: {},
      tier: launcherTier(settings.isolation, false),
      restart: 0,
      probe: null,
    });

  const signer = await loadSigner(paths);
  const node = signer.address;
  const ca = await loadCa(paths);
  const pinnedRoot = await readFile(join(paths.trust, KEY.root), 'utf8').catch((cause: unknown) => {
    throw new CodedError('no_trust', `the pinned root ${KEY.root} cannot be read`, { cause });
  });
  const { document: root } = openRoot(pinnedRoot);
  if (root.network !== network.name || root.environment !== network.environment)
    throw new CodedError('wrong_network', `the pinned root is of ${root.network} (${root.environment})`);
  const domain = domainOf(root.network, root.chainId);
  logger.info({ node: checksumAddress(node), network: network.name, signatures: signatureBackend }, 'identity loaded');
  metrics.info.set({ node, version: settings.version, network: network.name, signatures: signatureBackend }, 1);

  const over = new AbortController();
  const { signal } = over;
  const server = new ServerClock(clock);
  const dispatcher = networkDispatcher({ ca, proxy: network.proxy });
  // model sources are other hosts: the public authorities count there too
  const downloads = networkDispatcher({ ca: ca && [...rootCertificates, ca], proxy: network.proxy });
  const http = new NetworkHttp({ endpoint: network.endpoint, dispatcher, domain, signer, clock: server });
  const engine = new EngineClient({ socketPath: join(paths.engine, 'engine.sock') });
  const watch = new EngineWatch(link, engine, clock);
  const annotations = new PodAnnotations(paths.annotations);
  await annotations.refresh();
  await mkdir(paths.state, { recursive: true });
  const record = new ExecutionRecord({
    dir: join(paths.state, 'record'),
    clock,
    logger,
    http,
    onLost: (message) => onError('record_lost', message),
  });
  await record.open();
  const journal = new SqliteJournal(join(paths.state, 'journal.db'), (key) =>
    logger.error({ job: key.jobId, attempt: key.attempt }, 'a record of the journal is damaged and was dropped'),
  );

  let networkState: { state: NodeState | 'unregistered'; reason: string | undefined } = {
    state: 'unregistered',
    reason: undefined,
  };
  let superseded = false;
  let wired = false;
  let statusFloor: { epoch: number; version: number } | undefined;
  let hardware: Hardware = await readHardware(paths.models, null, gpuOf(settings));
  let lastError: NodeView['lastError'] = null;
  const errors: string[] = [];
  const onError = (code: string, message = ''): void => {
    if (errors.at(-1) !== code) errors.push(code);
    if (errors.length > 8) errors.shift();
    lastError = { code, message, at: clock.now() };
    changed();
  };
  const write = (kind: string, data: Record<string, unknown>): void => record.write(kind, data);

  const config = new ConfigSync({
    pinnedRoot,
    network: network.name,
    environment: network.environment,
    allowInsecureHosts: network.allowInsecureHosts,
    store: new FileStateStore(paths.state),
    source: httpSource({ endpoint: network.endpoint, dispatcher }),
    clock,
    server,
    logger,
    minimumFloor: () => higherFloor(annotations.orders.floor, statusFloor),
    appliedFile: join(paths.state, 'applied.json'),
    record: write,
    ack: (ref, state, code) => {
      connection.send('config.ack', { ...ref, state, ...(code === undefined ? {} : { code }) });
      record.flush();
    },
    onChange: () => {
      const by = connection.session?.signer;
      if (by && !onlineKeys(config.newestRoot).includes(by))
        connection.session?.close(CLOSE.auth, 'the session key is no online key of the newest root');
      manager.wake();
      changed();
    },
    onError,
  });
  await config.open().catch((error: unknown) => {
    logger.error({ error }, 'the stored configuration is refused; nothing is served until that is mended');
    onError(error instanceof CodedError ? error.code : 'state_unreadable', errorText(error));
  });

  const channel: JobChannel = {
    send: (t, payload) => connection.send(t, payload),
    frameBytes: () => connection.session?.frameBytes ?? 65_536,
    congestion: () => (connection.session?.congested ? connection.session.writable() : undefined),
    postResult: (payload) => http.post('/v1/results', payload, signal),
  };
  const results: Results = new Results({
    clock,
    logger,
    domain,
    journal,
    channel,
    authorities: () => config.authorities,
    metrics,
    record: write,
    onError,
  });
  const jobs: Jobs = new Jobs({
    clock,
    serverNow: () => server.now(),
    logger,
    domain,
    signer,
    journal,
    engine,
    channel,
    results,
    rules: () => {
      const document = config.effective;
      const tested = manager.tested;
      const entry = document?.models.find((m) => m.ref === tested?.ref && m.digest === tested.digest);
      const member = document ? subcloudsOf(document, membership()) : { ids: [], global: true };
      return {
        now: server.now(),
        draining: drain.draining,
        paused: drain.paused || (document !== null && !participates(document, network.environment)),
        configs: config.servable.map((c) => ({
          digest: c.ref.digest,
          modelDigest: (ref: string) => c.document.models.find((m) => m.ref === ref)?.digest,
        })),
        model:
          (tested &&
            entry && {
              ref: tested.ref,
              digest: tested.digest,
              tasks: entry.tasks,
              active: entry.state === 'active',
              loaded: manager.serving !== null,
            }) ||
          null,
        subclouds: member.ids,
        global: member.global,
        maxOutputTokens: document?.jobs.maxOutputTokens ?? 0,
      };
    },
    limits: () => ({
      ...manager.capacity,
      timeouts: config.effective?.jobs.timeouts ?? { firstTokenMs: 0, gapMs: 0, totalMs: 0 },
    }),
    metrics,
    record: write,
    onError,
    onLoad: () => {},
  });

  let wasDraining = false;
  const drain: Drain = new Drain({
    clock,
    logger,
    metrics,
    jobs,
    unreceipted: () => results.count,
    file: join(paths.state, 'orders.json'),
    record: write,
    onChange: () => {
      if (wasDraining && !drain.draining) connection.retryNow();
      wasDraining = drain.draining;
      changed();
    },
    onDrained: (cause, retryAfterMs) => {
      if (cause === 'terminating') void link.drained();
      if (cause === 'handover' || cause === 'stop') return;
      connection.backAfter(retryAfterMs);
      connection.session?.bye('drained');
    },
  });
  const drainMs = settings.drain.timeoutSeconds * 1000;

  const around = new Surroundings();
  const manager: ModelManager = new ModelManager({
    config,
    assigned: () => annotations.orders.assignedModel,
    link,
    watch,
    engine,
    store: new ModelStore(paths.models),
    install: { dispatcher: downloads },
    sourceRules: { allowInsecureHosts: network.allowInsecureHosts, mirrors: settings.sourceMirrors },
    engineArgs: settings.engineArgs,
    images: settings.images,
    version: settings.version,
    isolation: settings.isolation,
    probeTargets: () =>
      around.targets({
        apiServer: settings.apiServer,
        endpoint: network.endpoint,
        proxy: network.proxy,
        podIp: settings.pod.ip,
        agentPort: observed.port,
      }),
    idle: () => jobs.idle(),
    clock,
    logger,
    metrics,
    record: write,
    onChange: () => changed(),
    onError,
  });

  const membership = () => ({
    node,
    owner: 'wallet' in settings.owner ? settings.owner.wallet.toLowerCase() : settings.owner.email,
    labels: settings.labels,
    gpuMemoryMiB: Math.max(0, ...hardware.gpus.map((g) => g.memoryMiB)),
    join: settings.subclouds.join,
    leave: settings.subclouds.leave,
  });
  const runtimeVersion = (): string => {
    const runtimes = [config.accepted, config.applied].flatMap((c) => c?.document.runtimes ?? []);
    const digest = imageDigest(settings.images.runtime);
    const ours = runtimes.find((r) => digest !== undefined && imageDigest(r.image) === digest);
    return ours?.version ?? 'unknown';
  };
  const versions = () => ({ agent: settings.version, runtime: runtimeVersion() });

  const view = (): NodeView => ({
    nodeId: node,
    bootId,
    uptimeMs: clock.monotonic() - startedAt,
    now: clock.now(),
    version: settings.version,
    runtimeVersion: runtimeVersion(),
    images: settings.images,
    network: networkState,
    connected: connection.session !== null,
    superseded,
    config: {
      applied: config.applied?.ref ?? null,
      pending: config.pending,
      floor: config.accepted ? { epoch: config.accepted.epoch, version: config.accepted.version } : null,
    },
    models: manager.models,
    loaded: manager.serving?.model.ref ?? null,
    step: manager.step,
    engine: watch.view,
    hardware,
    capacity: manager.capacity,
    used: jobs.used,
    isolation: manager.isolation,
    clockOffsetMs: server.offset(),
    subclouds: config.effective ? subcloudsOf(config.effective, membership()).ids : [],
    drain: drain.state,
    paused: drain.paused,
    errors,
    lastError,
  });

  const heartbeats = new Heartbeats({
    clock,
    logger,
    metrics,
    body: () => heartbeatOf(view()),
    send: (body) => connection.send('heartbeat', body),
    http,
    jobs: () => jobs.helloJobs(),
    onAnswer: (answer) => {
      if (!connection.session) jobs.reconcile(answer.jobs, answer.named);
      config.notice(answer.config);
    },
    enabled: () => !superseded && !['unregistered', 'pending', 'revoked'].includes(networkState.state),
  });

  const targets: InboundTargets = {
    jobs,
    results,
    config,
    drain,
    heartbeats,
    logger,
    serverNow: () => server.now(),
    drainMs,
    record: write,
    onError,
    shutdown: () => void stop(),
  };
  const setNetworkState = (state: NodeState | 'unregistered', reason?: string): void => {
    if (networkState.state !== state || networkState.reason !== reason) {
      networkState = { state, reason };
      changed();
    }
  };
  const registration = {
    http,
    clock,
    logger,
    node,
    owner: settings.owner,
    bind: await loadBind(paths),
    enrolment: await loadEnrolment(paths),
    metadata: () => ({ ...versions(), hardware: { ...hardware }, labels: settings.labels }),
    retryMs: () => config.retryMs,
    onState: setNetworkState,
  };
  const connection: Connection = new Connection({
    clock,
    logger,
    register: (stopping) => registerUntilAdmitted(registration, stopping),
    beforeHello: async (stopping) => {
      await config.refresh(stopping);
    },
    openSession: () =>
      new Session({
        open: openWebSocket(network.endpoint, { ca }),
        clock,
        logger,
        domain,
        signer,
        nonce: newNonce,
        now: () => server.now(),
        onlineKeys: (rootVersion) => config.sessionKeys(rootVersion),
        hello: async () => ({
          audience: http.authority,
          bootId,
          incarnation: annotations.orders.incarnation,
          versions: { ...versions(), protocol: ['1'] },
          config: config.applied && {
            ...config.applied.ref,
            ...(config.pending ? { pending: config.pending } : {}),
          },
          capacity: manager.capacity,
          models: manager.models.filter((m) => m.status.state === 'active').map((m) => m.ref),
          jobs: jobs.helloJobs(),
        }),
        onWelcome: (welcome, session, sentAt) => {
          server.set(welcome.serverTime, sentAt);
          metrics.clockOffset.set(server.offset() / 1000);
          metrics.sessions.inc({ event: 'opened' });
          heartbeats.intervalMs = welcome.heartbeatMs;
          logger.info(
            { state: welcome.state, offsetMs: server.offset(), frameBytes: session.frameBytes },
            'connected to the network',
          );
          setNetworkState(welcome.state);
          obeyWelcome(welcome.state, drain, drainMs);
          jobs.welcomed(welcome.jobs);
          heartbeats.now();
          config.notice(welcome.config);
        },
        onMessage: (message) => handleInbound(message, targets),
      }),
    onEnd: (end) => {
      metrics.sessions.inc({ event: 'ended' });
      if (end.code === CLOSE.superseded && !end.own) onError('superseded', 'another process took this identity');
      changed();
      return !end.own && isTerminalClose(end.code) && results.sessionRefused() ? 'at-once' : undefined;
    },
  });

  const status =
    settings.apiServer && (await exists(join(paths.serviceAccount, 'token')))
      ? new StatusWriter({
          apiServer: settings.apiServer,
          serviceAccount: paths.serviceAccount,
          name: settings.name,
          namespace: settings.namespace,
          status: () => statusOf(view()),
          clock,
          logger,
        })
      : null;

  let mark = '';
  function changed(): void {
    if (!wired) return;
    status?.changed();
    const v = view();
    const { applied, pending } = v.config;
    const next = `${v.loaded} ${phaseOf(v)} ${applied?.digest} ${pending?.digest} ${v.capacity.queue} ${v.paused} ${v.drain}`;
    if (next === mark) return;
    mark = next;
    heartbeats.now();
  }
  wired = true;
  const obeyOrders = (): void => {
    const { orders } = annotations;
    drain.pause('owner', orders.paused);
    if (orders.drain) void drain.begin('operator', drainMs);
    else drain.end('operator');
    if (orders.handover) void drain.begin('handover', settings.drain.handoverSeconds * 1000);
    else drain.end('handover');
    manager.wake();
  };
  obeyOrders();

  /** What changes slowly and is asked for: hardware, what the network says of us, staleness. */
  const survey = async (): Promise<void> => {
    for (let tick = 0; !signal.aborted; tick++) {
      hardware = await readHardware(paths.models, watch.view.facts, gpuOf(settings));
      if (config.tooStale) void drain.begin('stale', drainMs);
      else drain.end('stale');
      const learning = networkState.state !== 'active' && manager.serving !== null;
      if (connection.session && (learning || tick % 12 === 0)) {
        const seen = zNodeStatus.safeParse(await http.get(`/v1/status/nodes/${node}`, signal).catch(() => null));
        if (seen.success && connection.session) setNetworkState(seen.data.state, seen.data.reasons[0]);
      }
      await clock.sleep(5_000, signal).catch(() => {});
    }
  };
  const firstFloor = http
    .get(`/v1/status/nodes/${node}`, AbortSignal.any([signal, AbortSignal.timeout(5_000)]))
    .then((answer) => {
      const seen = zNodeStatus.safeParse(answer);
      if (seen.success) statusFloor = seen.data.floor;
    })
    .catch(() => {});

  const unwatch = watch.onChange(() => {
    if (watch.view.terminating) void drain.begin('terminating', drainMs, 3_600_000);
    changed();
  });
  const guard = (name: string, loop: Promise<unknown>): Promise<void> =>
    loop.then(
      () => {},
      (error: unknown) => {
        if (!signal.aborted) logger.error({ error, reason: name }, 'a loop of the agent ended');
      },
    );
  const observed = await serveObserved(
    {
      metrics: options.metrics,
      ready: () => {
        if (manager.serving === null) return 'no model is served';
        if (!connection.session) return 'not connected to the network';
        return drain.draining || drain.paused ? 'no jobs are taken' : undefined;
      },
      status: () => {
        const v = view();
        return {
          ...statusOf(v),
          connected: v.connected,
          uptimeMs: Math.round(v.uptimeMs),
          jobs: { open: jobs.used, running: jobs.running, unreceipted: results.count, capacity: v.capacity },
          heartbeatAgeMs: heartbeats.ageMs === null ? null : Math.round(heartbeats.ageMs),
          clockOffsetMs: v.clockOffsetMs,
          engine: { phase: v.engine.runtime.phase, reason: v.engine.runtime.reason, message: v.engine.runtime.message },
          tokensPerSecond: v.engine.tokensPerSecond,
          errors: v.errors,
        };
      },
      checks: { [RUNTIME_READY_PATH]: () => (manager.serving ? undefined : 'the engine is not ready or not tested') },
    },
    settings.port,
  );
  logger.info({ port: observed.port }, 'launcher in place, watching the runtime');
  write('agent.started', { version: settings.version, bootId });
  const loops = [
    guard('annotations', annotations.run(clock, signal, obeyOrders)),
    guard('engine', watch.run(signal)),
    guard('models', manager.run(signal)),
    guard('jobs', jobs.run(signal)),
    guard('heartbeats', heartbeats.run(signal)),
    guard('record', record.run(signal)),
    guard('survey', survey()),
    guard(
      'connection',
      firstFloor
        .then(() => connection.run(signal))
        .then((why) => {
          superseded = why === 'superseded';
          changed();
        }),
    ),
    guard(
      'configuration',
      firstFloor.then(() => config.refresh(signal)).then(() => config.run(signal)),
    ),
    ...(status ? [guard('status', status.run(signal))] : []),
  ];

  let finished: () => void = () => {};
  const ended = new Promise<void>((resolve) => {
    finished = resolve;
  });
  let closing: Promise<void> | null = null;
  const close = (): Promise<void> => {
    closing ??= closeAll();
    return closing;
  };
  const closeAll = async (): Promise<void> => {
    unwatch();
    over.abort(new CodedError('stopped', 'the agent stops'));
    connection.close();
    await Promise.all(loops);
    await observed.close();
    await engine.close();
    await dispatcher.destroy();
    await downloads.destroy();
    journal.close();
    finished();
  };
  let stopping: Promise<void> | null = null;
  const stop = (): Promise<void> => {
    stopping ??= (async () => {
      const { facts } = watch.view;
      const terminating = (await link.terminating()) || annotations.orders.drain;
      const alive = facts?.pid != null && Math.abs(clock.now() - facts.beat) < 15_000;
      const budget = Math.max(0, settings.graceSeconds - 10) * 1000;
      if (terminating) await drain.begin('stop', Math.min(drainMs, budget));
      else await drain.begin('stop', alive ? Math.min(settings.drain.handoverSeconds * 1000, budget) : 0);
      if (terminating) await link.drained();
      const session = connection.session;
      session?.bye(terminating ? 'shutdown' : 'restart');
      if (session) await Promise.race([session.done, clock.sleep(1_000)]);
      write('agent.stopped', {});
      logger.info('the agent stops');
      await close();
    })();
    return stopping;
  };
  return { node, port: observed.port, view, ended, stop, kill: close };
};

const exists = (path: string): Promise<boolean> =>
  readFile(path).then(
    () => true,
    () => false,
  );
const gpuOf = (settings: Settings) => ({
  name: settings.gpu.product ?? settings.gpu.resourceName,
  count: settings.gpu.count,
});
