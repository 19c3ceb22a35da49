import { join } from 'node:path';
import { FileStateStore, httpSource, onlineKeys, subcloudsOf } from '../config/index.ts';
import { CodedError, errorText } from '../lib/errors.ts';
import { CLOSE, isTerminalClose, type NodeState, newNonce } from '../protocol/index.ts';
import { ConfigSync, higherFloor } from './config-sync.ts';
import { Connection } from './connection.ts';
import { Drain } from './drain.ts';
import { engineRoom } from './engine-room.ts';
import type { ErrorLog } from './error-log.ts';
import type { AgentOptions, Ground } from './ground.ts';
import { type Hardware, readHardware } from './hardware.ts';
import { Heartbeats } from './heartbeat.ts';
import { loadBind, loadEnrolment } from './identity.ts';
import { handleInbound, type InboundTargets, obeyAnnotations, obeyWelcome } from './inbound.ts';
import type { JobChannel } from './job-channel.ts';
import { Jobs } from './jobs.ts';
import { ModelManager } from './model-manager.ts';
import { modelPorts } from './model-ports.ts';
import { heartbeatOf, helloOf, type NodeView, phaseOf, statusOf } from './node-view.ts';
import { registerUntilAdmitted } from './registration.ts';
import { Results } from './results.ts';
import { Session } from './session.ts';
import { openWebSocket } from './socket.ts';
import { memberOf, offerRules, runtimeVersionOf } from './standing.ts';
import { statusWriterOf } from './status.ts';
import { askStatus, survey } from './survey.ts';

/** What is known only once the program runs. */
export interface Late {
  /** The port that the agent listens on. */
  port(): number;
  /** The network ordered the process to end. */
  shutdown(): void;
}

