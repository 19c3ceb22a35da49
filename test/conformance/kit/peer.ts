import type { WebSocket } from 'ws';
import { type Json, ZERO_ADDRESS, ZERO32 } from './bytes.ts';
import { type Frame, frameSigner, readFrame, type Side, writeFrame } from './frame.ts';
import type { Domain, Key } from './sign.ts';

export interface PeerOptions {
  readonly socket: WebSocket;
  readonly side: Side;
  readonly domain: Domain;
  readonly key: Key;
  /** Whether this address may sign what the other side sends. */
  readonly trusted: (signer: string) => boolean;
}
/** Ways to send a frame that is not the next good one. */
export interface Misbehaviour {
  readonly seq?: number;
  readonly ts?: number;
  readonly sid?: string;
  readonly key?: Key;
  readonly side?: Side;
  /** What stands in place of the good signature; undefined leaves it out. */
  readonly spoil?: (sig: string) => string | undefined;
}
export interface Closed {
  readonly code: number;
  readonly reason: string;
}

/**
 * One end of a socket. What comes in is checked (form, seq, signature) and kept; what breaks a rule is kept in `problems`
 * instead of an exception, so that a report can name it. What goes out is right unless a case asks otherwise.
 */
export class Peer {
  readonly socket: WebSocket;
  readonly problems: string[] = [];
  readonly frames: (Frame & { readonly at: number })[] = [];
  readonly closed: Promise<Closed>;
  closeCode: Closed | undefined;
  pings = 0;
  node = ZERO_ADDRESS;
  sid = ZERO32;
  sent = 0;
  lastSent = '';
  #seen = 0;
  readonly #taken = new Set<Frame>();
  readonly #options: PeerOptions;
  #wake = Promise.withResolvers<void>();

  constructor(options: PeerOptions) {
    this.#options = options;
    this.socket = options.socket;
    this.socket.on('message', (data, binary) => {
      if (binary) this.problems.push('a binary message');
      else this.#take(String(data));
    });
    this.socket.on('ping', () => this.pings++);
    this.socket.on('error', () => {});
    this.closed = new Promise((resolve) => {
      this.socket.on('close', (code, reason) => {
        this.closeCode = { code, reason: String(reason) };
        resolve(this.closeCode);
        this.#stir();
      });
    });
  }

  #stir(): void {
    this.#wake.resolve();
    this.#wake = Promise.withResolvers();
  }

  #take(text: string): void {
    try {
      const frame = readFrame(text);
      const { t, seq } = frame.header;
      if (seq !== this.#seen + 1) this.problems.push(`${t}: seq ${seq} after ${this.#seen}`);
      const other: Side = this.#options.side === 'net' ? 'node' : 'net';
      // A node's first frame carries the keys that it makes; the network's error and bye may come before it trusts them.
      if (t === 'hello' && other === 'node') this.onHello?.(frame);
      const by = (node: string, sid: string): string | undefined =>
        frameSigner({ domain: this.#options.domain, side: other, node, sid }, frame);
      const trusted = (signer: string | undefined): boolean => signer !== undefined && this.#options.trusted(signer);
      const early = (t === 'error' || t === 'bye') && other === 'net' && trusted(by(ZERO_ADDRESS, ZERO32));
      if (!early && !trusted(by(this.node, this.sid)))
        this.problems.push(`${t} (seq ${seq}) is not signed by the other side under this session`);
      this.#seen = seq;
      this.frames.push({ ...frame, at: performance.now() });
      this.#stir();
      this.onFrame?.(frame);
    } catch (error) {
      this.problems.push(`${(error as Error).message}: ${text.slice(0, 200)}`);
    }
  }
  /** Called with a node's hello before its signature is judged: the place to set node and sid. */
  onHello?: (frame: Frame) => void;
  /** Called with every frame, also those that a case waits for. */
  onFrame?: (frame: Frame) => void;

  /** Sends a frame; returns its text. Without misbehaviour it is the next of this session. */
  send(t: string, body: Json | string, wrong: Misbehaviour = {}): string {
    const seq = wrong.seq ?? this.sent + 1;
    this.sent = seq;
    const { domain, side, key } = this.#options;
    const keys = { domain, side: wrong.side ?? side, node: this.node, sid: wrong.sid ?? this.sid };
    const payload = typeof body === 'string' ? body : JSON.stringify(body);
    let text = writeFrame(wrong.key ?? key, keys, t, seq, wrong.ts ?? Date.now(), payload);
    if (wrong.spoil) {
      const [header = '', rest = ''] = [text.slice(0, text.indexOf('\n')), text.slice(text.indexOf('\n') + 1)];
      const parsed = JSON.parse(header);
      text = `${JSON.stringify({ ...parsed, sig: wrong.spoil(parsed.sig) })}\n${rest}`;
    }
    this.lastSent = text;
    if (this.socket.readyState === this.socket.OPEN) this.socket.send(text);
    return text;
  }

  /** The first frame that matches and that no earlier call took; `t` may name several types, `a|b`. */
  async next(t: string, ms = 5_000, matches: (body: Json) => boolean = () => true): Promise<Frame & { at: number }> {
    const found = await this.maybe(t, ms, matches);
    if (found) return found;
    const had = this.frames.slice(-8).map((frame) => frame.header.t);
    const end = this.closeCode ? `; the socket closed with ${this.closeCode.code} ${this.closeCode.reason}` : '';
    throw new Error(`no ${t} within ${ms} ms (last frames: ${had.join(', ') || 'none'}${end})`);
  }
  /** As next, undefined when it does not come. */
  async maybe(
    t: string,
    ms: number,
    matches: (body: Json) => boolean = () => true,
  ): Promise<(Frame & { at: number }) | undefined> {
    const end = performance.now() + ms;
    for (;;) {
      const found = this.frames.find(
        (f) => t.split('|').includes(f.header.t) && !this.#taken.has(f) && matches(f.body),
      );
      if (found) {
        this.#taken.add(found);
        return found;
      }
      const left = end - performance.now();
      if (left <= 0 || this.closeCode) return undefined;
      await within(this.#wake.promise, left);
    }
  }
  /** The code with which the other side closes; an error when it does not. */
  async closeWithin(ms: number): Promise<Closed> {
    const closed = await within(this.closed, ms);
    if (!closed) throw new Error(`still open after ${ms} ms`);
    return closed;
  }
  async close(code = 1000, reason = ''): Promise<void> {
    if (this.socket.readyState === this.socket.OPEN) this.socket.close(code, reason);
    if (await within(this.closed, 2_000)) return;
    this.socket.terminate();
    await this.closed;
  }
}

/** The promise's value, or undefined after `ms`; the timer does not outlive it. */
export const within = async <T>(promise: Promise<T>, ms: number): Promise<T | undefined> => {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<undefined>((resolve) => {
    timer = setTimeout(() => resolve(undefined), ms);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
};
export const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
