import type { Clock } from '../lib/clock.ts';
import type { Logger } from '../lib/log.ts';
import {
  type Address,
  CLOSE,
  type CloseCode,
  type Control,
  type Domain,
  FrameError,
  type Heartbeat,
  type Hello,
  type Sha256,
  type Signer,
  type Welcome,
  zBye,
  zConfigAck,
  zErrorMessage,
  zHeartbeat,
  zJobAccept,
  zJobDelta,
  zJobLost,
  zJobProgressMessage,
  zJobReject,
  zJobResult,
} from '../protocol/index.ts';
import type { JobDesk, NodeLink } from './desk.ts';
import { RateLimiter } from './limiter.ts';
import type { NetworkMetrics } from './metrics.ts';
import type { Publications } from './publications.ts';
import type { Random } from './random.ts';
import type { Registry } from './registry.ts';
import { type FrameHandler, on, Session, type SessionHost, type Wire } from './session.ts';
import type { Limits } from './settings.ts';

export interface HubPorts {
  readonly clock: Clock;
  readonly random: Random;
  readonly signer: Signer;
  readonly audiences: readonly string[];
  readonly limits: Limits;
  readonly publications: Publications;
  readonly registry: Registry;
  readonly metrics: NetworkMetrics;
  readonly log: Logger;
}

/** How often sessions are looked at: pings, dead peers, nodes that fall out of rotation. */
const SWEEP_MS = 1_000;
/** Over how long nodes come back after a new root. */
const RECONNECT_MS = 5_000;
/** Refused frames a minute that the log tells of, by reason. */
const REFUSALS_LOGGED = 60;
/** §4. */
export const HEARTBEAT_BYTES = 8_192;

/**
 * All sessions: at most one live one a node (docs/protocol.md §3). Turns frames into calls of the desk and the registry,
 * and what they decide into frames.
 */
export class Hub implements SessionHost, NodeLink {
  readonly domain: Domain;
  readonly signer: Signer;
  readonly clock: Clock;
  readonly random: Random;
  readonly frameBytes: number;
  readonly audiences: readonly string[];
  readonly handlers: ReadonlyMap<string, FrameHandler>;
  readonly #ports: HubPorts;
  readonly #sessions = new Set<Session>();
  readonly #byNode = new Map<Address, Session>();
  readonly #offering = new Map<Address, boolean>();
  readonly #stop = new AbortController();
  readonly #refusals: RateLimiter;
  #desk: JobDesk | undefined;

  constructor(ports: HubPorts) {
    this.#ports = ports;
    this.domain = ports.publications.domain;
    this.signer = ports.signer;
    this.clock = ports.clock;
    this.random = ports.random;
    this.frameBytes = ports.limits.frameBytes;
    this.audiences = ports.audiences;
    this.#refusals = new RateLimiter(ports.clock, 60_000);
    this.handlers = this.#handlers();
  }

