import { Connection } from '../../src/agent/connection.ts';
import { Drain } from '../../src/agent/drain.ts';
import { Heartbeats } from '../../src/agent/heartbeat.ts';
import { NetworkHttp } from '../../src/agent/http.ts';
import { handleInbound, type InboundTargets, obeyWelcome } from '../../src/agent/inbound.ts';
import type { JobChannel } from '../../src/agent/job-channel.ts';
import { agentMetrics } from '../../src/agent/job-metrics.ts';
import { Jobs } from '../../src/agent/jobs.ts';
import { registerUntilAdmitted } from '../../src/agent/registration.ts';
import { Results } from '../../src/agent/results.ts';
import { ServerClock } from '../../src/agent/server-clock.ts';
import { Session } from '../../src/agent/session.ts';
import { type offerRules, offerRules as rulesOf } from '../../src/agent/standing.ts';
import { onlineKeys, receiptAuthorities, type SnapshotDocument, type TrustedRoot } from '../../src/config/index.ts';
import {
  type Address,
  CLOSE,
  type ConfigRef,
  type Domain,
  type Heartbeat,
  isTerminalClose,
  type NodeState,
  type Signer,
} from '../../src/protocol/index.ts';
import type { Random } from '../chaos/random.ts';
import { SimEngine } from './engine.ts';
import type { Conn, Net, Path } from './link.ts';
import { AUTHORITY } from './network.ts';
import { JournalVolume } from './power-cut.ts';
import { type Host, Proc, serviceRandom, type World } from './world.ts';

/** What every node of the network holds: the root, the snapshot in force, and the model that it serves. */
export interface Standing {
  readonly domain: Domain;
  readonly root: TrustedRoot;
  readonly document: SnapshotDocument;
  readonly config: ConfigRef;
}
export interface PodOptions {
  readonly world: World;
  readonly net: Net;
  readonly host: Host;
  readonly path: Path;
  readonly signer: Signer;
  readonly incarnation: number;
  readonly standing: Standing;
}

const SLOTS = 3;
const QUEUE = 3;

/** A frame of the network as a node let it take effect. */
export interface Obeyed {
  readonly conn: Conn;
  readonly t: string;
  readonly payload: string;
}

/** One pod: a volume with a journal, an engine, and an agent that may die and start again. */
export class SimPod {
  readonly options: PodOptions;
  readonly volume: JournalVolume;
  readonly engine: SimEngine;
  readonly obeyed: Obeyed[] = [];
  proc: Proc | null = null;
  /** It ended for good: another pod has its identity. */
  superseded = false;
  /** A terminal close code keeps it away for minutes. */
  banned = false;
  #connection: Connection | null = null;
  #drain: Drain | null = null;
  readonly #random: Random;
  #boots = 0;

  constructor(options: PodOptions) {
    const { world, host } = options;
    this.options = options;
    this.volume = new JournalVolume(world, host.name);
    this.engine = new SimEngine(world, host.name);
    this.#random = world.random(`agent ${host.name}`);
  }
  get node(): Address {
    return this.options.signer.address;
  }
  get conns(): Conn[] {
    return [...this.options.path.conns].filter((c) => c.alive);
  }

