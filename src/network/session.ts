import type { z } from 'zod';
import type { Clock } from '../lib/clock.ts';
import type { ParsedFrame } from '../protocol/index.ts';
import {
  type Address,
  CLOSE,
  type CloseCode,
  type Domain,
  FrameError,
  FrameReader,
  FrameWriter,
  type Hello,
  PROTOCOL_VERSION,
  parseFrame,
  parsePayload,
  type Signer,
  sessionId,
  type Welcome,
  zHello,
} from '../protocol/index.ts';
import { type Random, random32 } from './random.ts';

/** A socket as a session needs it. */
export interface Wire {
  send(text: string): void;
  ping(): void;
  close(code: number, reason?: string): void;
  /** Cuts it without a close frame. */
  terminate(): void;
  /** Bytes accepted by `send` that the peer has not taken. */
  buffered(): number;
  /** Nothing is read until `resume`: the peer's own buffers fill up. */
  pause(): void;
  resume(): void;
}

/** What the service decides for its sessions. */
export interface SessionHost {
  readonly domain: Domain;
  readonly signer: Signer;
  readonly clock: Clock;
  readonly random: Random;
  readonly frameBytes: number;
  readonly audiences: readonly string[];
  /** By frame type; a type that is not here is unknown. */
  readonly handlers: ReadonlyMap<string, FrameHandler>;
  rootVersion(): number;
  /** Throws FrameError 4403 for a node that may open no socket. */
  mayConnect(node: Address): void;
  /** A hello whose signature held: supersedes, reconciles. Throws FrameError 4409. */
  welcome(session: Session, hello: Hello): Omit<Welcome, 'sid' | 'protocol' | 'serverTime'>;
  gone(session: Session): void;
  refused(reason: string, error: FrameError): void;
}

const PING_MS = 15_000;
/** Ticks are a second apart, and a silent socket is dead within 40 s: by the last tick before they are over. */
const DEAD_MS = 39_000;
const HELLO_MS = 5_000;
const SLOW_BYTES = 8 * 1_048_576;
const SLOW_MS = 10_000;
/** Frames that are being answered, and their bytes, at which nothing more is read (docs/protocol.md §5). */
const HELD_FRAMES = 64;
const HELD_BYTES = 4 * 1_048_576;
const UNKNOWN_TYPES = 16;

const NET_TYPES = ['challenge', 'welcome', 'job.offer', 'job.cancel', 'job.receipt', 'config.notice', 'control'];

/**
 * One socket of one node: challenge, hello, welcome, then signed frames in sequence (docs/protocol.md §3, §6). Owns no
 * timer: the host calls `tick` about every second. After `close` nothing is sent or read any more.
 */
export class Session {
  readonly #host: SessionHost;
  readonly #wire: Wire;
  readonly #serverNonce: `0x${string}`;
  readonly #writer: FrameWriter;
  readonly #reader: FrameReader;
  readonly #openedAt: number;
  readonly #unknown = new Set<string>();
  readonly #held = { frames: 0, bytes: 0 };
  /** What is sent once that is durable on which it rests. */
  #outbox: (() => void)[] | undefined;
  #hello: Hello | undefined;
  /** What welcome told as server time, and when. */
  #told: { readonly wall: number; readonly at: number } | undefined;
  #closed = false;
  #closingAt: number | undefined;
  #heardAt: number;
  #pingedAt: number;
  #stalledAt: number | undefined;

  constructor(host: SessionHost, wire: Wire) {
    this.#host = host;
    this.#wire = wire;
    this.#serverNonce = random32(host.random);
    this.#writer = new FrameWriter('net', host.domain, host.signer);
    this.#reader = new FrameReader('node', host.domain);
    this.#openedAt = this.#heardAt = this.#pingedAt = host.clock.monotonic();
    this.send('challenge', {
      serverNonce: this.#serverNonce,
      limits: { frameBytes: host.frameBytes },
      rootVersion: host.rootVersion(),
    });
  }

  /** The node, once its hello held. */
  get hello(): Hello | undefined {
    return this.#hello;
  }
  get closed(): boolean {
    return this.#closed;
  }

