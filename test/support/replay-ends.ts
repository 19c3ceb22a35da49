import type { AddressInfo } from 'node:net';
import { WebSocket, WebSocketServer } from 'ws';
import { type Inbound, Session, type SessionEnd } from '../../src/agent/session.ts';
import { openWebSocket } from '../../src/agent/socket.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { createLogger } from '../../src/lib/log.ts';
import {
  type Domain,
  FrameWriter,
  newNonce,
  parseFrame,
  parsePayload,
  type Signer,
  SUBPROTOCOL,
  sessionId,
  zChallenge,
  zHello,
} from '../../src/protocol/index.ts';
import { until } from './until.ts';

/** A node's end of a socket that signs well and may then send anything. */
export class NodeEnd {
  readonly #ws: WebSocket;
  #writer: FrameWriter | undefined;
  #seq = 0;
  challenge = '';
  readonly heard: string[] = [];
  code: number | undefined;

  private constructor(url: string) {
    this.#ws = new WebSocket(`${url.replace(/^http/, 'ws')}/v1/nodes/connect`, SUBPROTOCOL);
    this.#ws.on('message', (data) => {
      const frame = parseFrame(data.toString(), 1 << 24);
      if (frame.t === 'challenge') this.challenge = frame.payload;
      else this.heard.push(frame.t);
    });
    this.#ws.on('error', () => {});
    this.#ws.on('close', (code) => {
      this.code = code;
    });
  }
  /** Connects and waits for the challenge; says nothing. */
  static async open(url: string): Promise<NodeEnd> {
    const end = new NodeEnd(url);
    await until('the challenge', () => end.challenge !== '');
    return end;
  }
  /** @returns the signed hello, not sent */
  hello(o: { domain: Domain; signer: Signer; audience: string; incarnation: number }): string {
    const { serverNonce } = parsePayload(zChallenge, { t: 'challenge', payload: this.challenge });
    const clientNonce = newNonce();
    const node = o.signer.address;
    this.#writer = new FrameWriter('node', o.domain, o.signer, {
      sid: sessionId(serverNonce, clientNonce, node),
      node,
    });
    const { audience, incarnation } = o;
    return this.sign(
      'hello',
      JSON.stringify({
        ...{ node, clientNonce, audience, incarnation, bootId: 'boot', config: null, models: [], jobs: [] },
        versions: { agent: '0.1.0', runtime: '0.32.0', protocol: ['1'] },
        capacity: { slots: 1, queue: 1 },
      }),
    );
  }
  /** A whole handshake. */
  static async join(url: string, o: Parameters<NodeEnd['hello']>[0]): Promise<NodeEnd> {
    const end = await NodeEnd.open(url);
    end.raw(end.hello(o));
    await until('welcome', () => end.heard.includes('welcome'));
    return end;
  }
  /** The next frame of this session, signed and numbered, not sent. */
  sign(t: string, payload: string): string {
    this.#seq++;
    return this.#writer?.write(t, payload, Date.now()) ?? '';
  }
  raw(text: string): void {
    this.#ws.send(text);
  }
  /** Frames without meaning until the next one has this number, as far as that is ahead. */
  align(seq: number): void {
    while (this.#seq + 1 < seq) this.raw(this.sign('x-pad', '{}'));
  }
  /** The code with which the other end closed; undefined when it went on for `ms`. */
  async refusal(ms = 3_000): Promise<number | undefined> {
    await until('a refusal', () => this.code !== undefined, ms).catch(() => {});
    this.#ws.terminate();
    return this.code;
  }
  close(): void {
    this.#ws.terminate();
  }
}

/** What a session of the agent came to. */
export interface AgentSaw {
  readonly welcomed: boolean;
  readonly messages: readonly Inbound[];
  readonly end: SessionEnd;
}
/** The network's end that a session of the real agent speaks to. */
export interface NetworkEnd {
  send(text: string): void;
  /** The next frame of this session, signed and numbered, not sent. */
  sign(t: string, payload: string): string;
  align(seq: number): void;
  /** Resolves when the agent said hello. */
  readonly hello: Promise<void>;
}

