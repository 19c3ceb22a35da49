import type { z } from 'zod';
import type { Clock } from '../lib/clock.ts';
import { errorText } from '../lib/errors.ts';
import type { Logger } from '../lib/log.ts';
import {
  type Address,
  BEFORE_HELLO,
  CLOSE,
  type Domain,
  FrameError,
  FrameReader,
  FrameWriter,
  type Hello,
  type Hex32,
  type ParsedFrame,
  parseFrame,
  parsePayload,
  type SessionKeys,
  type Signer,
  sessionId,
  type Welcome,
  zBye,
  zChallenge,
  zConfigNotice,
  zControl,
  zErrorMessage,
  zJobCancel,
  zJobOffer,
  zJobReceipt,
  zWelcome,
} from '../protocol/index.ts';
import { fitJobs } from './fit-jobs.ts';
import type { OpenSocket, SocketPort } from './socket.ts';

/** Every type that the network may send after welcome, with its schema. */
const INBOUND = {
  'job.offer': zJobOffer,
  'job.cancel': zJobCancel,
  'job.receipt': zJobReceipt,
  'config.notice': zConfigNotice,
  control: zControl,
  error: zErrorMessage,
  bye: zBye,
} as const;
export type InboundType = keyof typeof INBOUND;
export type Inbound = {
  [T in InboundType]: {
    readonly t: T;
    readonly body: z.infer<(typeof INBOUND)[T]>;
    /** The exact payload text: what requestHash is made of. */
    readonly payload: string;
    /** The sender's clock, ms. */
    readonly ts: number;
  };
}[InboundType];
const NODE_TYPES = [
  ...['hello', 'heartbeat', 'job.accept', 'job.reject', 'job.delta', 'job.progress', 'job.result', 'job.lost'],
  'config.ack',
];

/** Why a session ended. `own` = this end closed it: then the code is never terminal (§6). */
export interface SessionEnd {
  readonly code: number;
  readonly own: boolean;
  readonly reason: string;
  readonly welcomed: boolean;
  readonly retryAfterMs?: number;
}

export interface SessionOptions {
  readonly open: OpenSocket;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly domain: Domain;
  readonly signer: Signer;
  readonly nonce: () => Hex32;
  /** The wall time that frames carry: server time once known. */
  readonly now: () => number;
  /** Walks the roots up to `rootVersion` and gives the online keys of the newest one held. */
  readonly onlineKeys: (rootVersion: number) => Promise<readonly Address[]>;
  /** The body of hello, built at the last moment; sid and nonce are the session's. */
  readonly hello: () => Promise<Omit<Hello, 'node' | 'clientNonce'>>;
  /** `sentAt`: monotonic time when hello left. */
  readonly onWelcome: (welcome: Welcome, session: Session, sentAt: number) => void;
  readonly onMessage: (message: Inbound, session: Session) => void;
}

const CEILING = 16 << 20;
const HEADER = 400; // a header is below that
const QUEUE_FRAMES = 64;
const QUEUE_BYTES = 4 << 20;
const PING_AFTER_MS = 15_000;
const WATCH_MS = 1_000;
/** A silent socket is dead within 40 s: by the last look before they are over. */
const DEAD_AFTER_MS = 40_000 - WATCH_MS;
const HIGH_WATER = 1 << 20;
const LOW_WATER = 256 << 10;
const SLOW_BYTES = 8 << 20;
const SLOW_MS = 10_000;

/**
 * One socket = one session: challenge → hello → welcome, then signed, numbered frames both ways. Frames are handled one at
 * a time in order; nothing is believed before its signature held; a frame that breaks the protocol closes the socket with
 * the code of §6. `done` resolves once, when the socket is gone and every timer of the session is too.
 */
