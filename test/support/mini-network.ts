import { createHash } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type WebSocket, WebSocketServer } from 'ws';
import {
  type Address,
  authorityOf,
  BEFORE_HELLO,
  FrameReader,
  FrameWriter,
  type Hello,
  type JobOffer,
  type JobReceiptStruct,
  type JobResultMessage,
  modelDigest,
  newNonce,
  parseAuth,
  parseFrame,
  parsePayload,
  resultHash,
  type Sha256,
  type Signer,
  sessionId,
  signStruct,
  verifyCall,
  verifyStruct,
  zHello,
  zJobResult,
} from '../../src/protocol/index.ts';
import { SignerKit } from './signer-kit.ts';

/** One frame that a node sent, its payload parsed. */
export interface Heard {
  readonly t: string;
  // biome-ignore lint/suspicious/noExplicitAny: a test looks into payloads freely
  readonly body: any;
  readonly payload: string;
}

/** The model that the mini network serves: small, with real bytes and a digest that holds. */
export const MINI_MODEL = 'tiny:v1';
const MODEL_BYTES = Buffer.from('these are the weights of a very small model');

/**
 * A double of the IO service, small and strict: verifies every signature, speaks protocol v1 over loopback, and does what
 * the test tells it. Not the reference implementation (that is src/network); written from docs/protocol.md alone.
 */
export class MiniNetwork {
  readonly kit = new SignerKit();
  readonly heard: Heard[] = [];
  readonly calls: { readonly path: string; readonly body: string; readonly authorization: string | undefined }[] = [];
  readonly results: string[] = [];
  /** Close codes of the sockets that ended. */
  readonly closes: number[] = [];
  readonly logs: string[] = [];
  hello: Hello | null = null;
  /** What welcome tells. */
  state = 'registered';
  /** State that register answers. */
  registerState = 'registered';
  heartbeatMs = 15_000;
  /** Jobs that welcome lists as still wanted; null = all that hello named, from the lines held. */
  wanted: { jobId: string; attempt: number; deltas: number }[] | null = null;
  /** When false, sockets are cut as soon as they are open; HTTP goes on. */
  sockets = true;
  /** When false, results stay without a receipt. */
  receipts = true;
  /** Lines held per `attempt jobId`. */
  readonly lines = new Map<string, string[]>();
  /** What the model file's URL answers. */
  modelBytes: Buffer = MODEL_BYTES;
  /** Added to serverTime and to the clock by which calls are judged. */
  skewMs = 0;
  sessions = 0;
  #server: Server | null = null;
  #wss: WebSocketServer | null = null;
  #ws: WebSocket | null = null;
  #writer: FrameWriter | null = null;
  #port = 0;
  #node: Address | null = null;
  readonly #nonces = new Set<string>();

  get endpoint(): string {
    return `http://127.0.0.1:${this.#port}`;
  }
  get online(): Signer {
    return this.kit.keys.ticket[0] as Signer;
  }
  get connected(): boolean {
    return this.#writer !== null;
  }
  get now(): number {
    return Date.now() + this.skewMs;
  }