/** The agent's real session against a network that signs well and may then send anything. */
export class AgentEnd {
  readonly #server: WebSocketServer;
  #script: ((end: NetworkEnd) => void) | undefined;
  #o: { readonly domain: Domain; readonly network: Signer };

  private constructor(server: WebSocketServer, o: { domain: Domain; network: Signer }) {
    this.#server = server;
    this.#o = o;
    server.on('connection', (ws) => this.#serve(ws));
  }
  static async listen(o: { domain: Domain; network: Signer }): Promise<AgentEnd> {
    const server = new WebSocketServer({ host: '127.0.0.1', port: 0, handleProtocols: () => SUBPROTOCOL });
    await new Promise((resolve) => server.once('listening', resolve));
    return new AgentEnd(server, o);
  }
  async close(): Promise<void> {
    for (const client of this.#server.clients) client.terminate();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  /** One session of `node`: its challenge and welcome are good unless `greet` is false, then the script goes on. */
  async session(
    o: { node: Signer; greet?: boolean; laterMs?: number; closeAfterMs?: number },
    script: (end: NetworkEnd) => void,
  ): Promise<AgentSaw> {
    const { domain, network } = this.#o;
    const messages: Inbound[] = [];
    let welcomed = false;
    this.#greet = o.greet ?? true;
    this.#script = script;
    const clock = { ...systemClock, now: () => Date.now() + (o.laterMs ?? 0) };
    const { port } = this.#server.address() as AddressInfo;
    const session = new Session({
      open: openWebSocket(`http://127.0.0.1:${port}`, {}),
      clock,
      logger: createLogger('test', 'silent'),
      domain,
      signer: o.node,
      nonce: newNonce,
      now: clock.now,
      onlineKeys: async () => [network.address],
      hello: async () => ({
        ...{ audience: 'io.example', bootId: 'boot', incarnation: 1, config: null, models: [], jobs: [] },
        versions: { agent: '0.1.0', runtime: '0.32.0', protocol: ['1'] },
        capacity: { slots: 1, queue: 1 },
      }),
      onWelcome: () => {
        welcomed = true;
      },
      onMessage: (message) => void messages.push(message),
    });
    const tooLong = setTimeout(() => session.terminate(), o.closeAfterMs ?? 3_000);
    const end = await session.done;
    clearTimeout(tooLong);
    return { welcomed, messages, end };
  }
  #greet = true;

  #serve(ws: WebSocket): void {
    const { domain, network } = this.#o;
    const script = this.#script;
    const writer = new FrameWriter('net', domain, network);
    const serverNonce = newNonce();
    let seq = 0;
    let said = (): void => {};
    const hello = new Promise<void>((resolve) => {
      said = resolve;
    });
    const end: NetworkEnd = {
      hello,
      send: (text) => ws.send(text),
      sign: (t, payload) => {
        seq++;
        return writer.write(t, payload, Date.now());
      },
      align: (to) => {
        while (seq + 1 < to) ws.send(end.sign('x-pad', '{}'));
      },
    };
    ws.on('error', () => {});
    const greet = this.#greet;
    ws.on('message', (data) => {
      const frame = parseFrame(data.toString(), 1 << 24);
      if (frame.t !== 'hello') return;
      said();
      if (!greet) return;
      const { clientNonce, node } = parsePayload(zHello, frame);
      const sid = sessionId(serverNonce, clientNonce, node);
      writer.rekey({ sid, node });
      const welcome = { sid, serverTime: Date.now(), state: 'active', protocol: ['1'], heartbeatMs: 15_000 };
      ws.send(end.sign('welcome', JSON.stringify({ ...welcome, config: null, jobs: [] })));
      script?.(end);
    });
    if (!greet) {
      script?.(end);
      return;
    }
    ws.send(end.sign('challenge', JSON.stringify({ serverNonce, limits: { frameBytes: 1_048_576 }, rootVersion: 1 })));
  }
}