  /** Starts the agent: the real parts as wiring.ts joins them, with one model that is active and loaded. */
  start(): void {
    const { world, net, host, path, signer, standing, incarnation } = this.options;
    const { domain, root, document, config } = standing;
    const proc = new Proc(host);
    this.proc = proc;
    const { clock, log: logger } = proc;
    const started = clock.monotonic();
    const bootId = `boot-${host.name}-${++this.#boots}`;
    const random = (): number => this.#random.next();
    const nonce = (): `0x${string}` => `0x${Buffer.from(serviceRandom(this.#random).bytes(32)).toString('hex')}`;
    const metrics = agentMetrics(world.metrics);
    const over = new AbortController();
    const server = new ServerClock(clock);
    const dispatcher = net.dispatcher(proc, path);
    const http = new NetworkHttp({ endpoint: `http://${AUTHORITY}`, dispatcher, domain, signer, clock: server, nonce });
    const journal = this.volume.open(proc);
    const record = (): void => {};
    const onError = (): void => {};
    const model = document.models[0];
    if (!model) throw new Error('the snapshot has no model');
    let networkState: NodeState | 'unregistered' = 'unregistered';

    const channel: JobChannel = {
      send: (t, payload) => connection.send(t, payload),
      frameBytes: () => connection.session?.frameBytes ?? 65_536,
      congestion: () => (connection.session?.congested ? connection.session.writable() : undefined),
      postResult: (payload) => http.post('/v1/results', payload, over.signal),
    };
    const authorities = receiptAuthorities([root]);
    const results = new Results({
      clock,
      logger,
      domain,
      journal,
      channel,
      authorities: () => authorities,
      metrics,
      record,
      onError,
    });
    const rules = (): ReturnType<typeof offerRules> =>
      rulesOf({
        now: server.now(),
        config: { effective: document, servable: [{ ref: config, document }] },
        manager: { tested: { ref: model.ref, digest: model.digest }, serving: {} } as never,
        drain,
        environment: 'testnet',
        member: { node: signer.address, owner: undefined, labels: {}, gpuMemoryMiB: 1, join: [], leave: [] },
      });
    const jobs: Jobs = new Jobs({
      clock,
      serverNow: () => server.now(),
      logger,
      domain,
      signer,
      journal,
      engine: this.engine.client(proc),
      channel,
      results,
      rules,
      limits: () => ({ slots: SLOTS, queue: QUEUE, timeouts: document.jobs.timeouts }),
      metrics,
      record,
      onError,
      onLoad: () => {},
    });
    const drain: Drain = new Drain({
      clock,
      logger,
      metrics,
      jobs,
      unreceipted: () => results.count,
      file: '/nonexistent/orders.json',
      record,
      onChange: () => {},
      onDrained: () => {},
    });
    this.#drain = drain;
    const heartbeat = (): Heartbeat => ({
      bootId,
      uptimeMs: Math.round(clock.monotonic() - started),
      versions: { agent: '0.1.0', runtime: '0.32.0' },
      images: null,
      config,
      models: [{ model: model.ref, digest: model.digest, state: 'active', loaded: true }],
      hardware: {
        gpus: [{ name: 'fake', memoryMiB: 1024 }],
        memoryMiB: 1024,
        memoryUsedMiB: 1,
        disk: { totalMiB: 1024, freeMiB: 512 },
      },
      runtime: { healthy: true, phase: 'ready', running: jobs.running, waiting: 0 },
      capacity: { slots: SLOTS, queue: QUEUE },
      used: jobs.used,
      isolation: { tier: 'sandbox', provedAt: 1 },
      clockOffsetMs: server.offset(),
      subclouds: [],
      errors: [],
    });
    const heartbeats = new Heartbeats({
      clock,
      logger,
      metrics,
      body: heartbeat,
      send: (body) => connection.send('heartbeat', body),
      http,
      jobs: () => jobs.helloJobs(),
      onAnswer: (answer) => {
        if (!connection.session) jobs.reconcile(answer.jobs, answer.named);
      },
      enabled: () => !this.superseded && !['unregistered', 'pending', 'revoked'].includes(networkState),
      random,
    });
    const targets = {
      jobs,
      results,
      config: { notice: () => {} },
      drain,
      heartbeats,
      logger,
      serverNow: () => server.now(),
      drainMs: 30_000,
      record,
      onError,
      shutdown: () => {},
    } as unknown as InboundTargets;
    const registration = {
      http,
      clock,
      logger,
      node: signer.address,
      owner: { email: 'ops@example.com' },
      bind: undefined,
      enrolment: undefined,
      metadata: () => ({ agent: '0.1.0', runtime: '0.32.0', hardware: {}, labels: {} }),
      retryMs: () => document.ttl.retryMs,
      onState: (state: NodeState | 'unregistered') => {
        networkState = state;
      },
      random,
    };
    const connection: Connection = new Connection({
      clock,
      logger,
      register: (signal) => registerUntilAdmitted(registration, signal),
      beforeHello: async () => {},
      random,
      openSession: () => {
        const open = net.sockets(proc, path);
        const at = net.conns.length;
        return new Session({
          open,
          clock,
          logger,
          domain,
          signer,
          nonce,
          now: () => server.now(),
          onlineKeys: async () => onlineKeys(root),
          hello: async () => ({
            audience: AUTHORITY,
            bootId,
            incarnation,
            versions: { agent: '0.1.0', runtime: '0.32.0', protocol: ['1'] },
            config,
            capacity: { slots: SLOTS, queue: QUEUE },
            models: [model.ref],
            jobs: jobs.helloJobs(),
          }),
          onWelcome: (welcome, _session, sentAt) => {
            if (!proc.alive) return;
            this.banned = false;
            server.set(welcome.serverTime, sentAt);
            heartbeats.intervalMs = welcome.heartbeatMs;
            networkState = welcome.state;
            obeyWelcome(welcome.state, drain, 30_000);
            jobs.welcomed(welcome.jobs);
            heartbeats.now();
          },
          onMessage: (message) => {
            if (!proc.alive) return;
            const conn = net.conns[at];
            if (conn) this.obeyed.push({ conn, t: message.t, payload: message.payload });
            handleInbound(message, targets);
          },
        });
      },
      // as in wiring.ts
      onEnd: (end) => {
        if (end.own || !isTerminalClose(end.code)) {
          results.sessionOver();
          return undefined;
        }
        if (end.code === CLOSE.superseded) world.trace.note(`${host.name} superseded`);
        const refused = results.sessionRefused();
        if (!refused) this.banned = true;
        return refused ? 'at-once' : undefined;
      },
    });
    this.#connection = connection;
    world.trace.note(`${host.name} starts`);
    const guard = (loop: Promise<unknown>): void => {
      loop.catch((error: unknown) => {
        if (proc.alive) world.errors.push(`${host.name}: ${error instanceof Error ? error.stack : String(error)}`);
      });
    };
    guard(jobs.run(over.signal));
    guard(heartbeats.run(over.signal));
    guard(
      connection.run(over.signal).then((end) => {
        if (end === 'superseded') this.superseded = true;
      }),
    );
  }

  /** SIGTERM with the engine living on: stop accepting, hand over, bye, end. */
  async stop(handoverMs: number): Promise<void> {
    const { proc } = this;
    if (!proc?.alive) return;
    await this.#drain?.begin('stop', handoverMs);
    const session = this.#connection?.session;
    session?.bye('restart');
    if (session) await Promise.race([session.done, proc.clock.sleep(1_000)]);
    proc.die();
  }
}
