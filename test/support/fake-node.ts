import { createHash } from 'node:crypto';
import { request } from 'undici';
import { WebSocket } from 'ws';
import {
  type Address,
  AUTH_HEADER,
  BEFORE_HELLO,
  type Challenge,
  type Domain,
  FrameReader,
  FrameWriter,
  type Heartbeat,
  type Hello,
  type JobOffer,
  type JobReceiptMessage,
  type JobResultMessage,
  newNonce,
  parseFrame,
  parsePayload,
  type Sha256,
  type Signer,
  SUBPROTOCOL,
  sessionId,
  sha256Hex,
  signCall,
  signStruct,
  type Welcome,
  zChallenge,
  zJobOffer,
  zJobReceipt,
  zWelcome,
} from '../../src/protocol/index.ts';
import { until } from './until.ts';

export interface FakeNodeOptions {
  /** `http://host:port` of the service. */
  readonly url: string;
  readonly domain: Domain;
  readonly signer: Signer;
  /** The network's online key. */
  readonly network: Address;
}

/** A frame of the network as it arrived, already verified. */
export interface Arrived {
  readonly t: string;
  readonly payload: string;
}

/**
 * A node reduced to the protocol: it registers, opens a socket and does what a test tells it. Nothing happens by itself but
 * that incoming frames are verified and kept.
 */
export class FakeNode {
  readonly options: FakeNodeOptions;
  readonly node: Address;
  bootId = 'boot-1';
  incarnation = 1;
  audience: string;
  /** What arrived since the last connect. */
  frames: Arrived[] = [];
  closed: { code: number; reason: string } | undefined;
  welcome: Welcome | undefined;
  /** Takes each frame instead of `frames`; welcome is set when it is called. */
  onFrame: ((frame: Arrived) => void) | undefined;
  #ws: WebSocket | undefined;
  #writer: FrameWriter | undefined;

  constructor(options: FakeNodeOptions) {
    this.options = options;
    this.node = options.signer.address;
    this.audience = new URL(options.url).host;
  }

  /** A signed call. `ts` and `nonce` may be wrong on purpose. */
  async call(
    method: 'GET' | 'POST',
    path: string,
    body: unknown,
    over: { ts?: number; nonce?: `0x${string}`; header?: string; authority?: string } = {},
    // biome-ignore lint/suspicious/noExplicitAny: tests look into answers of many forms
  ): Promise<{ status: number; json: any }> {
    const text = JSON.stringify(body);
    const call = { method, authority: over.authority ?? this.audience, path, body: text };
    const header =
      over.header ??
      signCall(this.options.domain, this.options.signer, call, over.ts ?? Date.now(), over.nonce ?? newNonce());
    const answer = await request(this.options.url + path, {
      method,
      body: text,
      headers: { [AUTH_HEADER]: header, 'content-type': 'application/json' },
    });
    return { status: answer.statusCode, json: await answer.body.json() };
  }
  register(over: Record<string, unknown> = {}) {
    return this.call('POST', '/v1/register', {
      node: this.node,
      owner: { email: 'ops@example.com' },
      metadata: { agent: '0.1.0', runtime: '0.32.0', hardware: {}, labels: {} },
      ...over,
    });
  }