/** Makes all parts of the agent, each knowing those it needs. Nothing runs yet: agent.ts starts the loops. */
export const wire = async (
  options: AgentOptions,
  ground: Ground,
  errors: ErrorLog,
  late: Late,
  signal: AbortSignal,
) => {
  const { settings, logger, clock } = options;
  const { paths, network } = settings;
  const { metrics, link, signer, node, ca, domain, server, dispatcher, http, engine, watch, annotations } = ground;
  const { record, journal, bootId } = ground;
  // The environment of a live pod cannot be patched, its images can: the operator tells them by annotation.
  const images = {
    get agent() {
      return annotations.orders.images.agent ?? settings.images.agent;
    },
    get runtime() {
      return annotations.orders.images.runtime ?? settings.images.runtime;
    },
  };

  let networkState: { state: NodeState | 'unregistered'; reason: string | undefined } = {
    state: 'unregistered',
    reason: undefined,
  };
  let superseded = false;
  let wired = false;
  let statusFloor: { epoch: number; version: number } | undefined;
  let hardware: Hardware = await readHardware(paths.models, null, settings);
  const onError = (code: string, message = ''): void => {
    errors.add(code, message, clock.now());
    changed();
  };
  const write = (kind: string, data: Record<string, unknown>): void => record.write(kind, data);

  const config = new ConfigSync({
    pinnedRoot: ground.pinnedRoot,
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
    ack: (ref, state, more) => {
      connection.send('config.ack', { ...ref, state, ...more });
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
    rules: () =>
      offerRules({
        now: server.now(),
        config,
        manager,
        drain,
        environment: network.environment,
        member: member(),
      }),
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

  const { loader, guard } = engineRoom(options, ground, {
    port: late.port,
    tested: () => manager.tested,
    firstTokenMs: () => config.effective?.jobs.timeouts.firstTokenMs ?? 0,
    record: write,
    onChange: () => changed(),
    onError,
  });
  const manager: ModelManager = new ModelManager({
    config,
    assigned: () => annotations.orders.assignedModel,
    held: () => annotations.orders.hold && !config.appliedExpired,
    watch,
    loader,
    engine,
    engineVersion: () => runtimeVersion(),
    install: modelPorts(settings, node, ground.downloads, clock),
    sourceRules: { allowInsecureHosts: network.allowInsecureHosts, mirrors: settings.sourceMirrors },
    engineArgs: settings.engineArgs,
    images,
    version: settings.version,
    idle: () => jobs.idle(),
    clock,
    logger,
    metrics,
    record: write,
    onChange: () => changed(),
    onError,
  });

  const member = () => memberOf(settings, node, hardware);
  const runtimeVersion = () => runtimeVersionOf([config.accepted, config.applied], images.runtime);
  const versions = () => ({ agent: settings.version, runtime: runtimeVersion() });

  const view = (): NodeView => ({
    nodeId: node,
    bootId,
    uptimeMs: clock.monotonic() - ground.startedAt,
    now: clock.now(),
    version: settings.version,
    runtimeVersion: runtimeVersion(),
    images: { agent: images.agent, runtime: images.runtime },
    network: networkState,
    connected: connection.session !== null,
    superseded,
    config: {
      applied: config.applied?.ref ?? null,
      pending: config.pending,
      ticket: config.accepted && config.freshness,
      obstacle: config.obstacle,
      floor: config.accepted ? { epoch: config.accepted.epoch, version: config.accepted.version } : null,
    },
    models: manager.models,
    loaded: manager.serving?.model.ref ?? null,
    step: manager.step,
    engine: watch.view,
    readyBy: loader.readyBy,
    hardware,
    capacity: manager.capacity,
    used: jobs.used,
    isolation: manager.isolation,
    clockOffsetMs: server.offset(),
    subclouds: config.effective ? subcloudsOf(config.effective, member()).ids : [],
    drain: drain.state,
    paused: drain.paused,
    errors: errors.codes,
    lastError: errors.last,
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
    shutdown: late.shutdown,
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
    ...(options.random ? { random: options.random } : {}),
    logger,
    register: (stopping) => registerUntilAdmitted(registration, stopping),
    beforeHello: async (stopping) => {
      await firstFloor.then(() => config.refresh(stopping));
    },
    openSession: () =>
      new Session({
        open: openWebSocket(network.endpoint, { ca, proxy: network.proxy }),
        clock,
        logger,
        domain,
        signer,
        nonce: newNonce,
        now: () => server.now(),
        onlineKeys: (rootVersion) => config.sessionKeys(rootVersion),
        hello: async () => helloOf(view(), http.authority, annotations.orders.incarnation, jobs.helloJobs()),
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
      if (!end.own && isTerminalClose(end.code)) return results.sessionRefused() ? 'at-once' : undefined;
      results.sessionOver();
      return undefined;
    },
  });

  const status = await statusWriterOf(settings, { status: () => statusOf(view()), clock, logger });

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
    obeyAnnotations(annotations.orders, drain, settings);
    manager.wake();
  };
  obeyOrders();

  const firstFloor = askStatus(http, node, AbortSignal.any([signal, AbortSignal.timeout(5_000)])).then((seen) => {
    statusFloor = seen?.floor;
  });
  const changesOfEngine = (): void => {
    if (watch.view.terminating) void drain.begin('terminating', drainMs, 3_600_000);
    else drain.end('terminating'); // only the runtime container was replaced: another launcher is there
    changed();
  };
  return {
    guard,
    config,
    results,
    jobs,
    drain,
    manager,
    heartbeats,
    connection,
    status,
    view,
    obeyOrders,
    changesOfEngine,
    firstFloor,
    survey: () =>
      survey(
        {
          node,
          http,
          clock,
          config,
          drain,
          drainMs,
          connection,
          learning: () => networkState.state !== 'active' && manager.serving !== null,
          readHardware: async () => {
            metrics.ticketAge.set(config.ticketAgeMs / 1000);
            hardware = await readHardware(paths.models, watch.view.facts, settings);
          },
          onState: setNetworkState,
        },
        signal,
      ),
    /** Holds the connection until it ends for good. */
    connect: async (): Promise<void> => {
      superseded = (await connection.run(signal)) === 'superseded';
      changed();
    },
  };
};