  /**
   * Wall time of a monotonic moment (default now) as the node knows it: it runs on from what welcome told, so that a wall
   * clock that is set in mid-session makes no offer late and no order old (docs/faults.md I12).
   */
  timeAt(monotonic: number = this.#host.clock.monotonic()): number {
    const { clock } = this.#host;
    const { wall, at } = this.#told ?? { wall: clock.now(), at: clock.monotonic() };
    return Math.round(wall + monotonic - at);
  }
  /** True when a payload of this size fits into one frame of this session. */
  fits(payload: string): boolean {
    return Buffer.byteLength(payload) + 512 <= this.#host.frameBytes;
  }
  /** Signs and sends; `payload` is sent as it stands when it is text. */
  send(t: string, payload: object | string): void {
    if (this.#closed) return;
    if (this.#outbox) {
      this.#outbox.push(() => this.send(t, payload));
      return;
    }
    const text = typeof payload === 'string' ? payload : JSON.stringify(payload);
    this.#wire.send(this.#writer.write(t, text, this.timeAt()));
    // here too, as a peer that asks much and reads nothing could have us hold more than that between two ticks
    if (this.#wire.buffered() >= SLOW_BYTES) this.close(CLOSE.slow, 'the peer reads too slowly');
  }
  /** Nothing is sent until `kept` resolves; when it rejects the session ends. */
  holdBack(kept: Promise<void>): void {
    this.#outbox ??= [];
    kept.then(
      () => {
        const outbox = this.#outbox ?? [];
        this.#outbox = undefined;
        for (const send of outbox) send();
      },
      () => {
        this.#outbox = undefined;
        this.close(CLOSE.internal, 'internal error');
      },
    );
  }
  /** Something of this session is being worked on, and held in memory until then: with too much of it nothing is read. */
  hold(bytes: number, work: Promise<unknown>): void {
    const over = (): boolean => this.#held.frames >= HELD_FRAMES || this.#held.bytes >= HELD_BYTES;
    this.#held.frames++;
    this.#held.bytes += bytes;
    if (over()) this.#wire.pause();
    const free = (): void => {
      const was = over();
      this.#held.frames--;
      this.#held.bytes -= bytes;
      if (was && !over()) this.#wire.resume();
    };
    work.then(free, free);
  }
  close(code: CloseCode, reason: string): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#closingAt = this.#host.clock.monotonic();
    this.#wire.close(code, reason.slice(0, 100));
    this.#host.gone(this);
  }

  /** Any byte of the peer counts as life. */
  heard(): void {
    this.#heardAt = this.#host.clock.monotonic();
  }
  received(message: string): void {
    this.heard();
    if (this.#closed) return;
    try {
      const frame = parseFrame(message, this.#host.frameBytes);
      if (this.#hello) this.#frame(frame, this.#hello);
      else this.#greet(frame);
    } catch (error) {
      if (!(error instanceof FrameError)) throw error;
      this.refuse(error);
    }
  }
  /** A message that was no text. */
  refuse(error: FrameError): void {
    this.#host.refused(reasonOf(error), error);
    this.close(error.closeCode, error.message);
  }
  /** The socket is gone, by whomever. */
  ended(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#host.gone(this);
  }

  tick(): void {
    const now = this.#host.clock.monotonic();
    if (this.#closed) {
      if (this.#closingAt !== undefined && now - this.#closingAt > 1_000) this.#wire.terminate();
      return;
    }
    if (!this.#hello && now - this.#openedAt > HELLO_MS) {
      this.refuse(new FrameError(CLOSE.auth, 'no hello within 5 s'));
      return;
    }
    if (now - this.#heardAt >= DEAD_MS) {
      this.ended();
      this.#wire.terminate();
      return;
    }
    if (now - this.#heardAt > PING_MS && now - this.#pingedAt > PING_MS) {
      this.#pingedAt = now;
      this.#wire.ping();
    }
    const buffered = this.#wire.buffered();
    if (buffered === 0) this.#stalledAt = undefined;
    else this.#stalledAt ??= now;
    if (buffered >= SLOW_BYTES || (this.#stalledAt !== undefined && now - this.#stalledAt > SLOW_MS))
      this.close(CLOSE.slow, 'the peer reads too slowly');
  }

  /** Everything before hello is its own proof: node and nonce come from the payload that they then sign. */
  #greet(frame: ParsedFrame): void {
    if (frame.t === 'bye') {
      this.close(CLOSE.bye, 'bye');
      return;
    }
    if (frame.t !== 'hello') throw new FrameError(CLOSE.badFrame, 'the first frame is hello');
    const hello = parsePayload(zHello, frame);
    this.#host.mayConnect(hello.node);
    const keys = { sid: sessionId(this.#serverNonce, hello.clientNonce, hello.node), node: hello.node };
    this.#reader.verify(frame, hello.node, keys);
    if (!this.#host.audiences.includes(hello.audience))
      throw new FrameError(CLOSE.auth, 'hello is addressed to another network');
    if (!hello.versions.protocol.includes(PROTOCOL_VERSION))
      throw new FrameError(CLOSE.version, `this network speaks protocol ${PROTOCOL_VERSION}`);
    const welcome = this.#host.welcome(this, hello);
    this.#reader.rekey(keys);
    this.#writer.rekey(keys);
    this.#hello = hello;
    const greet = (): void => {
      this.#told = { wall: this.#host.clock.now(), at: this.#host.clock.monotonic() };
      const { sid } = keys;
      this.send('welcome', { sid, serverTime: this.#told.wall, protocol: [PROTOCOL_VERSION], ...welcome });
    };
    if (this.#outbox) this.#outbox.unshift(greet);
    else greet();
  }

  #frame(frame: ParsedFrame, hello: Hello): void {
    this.#reader.verify(frame, hello.node);
    if (frame.t === 'hello') throw new FrameError(CLOSE.badFrame, 'a second hello');
    if (NET_TYPES.includes(frame.t)) throw new FrameError(CLOSE.badFrame, `${frame.t} is not for a node to send`);
    const handler = this.#host.handlers.get(frame.t);
    if (handler) handler(this, hello.node, frame);
    else this.#unknownType(frame.t);
  }

  #unknownType(t: string): void {
    if (t.startsWith('x-') || this.#unknown.has(t) || this.#unknown.size >= UNKNOWN_TYPES) return;
    this.#unknown.add(t);
    this.send('error', { code: 'unknown_type', message: t });
  }
}

/** What a service does with one type of frame, after its signature held. */
export type FrameHandler = (session: Session, node: Address, frame: ParsedFrame) => void;

/** A handler of payloads that match `schema`; others close 4400. */
export const on =
  <T>(schema: z.ZodType<T>, run: (session: Session, node: Address, payload: T) => void): FrameHandler =>
  (session, node, frame) =>
    run(session, node, parsePayload(schema, frame));

const reasonOf = (error: FrameError): string => {
  switch (error.closeCode) {
    case CLOSE.auth:
      return 'auth';
    case CLOSE.sequence:
      return 'sequence';
    case CLOSE.forbidden:
      return 'forbidden';
    case CLOSE.superseded:
      return 'superseded';
    default:
      return 'bad_frame';
  }
};
