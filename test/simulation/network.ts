import { CallGate } from '../../src/network/call-gate.ts';
import { JobDesk } from '../../src/network/desk.ts';
import { createHttpServer } from '../../src/network/http.ts';
import { Hub } from '../../src/network/hub.ts';
import type { JobRequest, JobSink } from '../../src/network/job.ts';
import { Ledger } from '../../src/network/ledger.ts';
import { networkMetrics } from '../../src/network/metrics.ts';
import { nodeApi } from '../../src/network/node-api.ts';
import type { Publications } from '../../src/network/publications.ts';
import { Registry } from '../../src/network/registry.ts';
import type { FrameHandler, Session } from '../../src/network/session.ts';
import { DEFAULT_LIMITS } from '../../src/network/settings.ts';
import type { Store } from '../../src/network/store.ts';
import type { Signer } from '../../src/protocol/index.ts';
import type { Random } from '../chaos/random.ts';
import type { Conn, Listener, Net } from './link.ts';
import { StoreVolume } from './power-cut.ts';
import { type Host, Proc, serviceRandom, type World } from './world.ts';

export const AUTHORITY = 'io.network.example';
const MANY = 1e9;
const LIMITS = {
  ...DEFAULT_LIMITS,
  callsPerNode: MANY,
  callsPerAddress: MANY,
  registrationsPerAddress: MANY,
  anyPerAddress: MANY,
};

/** What one run of the service consists of: the real parts as service.ts wires them, but for its listening sockets. */
interface Running {
  readonly proc: Proc;
  readonly store: Store;
  readonly registry: Registry;
  readonly hub: Hub;
  readonly desk: JobDesk;
}

/** A frame as the service let it take effect. */
export interface Effect {
  readonly conn: Conn;
  readonly t: string;
  readonly payload: string;
}
/** A hello that was answered with welcome. */
export interface Welcomed {
  readonly node: string;
  readonly incarnation: number;
}

/** The network's machine: the service, its disk, and what it is seen to do. */
export class SimNetwork {
  readonly host: Host;
  readonly volume: StoreVolume;
  readonly effects: Effect[] = [];
  readonly welcomed: Welcomed[] = [];
  readonly publications: Publications;
  readonly #world: World;
  readonly #net: Net;
  readonly #signer: Signer;
  readonly #random: Random;
  readonly #conns = new WeakMap<Session, Conn>();
  running: Running | null = null;

  constructor(world: World, net: Net, host: Host, publications: Publications, signer: Signer) {
    this.#world = world;
    this.#net = net;
    this.#signer = signer;
    this.#random = world.random('network');
    this.host = host;
    this.volume = new StoreVolume(world);
    this.publications = publications;
  }

  start(): void {
    const proc = new Proc(this.host);
    const { clock, log } = proc;
    const { publications } = this;
    const random = serviceRandom(this.#random);
    const metrics = networkMetrics(this.#world.metrics);
    const store = this.volume.open(proc);
    const registry = new Registry(store, clock, LIMITS.maxLagMs);
    const { document, reference } = publications;
    if (document && reference) registry.configure({ document, digest: reference.digest, since: clock.monotonic() });
    const signer = this.#signer;
    const hub = new Hub({
      clock,
      random,
      signer,
      audiences: [AUTHORITY],
      limits: LIMITS,
      publications,
      registry,
      metrics,
      log,
    });
    const ledger = new Ledger({
      store,
      clock,
      domain: publications.domain,
      signer,
      rootVersion: () => publications.root.version,
      nodeOf: (node) => registry.row(node),
      receipts: metrics.receipts,
    });
    const desk = new JobDesk({ clock, random, store, ledger, link: hub, limits: LIMITS, metrics, log });
    const app = createHttpServer(undefined, log);
    const gate = new CallGate(publications.domain, [AUTHORITY], clock, random);
    const admission = { policy: 'open', token: () => undefined, allowed: new Set<string>() } as const;
    nodeApi(app, { clock, limits: LIMITS, gate, store, registry, publications, admission, hub, desk, metrics });
    this.#watch(hub);
    hub.start(desk);
    const running = { proc, store, registry, hub, desk };
    this.running = running;
    proc.onDeath(() => {
      if (this.running === running) this.running = null;
    });
    const listener: Listener = {
      proc,
      open: (wire, conn) => {
        const session = hub.open(wire);
        this.#conns.set(session, conn);
        return {
          message: (text) => {
            // as sockets.ts does
            try {
              session.received(text);
            } catch (error) {
              if (!proc.alive) return;
              log.error({ error }, 'a frame could not be handled');
              session.close(4004, 'internal error');
            }
          },
          alive: () => session.heard(),
          closed: () => {
            try {
              hub.forget(session);
            } catch (error) {
              if (proc.alive) throw error;
            }
          },
        };
      },
      call: async ({ method, path, headers, body }) => {
        const answer = await app.inject({ method, url: path, headers, payload: body });
        return { status: answer.statusCode, body: answer.body };
      },
    };
    this.#net.listener = listener;
    this.#world.trace.note('network starts');
  }

  /** A caller's job; what it is told stops with the service. */
  submit(request: JobRequest, sink: JobSink): string | undefined {
    const { running } = this;
    if (!running) throw new Error('ECONNREFUSED');
    const alive = (): boolean => running.proc.alive;
    return running.desk.submit(request, {
      offered: (node) => alive() && sink.offered(node),
      lines: (lines) => alive() && sink.lines(lines),
      answered: (output, rest) => alive() && sink.answered(output, rest),
      failed: (failure) => alive() && sink.failed(failure),
    });
  }

  /** Notes each frame that takes effect, and whom it welcomed. */
  #watch(hub: Hub): void {
    const handlers = hub.handlers as Map<string, FrameHandler>;
    for (const [t, handle] of [...handlers])
      handlers.set(t, (session, node, frame) => {
        const conn = this.#conns.get(session);
        if (conn) this.effects.push({ conn, t, payload: frame.payload });
        handle(session, node, frame);
      });
    const welcome = hub.welcome.bind(hub);
    hub.welcome = (session, hello) => {
      const answer = welcome(session, hello);
      this.welcomed.push({ node: hello.node, incarnation: hello.incarnation });
      return answer;
    };
  }
}