  async listen(port = 0): Promise<this> {
    this.kit.now = Date.now();
    this.#server = createServer((request, response) => void this.#http(request, response));
    this.#wss = new WebSocketServer({ server: this.#server, handleProtocols: () => 'resultity.v1' });
    this.#wss.on('connection', (ws) => this.#connection(ws));
    await new Promise<void>((resolve) => this.#server?.listen(port, '127.0.0.1', resolve));
    this.#port = (this.#server.address() as AddressInfo).port;
    if (!this.kit.current) this.publish();
    return this;
  }
  async close(): Promise<void> {
    this.drop();
    this.#server?.closeAllConnections();
    await new Promise<void>((resolve) => {
      if (this.#server) this.#server.close(() => resolve());
      else resolve();
    });
    this.#server = null;
  }
  /** Stops and starts on the same port, with the session memory wiped. */
  async restart(): Promise<void> {
    await this.close();
    await this.listen(this.#port);
  }

  model(over: Record<string, unknown> = {}): Record<string, unknown> {
    const sha256 = createHash('sha256').update(MODEL_BYTES).digest('hex');
    const files = [{ path: 'model.safetensors', size: MODEL_BYTES.length, sha256 }];
    return {
      name: 'tiny',
      version: 'v1',
      digest: modelDigest(files),
      state: 'active',
      tasks: ['chat.completions', 'completions', 'embeddings'],
      files,
      sources: [`${this.endpoint}/files/`],
      engine: { name: 'vllm', minVersion: '0.18.0', args: { 'max-model-len': 2048, 'max-num-seqs': 2 } },
      requires: { gpus: 1, gpuMemoryMiB: 1, diskMiB: 1 },
      test: {
        request: {
          messages: [{ role: 'user', content: 'What is the capital of France?' }],
          temperature: 0,
          max_tokens: 24,
        },
        expect: { contains: 'Paris' },
      },
      ...over,
    };
  }
  publish(over: Record<string, unknown> = {}): void {
    this.kit.now = Date.now();
    this.kit.publish({
      models: [this.model()],
      trustedSources: ['127.0.0.1'],
      ttl: { heartbeatMs: this.heartbeatMs, missedHeartbeats: 3, pollMs: 60_000, retryMs: 200, cacheMs: 60_000 },
      ...over,
    });
  }
  get digest(): Sha256 {
    return this.kit.current?.snapshot.digest as Sha256;
  }
  get modelDigest(): Sha256 {
    return this.model().digest as Sha256;
  }

  /** Offers a job; `over` replaces fields. Returns the exact payload. */
  offer(over: Partial<JobOffer> = {}): string {
    const offer = {
      jobId: 'job-1',
      attempt: 1,
      kind: 'chat.completions',
      model: MINI_MODEL,
      modelDigest: this.modelDigest,
      configDigest: this.digest,
      stream: true,
      priority: 5,
      deadline: this.now + 60_000,
      request: {
        model: MINI_MODEL,
        messages: [{ role: 'user', content: 'What is the capital of France?' }],
        ...(over.stream === false ? {} : { stream: true, stream_options: { include_usage: true } }),
        temperature: 0.5,
      },
      ...over,
    };
    const payload = JSON.stringify(offer);
    this.send('job.offer', payload);
    return payload;
  }

  send(t: string, payload: string | object): void {
    if (!this.#writer || !this.#ws) throw new Error('no node is connected');
    this.#ws.send(this.#writer.write(t, typeof payload === 'string' ? payload : JSON.stringify(payload), this.now));
  }
  /** Cuts the socket without a close frame. */
  drop(): void {
    this.#ws?.terminate();
    this.#writer = null;
  }
  closeSocket(code: number): void {
    this.#ws?.close(code);
    this.#writer = null;
  }

  of(t: string): Heard[] {
    return this.heard.filter((h) => h.t === t);
  }
  linesOf(jobId: string, attempt = 1): string[] {
    return this.lines.get(`${attempt} ${jobId}`) ?? [];
  }
  lastResult(): JobResultMessage {
    return zJobResult.parse(JSON.parse(this.results.at(-1) as string));
  }

  receiptOf(message: JobResultMessage): { receipt: JobReceiptStruct; sig: string; signer: Address } {
    const { result } = message;
    const receipt: JobReceiptStruct = {
      jobId: result.jobId,
      attempt: result.attempt,
      node: result.node,
      resultHash: resultHash(this.kit.domain, result),
      verdict: 'accepted',
      rootVersion: this.kit.rootVersion,
      receivedAt: this.now,
    };
    return {
      receipt,
      sig: signStruct(this.online, this.kit.domain, 'JobReceipt', receipt),
      signer: this.online.address,
    };
  }

  #ref(): { epoch: number; version: number; digest: Sha256 } {
    if (!this.kit.current) throw new Error('nothing is published');
    const { epoch, version, digest } = this.kit.current.snapshot;
    return { epoch, version, digest };
  }

  #takeResult(payload: string): JobResultMessage | undefined {
    const message = zJobResult.parse(JSON.parse(payload));
    const held = verifyStruct(this.kit.domain, 'JobResult', message.result, message.sig, this.#node as Address);
    if (!held) throw new Error('a result is not signed by the node');
    const same = `sha256:${createHash('sha256').update(message.output).digest('hex')}`;
    if (same !== message.result.outputHash) throw new Error('outputHash is wrong');
    this.results.push(payload);
    return message;
  }

  async #http(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const parts: Buffer[] = [];
    for await (const part of request) parts.push(part as Buffer);
    const body = Buffer.concat(parts).toString('utf8');
    const path = request.url ?? '/';
    const answer = (status: number, value: unknown): void => {
      const text = typeof value === 'string' ? value : JSON.stringify(value);
      response.writeHead(status, { 'content-type': 'application/json' }).end(text);
    };
    const none = (): void => answer(404, { error: { code: 'not_found', message: path, retryable: false } });
    this.calls.push({ path, body, authorization: request.headers.authorization });
    if (path.startsWith('/files/')) return void response.writeHead(200).end(this.modelBytes);
    if (path === '/v1/config') return this.kit.answer === undefined ? none() : answer(200, this.kit.answer);
    if (path.startsWith('/v1/config/')) {
      const bytes = this.kit.snapshots.get(path.slice('/v1/config/'.length) as Sha256);
      return bytes ? void response.writeHead(200).end(bytes) : none();
    }
    if (path.startsWith('/v1/roots/')) {
      const root = this.kit.roots.get(Number(path.slice('/v1/roots/'.length)));
      return root === undefined ? none() : answer(200, root);
    }
    if (request.method !== 'POST') return none();
    const auth = parseAuth(request.headers['resultity-auth'] as string | undefined);
    const call = { method: 'POST', authority: authorityOf(this.endpoint), path, body };
    const error = (status: number, code: string, more = {}): void =>
      answer(status, { error: { code, message: code, retryable: false, ...more } });
    if (!auth || !verifyCall(this.kit.domain, call, auth)) return error(401, 'bad_signature');
    if (Math.abs(this.now - auth.ts) > 60_000 && !this.#nonces.delete(auth.nonce)) {
      const serverNonce = newNonce();
      this.#nonces.add(serverNonce);
      return error(401, 'bad_clock', { serverTime: this.now, serverNonce });
    }
    this.#node = auth.node;
    switch (path) {
      case '/v1/register':
        return answer(200, {
          state: this.registerState,
          ownerProved: false,
          root: { version: this.kit.rootVersion },
          config: JSON.parse(this.kit.answer ?? 'null'),
        });
      case '/v1/heartbeat': {
        const { epoch, version, digest } = this.#ref();
        return answer(200, { serverTime: this.now, config: { epoch, version, digest }, jobs: JSON.parse(body).jobs });
      }
      case '/v1/results': {
        const message = this.#takeResult(body);
        return message ? answer(200, this.receiptOf(message)) : error(401, 'bad_signature');
      }
      case '/v1/logs':
        this.logs.push(...body.trim().split('\n'));
        return answer(200, { lastN: JSON.parse(this.logs.at(-1) as string).n });
      default:
        return none();
    }
  }

  #connection(ws: WebSocket): void {
    if (!this.sockets) {
      ws.terminate();
      return;
    }
    const { domain } = this.kit;
    const writer = new FrameWriter('net', domain, this.online);
    const reader = new FrameReader('node', domain);
    const serverNonce = newNonce();
    let hello: Hello | null = null;
    const send = (t: string, value: object): void => ws.send(writer.write(t, JSON.stringify(value), this.now));
    ws.on('error', () => {});
    ws.on('close', (code) => {
      this.closes.push(code);
      if (this.#ws === ws) this.#writer = null;
    });
    ws.on('message', (data) => {
      const frame = parseFrame((data as Buffer).toString('utf8'), 1 << 20);
      if (!hello) {
        const body = parsePayload(zHello, frame);
        const keys = { sid: sessionId(serverNonce, body.clientNonce, body.node), node: body.node };
        reader.verify(frame, body.node, keys);
        if (body.audience !== authorityOf(this.endpoint)) throw new Error('hello is for another host');
        reader.rekey(keys);
        writer.rekey(keys);
        hello = body;
        this.hello = body;
        this.#node = body.node;
        this.sessions++;
        this.#ws = ws;
        this.#writer = writer;
        const { epoch, version, digest } = this.#ref();
        send('welcome', {
          sid: keys.sid,
          serverTime: this.now,
          state: this.state,
          protocol: ['1'],
          heartbeatMs: this.heartbeatMs,
          config: { epoch, version, digest },
          jobs:
            this.wanted ??
            body.jobs.map((j) => ({
              jobId: j.jobId,
              attempt: j.attempt,
              deltas: this.linesOf(j.jobId, j.attempt).length,
            })),
        });
        return;
      }
      reader.verify(frame, hello.node);
      const body = JSON.parse(frame.payload);
      if (frame.t === 'job.delta') {
        const key = `${body.attempt} ${body.jobId}`;
        const held = this.lines.get(key) ?? [];
        if (body.from > held.length) return ws.close(4400);
        this.lines.set(key, [...held, ...body.lines.slice(held.length - body.from)]);
      }
      this.heard.push({ t: frame.t, body, payload: frame.payload });
      if (frame.t === 'job.result') {
        const message = this.#takeResult(frame.payload);
        if (message && this.receipts) send('job.receipt', this.receiptOf(message));
      }
    });
    ws.send(
      writer.write(
        'challenge',
        JSON.stringify({ serverNonce, limits: { frameBytes: 65_536 }, rootVersion: this.kit.rootVersion }),
        this.now,
      ),
    );
    reader.rekey(BEFORE_HELLO);
  }
}