  /** Opens a socket and says hello; returns when welcome or a close is there. */
  async connect(over: Partial<Hello> = {}): Promise<void> {
    const { url, domain, signer, network } = this.options;
    const ws = new WebSocket(`${url.replace(/^http/, 'ws')}/v1/nodes/connect`, SUBPROTOCOL);
    this.#ws = ws;
    this.frames = [];
    this.closed = undefined;
    this.welcome = undefined;
    const reader = new FrameReader('net', domain);
    const writer = new FrameWriter('node', domain, signer);
    this.#writer = writer;
    ws.on('message', (data) => {
      const frame = parseFrame(data.toString(), 16_777_216);
      reader.verify(frame, network);
      if (frame.t === 'challenge') {
        const challenge: Challenge = parsePayload(zChallenge, frame);
        const clientNonce = newNonce();
        const keys = { sid: sessionId(challenge.serverNonce, clientNonce, this.node), node: this.node };
        writer.rekey(keys);
        reader.rekey(BEFORE_HELLO);
        ws.send(writer.write('hello', JSON.stringify({ ...this.hello(clientNonce), ...over }), Date.now()));
        reader.rekey(keys);
      } else if (frame.t === 'welcome' && this.#ws === ws) this.welcome = parsePayload(zWelcome, frame);
      if (this.#ws !== ws) return;
      if (this.onFrame) this.onFrame({ t: frame.t, payload: frame.payload });
      else this.frames.push({ t: frame.t, payload: frame.payload });
    });
    ws.on('error', () => {});
    ws.on('close', (code, reason) => {
      if (this.#ws === ws) this.closed = { code, reason: reason.toString() };
    });
    await until('welcome or close', () => this.welcome !== undefined || this.closed !== undefined);
  }
  hello(clientNonce: `0x${string}`): Hello {
    return {
      node: this.node,
      clientNonce,
      audience: this.audience,
      bootId: this.bootId,
      incarnation: this.incarnation,
      versions: { agent: '0.1.0', runtime: '0.32.0', protocol: ['1'] },
      config: null,
      capacity: { slots: 2, queue: 2 },
      models: [],
      jobs: [],
    };
  }
  send(t: string, payload: unknown): void {
    this.#ws?.send(this.#writer?.write(t, JSON.stringify(payload), Date.now()) ?? '');
  }
  /** Sends text as it stands, signed or not. */
  sendRaw(text: string): void {
    this.#ws?.send(text);
  }
  /** Bytes that the service has not taken yet. */
  get unsent(): number {
    return this.#ws?.bufferedAmount ?? 0;
  }
  /** Cuts the socket without a word. */
  cut(): void {
    this.#ws?.terminate();
  }
  async gone(): Promise<number> {
    await until('the socket closes', () => this.closed !== undefined);
    return this.closed?.code ?? 0;
  }

  heartbeat(model: string, digest: Sha256, config: Heartbeat['config'], over: Partial<Heartbeat> = {}): Heartbeat {
    return {
      bootId: this.bootId,
      uptimeMs: 1,
      versions: { agent: '0.1.0', runtime: '0.32.0' },
      images: null,
      config,
      models: [{ model, digest, state: 'active', loaded: true }],
      hardware: {
        gpus: [{ name: 'fake', memoryMiB: 1024 }],
        memoryMiB: 1024,
        memoryUsedMiB: 1,
        disk: { totalMiB: 1024, freeMiB: 512 },
      },
      runtime: { healthy: true, phase: 'ready', running: 0, waiting: 0 },
      capacity: { slots: 2, queue: 2 },
      used: 0,
      isolation: { tier: 'sandbox', provedAt: 1 },
      clockOffsetMs: 0,
      subclouds: [],
      errors: [],
      ...over,
    };
  }

  /** The next frame of this type that was not taken yet. */
  async next(t: string): Promise<string> {
    await until(`a ${t} frame`, () => this.frames.some((f) => f.t === t));
    const at = this.frames.findIndex((f) => f.t === t);
    return this.frames.splice(at, 1)[0]?.payload ?? '';
  }
  async offer(): Promise<{ offer: JobOffer; payload: string }> {
    const payload = await this.next('job.offer');
    return { payload, offer: parsePayload(zJobOffer, { t: 'job.offer', payload }) };
  }
  async receipt(): Promise<JobReceiptMessage> {
    return parsePayload(zJobReceipt, { t: 'job.receipt', payload: await this.next('job.receipt') });
  }
  accept({ jobId, attempt }: { jobId: string; attempt: number }): void {
    this.send('job.accept', { jobId, attempt });
  }

  /** A signed result over this output. */
  result(
    offer: JobOffer,
    payload: string,
    output: string,
    over: Partial<JobResultMessage['result']> = {},
  ): JobResultMessage {
    const result: JobResultMessage['result'] = {
      jobId: offer.jobId,
      attempt: offer.attempt,
      node: this.node,
      model: offer.model,
      modelDigest: offer.modelDigest,
      configDigest: offer.configDigest,
      requestHash: sha256Hex(payload),
      outputHash: `sha256:${createHash('sha256').update(output).digest('hex')}`,
      promptTokens: 7,
      completionTokens: 3,
      finishReason: 'stop',
      finishedAt: Date.now(),
      ...over,
    };
    return { result, sig: signStruct(this.options.signer, this.options.domain, 'JobResult', result), output };
  }
  close(): void {
    this.#ws?.close();
  }
}