  /** Hub and desk know each other; the desk is made second. */
  start(desk: JobDesk): void {
    this.#desk = desk;
    const sweep = async (): Promise<void> => {
      for (;;) {
        await this.clock.sleep(SWEEP_MS, this.#stop.signal);
        try {
          this.#sweep(desk);
        } catch (error) {
          this.#ports.log.error({ error }, 'a sweep over the sessions failed');
        }
      }
    };
    sweep().catch(() => {});
  }
  get size(): number {
    return this.#sessions.size;
  }
  /** True when no session is opened any more. */
  get closing(): boolean {
    return this.#stop.signal.aborted;
  }

  open(wire: Wire): Session {
    const session = new Session(this, wire);
    this.#sessions.add(session);
    return session;
  }
  /** A socket was closed at its own level. */
  forget(session: Session): void {
    session.ended();
    this.#sessions.delete(session);
  }

  // ——— NodeLink
  send(node: Address, t: string, payload: string): boolean {
    const session = this.#byNode.get(node);
    if (!session || session.closed || !session.fits(payload)) return false;
    session.send(t, payload);
    return true;
  }
  fits(payload: string): boolean {
    return Buffer.byteLength(payload) + 512 <= this.frameBytes;
  }
  timeAt(node: Address, monotonic: number): number {
    const { clock } = this;
    return this.#byNode.get(node)?.timeAt(monotonic) ?? Math.round(clock.now() + monotonic - clock.monotonic());
  }
  applied(node: Address): Sha256 | undefined {
    return this.#ports.registry.applied(node);
  }

  // ——— SessionHost
  rootVersion(): number {
    return this.#ports.publications.root.version;
  }
  mayConnect(node: Address): void {
    const row = this.#ports.registry.row(node);
    if (row?.admission !== 'admitted')
      throw new FrameError(CLOSE.forbidden, row ? `this node is ${row.admission}` : 'this node is not registered');
  }
  welcome(session: Session, hello: Hello): Omit<Welcome, 'sid' | 'protocol' | 'serverTime'> {
    const { registry, publications, log } = this.#ports;
    const row = registry.row(hello.node);
    if (!row) throw new FrameError(CLOSE.forbidden, 'this node is not registered');
    if (hello.incarnation < row.incarnation)
      throw new FrameError(CLOSE.superseded, `a newer incarnation (${row.incarnation}) was here`);
    const old = this.#byNode.get(hello.node);
    const kept = registry.connected(hello);
    if (kept) session.holdBack(kept);
    this.#byNode.set(hello.node, session);
    // the old session finds another one in its place and takes nothing down with it
    old?.close(CLOSE.superseded, 'superseded by a newer session');
    log.info(
      { node: hello.node, bootId: hello.bootId, incarnation: hello.incarnation, jobs: hello.jobs.length },
      'node connected',
    );
    const desk = this.#desk as JobDesk;
    if (old) desk.nodeDown(registry.view(hello.node));
    desk.nodeChanged(registry.view(hello.node));
    const jobs = desk.reconcile(hello.node, hello.jobs);
    const state = registry.state(hello.node);
    return {
      // at this moment no heartbeat of the session is there yet: a node without an order is told to work
      state: state === 'out_of_rotation' ? 'active' : state,
      heartbeatMs: registry.rule.heartbeatMs,
      config: publications.reference,
      jobs,
    };
  }
  gone(session: Session): void {
    const node = session.hello?.node;
    if (node === undefined || this.#byNode.get(node) !== session) return;
    this.#byNode.delete(node);
    this.#offering.delete(node);
    this.#ports.registry.disconnected(node);
    this.#ports.log.info({ node }, 'node disconnected');
    this.#desk?.nodeDown(this.#ports.registry.view(node));
  }
  refused(reason: string, error: FrameError): void {
    if (reason === 'auth' || reason === 'sequence')
      this.#ports.metrics.signatureFailures.inc({ reason: `frame_${reason}` });
    // whoever may connect can be refused as often as he likes: the log is not his to fill
    if (this.#refusals.take(reason, REFUSALS_LOGGED) === undefined)
      this.#ports.log.warn({ reason, code: error.closeCode, detail: error.message }, 'frame refused');
  }

  // ——— what the rest of the service asks for
  /** Tells the dispatcher when what a node may do has changed. */
  refresh(node: Address, always = false): void {
    const { registry, log } = this.#ports;
    const offers = registry.offers(node);
    const changed = this.#offering.get(node) !== offers;
    if (!always && !changed) return;
    if (changed) log.info({ node, state: registry.state(node), offers }, 'node rotation');
    this.#offering.set(node, offers);
    this.#desk?.nodeChanged(registry.view(node));
  }
  /** A heartbeat over HTTP changes nothing while a socket is open (§4). */
  heartbeat(node: Address, heartbeat: Heartbeat): void {
    const { registry, log } = this.#ports;
    if (registry.heartbeat(node, heartbeat)) log.info({ node }, 'node active');
    this.refresh(node, true);
  }
  announce(): void {
    const reference = this.#ports.publications.reference;
    if (!reference) return;
    for (const [node, session] of this.#byNode) {
      session.send('config.notice', reference);
      this.refresh(node, true);
    }
  }
  /** Has every node come back over some seconds: before its hello it walks the roots, and so it holds the newest. */
  reconnectAll(): void {
    for (const session of [...this.#sessions]) {
      session.send('bye', { reason: 'restart', retryAfterMs: Math.floor(this.random.next() * RECONNECT_MS) });
      session.close(CLOSE.restart, 'a new root');
    }
  }
  /** An order of the network's operator: kept, and told at once when the node is there. */
  control(node: Address, control: Control): boolean {
    const { registry } = this.#ports;
    if (control.action === 'pause') registry.order(node, 'paused');
    if (control.action === 'drain') registry.order(node, 'draining');
    if (control.action === 'resume') registry.order(node, 'none');
    this.refresh(node, true);
    return this.send(node, 'control', JSON.stringify(control));
  }
  /** Closes the socket of a node that may not have one any more. */
  dismiss(node: Address, reason: string): void {
    this.#byNode.get(node)?.close(CLOSE.forbidden, reason);
  }

  /** Says bye and closes all: nodes come back after the restart. */
  async close(): Promise<void> {
    this.#stop.abort();
    for (const session of this.#sessions) {
      session.send('bye', { reason: 'restart', retryAfterMs: 1_000 });
      session.close(CLOSE.restart, 'restart');
    }
    // a peer that does not answer the close is cut after a second
    for (let i = 0; i < 12 && this.#sessions.size > 0; i++) {
      await this.clock.sleep(100);
      for (const session of this.#sessions) session.tick();
    }
  }
  /** Closes one node's socket, as an operator or a wrong result demands. */
  closeNode(node: Address, code: CloseCode, reason: string): void {
    this.#byNode.get(node)?.close(code, reason);
  }

  #sweep(desk: JobDesk): void {
    for (const session of this.#sessions) session.tick();
    for (const node of this.#byNode.keys()) this.refresh(node);
    this.#ports.metrics.queue.set(desk.queued);
    this.#count();
  }
  #count(): void {
    const { registry, metrics } = this.#ports;
    metrics.nodes.reset();
    for (const [state, n] of registry.counts()) metrics.nodes.set({ state }, n);
  }

  #handlers(): ReadonlyMap<string, FrameHandler> {
    const desk = (): JobDesk => this.#desk as JobDesk;
    const { log } = this.#ports;
    return new Map<string, FrameHandler>([
      [
        'heartbeat',
        (session, node, frame) => {
          if (Buffer.byteLength(frame.payload) > HEARTBEAT_BYTES)
            throw new FrameError(CLOSE.tooLarge, `a heartbeat has at most ${HEARTBEAT_BYTES} bytes`);
          on(zHeartbeat, (_session, _node, p) => this.heartbeat(node, p))(session, node, frame);
        },
      ],
      ['job.accept', on(zJobAccept, (_session, node, p) => desk().accepted(node, p))],
      ['job.reject', on(zJobReject, (_session, node, p) => desk().rejected(node, p, p.code))],
      ['job.delta', on(zJobDelta, (_session, node, p) => desk().delta(node, p, p.from, p.lines))],
      ['job.progress', on(zJobProgressMessage, (_session, node, p) => desk().progressed(node, p))],
      ['job.lost', on(zJobLost, (_session, node, p) => desk().lost(node, p, p.reason))],
      [
        'job.result',
        on(zJobResult, (session, node, p) => {
          const receipt = desk().result(node, p);
          if (!receipt) throw new FrameError(CLOSE.auth, 'the result inside is not signed by this node');
          session.hold(p.output.length, receipt);
          receipt.then(
            (message) => session.send('job.receipt', message),
            (error: unknown) => {
              log.error({ error, node }, 'a result could not be kept');
              session.close(CLOSE.internal, 'internal error');
            },
          );
        }),
      ],
      [
        'config.ack',
        on(zConfigAck, (_session, node, p) => {
          log.info(
            { node, version: p.version, digest: p.digest, state: p.state, reason: p.code, phase: p.step },
            'config.ack',
          );
        }),
      ],
      [
        'bye',
        on(zBye, (session, node, p) => {
          log.info({ node, reason: p.reason }, 'node said bye');
          session.close(CLOSE.bye, 'bye');
        }),
      ],
      // an error is never answered
      ['error', on(zErrorMessage, (_session, node, p) => log.warn({ node, reason: p.code }, 'node reports an error'))],
    ]);
  }
}