export class Session {
  readonly done: Promise<SessionEnd>;
  readonly #o: SessionOptions;
  readonly #log: Logger;
  readonly #socket: SocketPort;
  readonly #writer: FrameWriter;
  readonly #reader: FrameReader;
  readonly #stop = new AbortController();
  readonly #queue: string[] = [];
  readonly #unknown = new Set<string>();
  #queued = 0;
  #paused = false;
  #pumping = false;
  #phase: 'opening' | 'challenged' | 'hello' | 'welcomed' | 'closing' = 'opening';
  #frameBytes = CEILING;
  #keys: readonly Address[] = [];
  #session: { readonly nonce: Hex32; readonly keys: SessionKeys; readonly sentAt: number } | null = null;
  #heard: number;
  #own: { readonly code: number; readonly reason: string } | null = null;
  #bye: number | undefined;
  #welcomed = false;
  #finish: (end: SessionEnd) => void = () => {};

  constructor(options: SessionOptions) {
    this.#o = options;
    this.#log = options.logger;
    this.#heard = options.clock.monotonic();
    this.#writer = new FrameWriter('node', options.domain, options.signer);
    this.#reader = new FrameReader('net', options.domain);
    this.done = new Promise((resolve) => {
      this.#finish = resolve;
    });
    this.#socket = options.open(
      {
        opened: () => this.#alive(),
        alive: () => this.#alive(),
        message: (text) => this.#arrived(text),
        closed: (code, status, why) => this.#closed(code, status, why),
      },
      CEILING,
    );
    void this.#watch();
    void this.#expectWithin('challenge', 15_000, () => this.#phase !== 'opening');
  }

  /** True between welcome and the close of the socket. */
  get open(): boolean {
    return this.#phase === 'welcomed';
  }
  /** The online key that signs this session; undefined before welcome. */
  get signer(): Address | undefined {
    return this.#welcomed ? this.#keys[0] : undefined;
  }
  /** The largest frame that the network takes. */
  get frameBytes(): number {
    return this.#frameBytes;
  }

  /** Signs and sends one frame; false when the session is not open or the frame would be too large. */
  send(t: string, payload: string | object): boolean {
    if (this.#phase !== 'welcomed') return false;
    return this.#send(t, typeof payload === 'string' ? payload : JSON.stringify(payload));
  }

  /** True while so much is waiting to be sent that reading of the engine should stop. */
  get congested(): boolean {
    return this.#socket.buffered() >= HIGH_WATER;
  }

  /** Resolves at once while little is buffered; above 1 MiB when it has fallen to 256 KiB, or the session ended. */
  async writable(): Promise<void> {
    if (!this.congested) return;
    while (this.#socket.buffered() > LOW_WATER && !this.#stop.signal.aborted)
      await this.#o.clock.sleep(20, this.#stop.signal).catch(() => {});
  }

  /** Closes from this end, and terminates when the other does not answer in time. */
  close(code: number, reason: string): void {
    if (this.#own || this.#stop.signal.aborted) return;
    this.#own = { code, reason };
    this.#phase = 'closing';
    this.#socket.close(code, reason);
    void this.#o.clock.sleep(code === CLOSE.slow ? 1_000 : 3_000, this.#stop.signal).then(
      () => this.#socket.terminate(),
      () => {},
    );
  }

  /** Ends the socket at once. */
  terminate(): void {
    this.#own ??= { code: CLOSE.bye, reason: 'terminated' };
    this.#socket.terminate();
  }

  /** bye, then close 4000. */
  bye(reason: 'drained' | 'restart' | 'shutdown'): void {
    this.send('bye', { reason });
    this.close(CLOSE.bye, reason);
  }

  #send(t: string, payload: string): boolean {
    if (Buffer.byteLength(payload) + HEADER > this.#frameBytes) return false;
    this.#socket.send(this.#writer.write(t, payload, this.#o.now()));
    if (this.#socket.buffered() >= SLOW_BYTES) this.close(CLOSE.slow, 'outbound backlog');
    return true;
  }

  #alive(): void {
    this.#heard = this.#o.clock.monotonic();
  }

  #arrived(text: string): void {
    this.#queue.push(text);
    this.#queued += text.length;
    if (!this.#paused && (this.#queue.length >= QUEUE_FRAMES || this.#queued >= QUEUE_BYTES)) {
      this.#paused = true;
      this.#socket.pause();
    }
    if (!this.#pumping) void this.#pump();
  }

  async #pump(): Promise<void> {
    this.#pumping = true;
    try {
      for (let text = this.#queue.shift(); text !== undefined; text = this.#queue.shift()) {
        this.#queued -= text.length;
        if (this.#phase !== 'closing') await this.#handle(text);
        if (this.#paused && this.#queue.length < QUEUE_FRAMES / 2 && this.#queued < QUEUE_BYTES / 2) {
          this.#paused = false;
          this.#socket.resume();
        }
      }
    } catch (error) {
      const code = error instanceof FrameError ? error.closeCode : CLOSE.internal;
      this.#log.warn({ error, code }, 'session closed: the frame is not acceptable');
      this.close(code, error instanceof FrameError ? error.message : 'internal');
    } finally {
      this.#pumping = false;
    }
  }

  async #handle(text: string): Promise<void> {
    const frame = parseFrame(text, this.#frameBytes);
    switch (this.#phase) {
      case 'opening':
        return this.#challenge(frame);
      case 'hello':
        return this.#welcome(frame);
      case 'welcomed':
        this.#reader.verify(frame, this.#keys[0] as Address);
        return this.#dispatch(frame);
      default:
        throw new FrameError(CLOSE.badFrame, `${frame.t} before its time`);
    }
  }

  /** A frame of one of several possible signers: keeps the one that signed for the rest of the session. */
  #verifyAny(frame: ParsedFrame, keys: SessionKeys): void {
    let last: unknown = new FrameError(CLOSE.auth, 'no online key is known');
    for (const key of this.#keys) {
      try {
        this.#reader.verify(frame, key, keys);
        this.#keys = [key];
        return;
      } catch (error) {
        if (error instanceof FrameError && error.closeCode === CLOSE.sequence) throw error;
        last = error;
      }
    }
    throw last;
  }

  async #challenge(frame: ParsedFrame): Promise<void> {
    if (frame.t === 'bye' || frame.t === 'error') {
      this.#keys = await this.#o.onlineKeys(0);
      this.#verifyAny(frame, BEFORE_HELLO);
      return this.#dispatch(frame);
    }
    if (frame.t !== 'challenge') throw new FrameError(CLOSE.badFrame, `${frame.t} before challenge`);
    const challenge = parsePayload(zChallenge, frame);
    this.#phase = 'challenged';
    this.#keys = await this.#o.onlineKeys(challenge.rootVersion);
    this.#verifyAny(frame, BEFORE_HELLO);
    this.#frameBytes = challenge.limits.frameBytes;
    const body = await this.#o.hello();
    if (this.#stop.signal.aborted || this.#own) return;
    const node = this.#o.signer.address;
    const nonce = this.#o.nonce();
    const keys = { sid: sessionId(challenge.serverNonce, nonce, node), node };
    this.#session = { nonce, keys, sentAt: this.#o.clock.monotonic() };
    this.#writer.rekey(keys);
    this.#phase = 'hello';
    const hello = fitJobs({ node, clientNonce: nonce, ...body }, this.#frameBytes - HEADER);
    this.#send('hello', JSON.stringify(hello));
    void this.#expectWithin('welcome', 20_000, () => this.#phase !== 'hello');
  }

  async #welcome(frame: ParsedFrame): Promise<void> {
    const session = this.#session;
    if (!session) throw new FrameError(CLOSE.internal, 'no hello was sent');
    const signer = this.#keys[0] as Address;
    if (frame.t === 'error' || frame.t === 'bye') {
      // the network signs these with the empty session until it has verified our hello
      try {
        this.#reader.verify(frame, signer, BEFORE_HELLO);
      } catch {
        this.#reader.verify(frame, signer, session.keys);
      }
      return this.#dispatch(frame);
    }
    if (frame.t !== 'welcome') throw new FrameError(CLOSE.badFrame, `${frame.t} before welcome`);
    this.#reader.verify(frame, signer, session.keys);
    this.#reader.rekey(session.keys);
    const welcome = parsePayload(zWelcome, frame);
    if (welcome.sid !== session.keys.sid) throw new FrameError(CLOSE.auth, 'welcome names another session');
    this.#phase = 'welcomed';
    this.#welcomed = true;
    this.#o.onWelcome(welcome, this, session.sentAt);
  }

  #dispatch(frame: ParsedFrame): void {
    if (!Object.hasOwn(INBOUND, frame.t)) {
      this.#unknownType(frame.t);
      return;
    }
    const t = frame.t as InboundType;
    const body = parsePayload(INBOUND[t] as z.ZodType, frame);
    const message = { t, body, payload: frame.payload, ts: frame.ts } as Inbound;
    if (message.t === 'bye') this.#bye = message.body.retryAfterMs;
    this.#o.onMessage(message, this);
  }

  /** Experimental types are ignored; others are answered once each, at most 16 a session. */
  #unknownType(t: string): void {
    if (NODE_TYPES.includes(t) || t === 'challenge' || t === 'welcome')
      throw new FrameError(CLOSE.badFrame, `${t} is out of place`);
    if (t.startsWith('x-') || this.#unknown.has(t) || this.#unknown.size >= 16) return;
    this.#unknown.add(t);
    this.send('error', { code: 'unknown_type', message: t });
  }

  async #expectWithin(what: string, ms: number, met: () => boolean): Promise<void> {
    await this.#o.clock.sleep(ms, this.#stop.signal).catch(() => {});
    if (!this.#stop.signal.aborted && !met()) {
      this.#own ??= { code: CLOSE.noPong, reason: `no ${what} in time` };
      this.#socket.terminate();
    }
  }

  /** Liveness on the monotonic clock, and the outbound backlog. */
  async #watch(): Promise<void> {
    const { clock } = this.#o;
    const signal = this.#stop.signal;
    let slowSince: number | null = null;
    let pinged = Number.NEGATIVE_INFINITY;
    try {
      for (;;) {
        await clock.sleep(WATCH_MS, signal);
        const now = clock.monotonic();
        const silent = now - this.#heard;
        if (silent >= DEAD_AFTER_MS) {
          this.#own ??= { code: CLOSE.noPong, reason: 'nothing heard for 40 s' };
          this.#socket.terminate();
        } else if (silent >= PING_AFTER_MS && now - pinged >= PING_AFTER_MS) {
          pinged = now;
          this.#socket.ping();
        }
        slowSince = this.#socket.buffered() >= HIGH_WATER ? (slowSince ?? now) : null;
        if (slowSince !== null && now - slowSince >= SLOW_MS) this.close(CLOSE.slow, 'outbound stalled');
      }
    } catch (error) {
      if (!signal.aborted) this.#log.error({ error: errorText(error) }, 'session watch failed');
    }
  }

  #closed(code: number, upgradeStatus?: number, why = 'closed by the network'): void {
    if (this.#stop.signal.aborted) return;
    this.#phase = 'closing';
    this.#stop.abort();
    this.#queue.length = 0;
    const upgrade = upgradeStatus === undefined ? undefined : { 401: 4401, 403: 4403, 426: 4426 }[upgradeStatus];
    const end = this.#own
      ? { code: this.#own.code, own: true, reason: this.#own.reason }
      : {
          code: upgrade ?? code,
          own: false,
          reason: upgradeStatus === undefined ? why : `upgrade answered ${upgradeStatus}`,
        };
    this.#finish({
      ...end,
      welcomed: this.#welcomed,
      ...(this.#bye === undefined ? {} : { retryAfterMs: this.#bye }),
    });
  }
}
