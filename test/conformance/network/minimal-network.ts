import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { WebSocketServer } from 'ws';
import {
  digestOf,
  expectThat,
  FORMS,
  type Frame,
  isInteger,
  type Json,
  Key,
  list,
  object,
  Peer,
  parseJson,
  pause,
  random32,
  readAuth,
  sessionId,
  signerOf,
  structDigest,
} from '../kit/index.ts';
import { MODEL_FILE, modelFile, Publisher } from './publisher.ts';

/** A session of the agent under test, welcomed unless the network was told to wait. */
export interface Session {
  readonly peer: Peer;
  readonly serverNonce: string;
  readonly hello: Json;
  readonly helloMs: number;
  readonly welcomedAt: number;
}
interface Call {
  readonly method: string;
  readonly path: string;
  readonly body: Json;
  readonly node: string | undefined;
  readonly nonce: string | undefined;
}

/**
 * A network of one agent: it signs its own roots, snapshots and tickets, welcomes whoever proves to be a node, and offers
 * what a case asks for. Every signed call and frame of the agent is checked; what breaks a rule stands in `problems`.
 */
export class MinimalNetwork {
  readonly publisher: Publisher;
  readonly problems: string[] = [];
  readonly calls: Call[] = [];
  /** What welcome says next time. */
  state = 'active';
  jobs: Json[] = [];
  /** The serverNonce that the first register got with its bad_clock, and whether it came back. */
  clockNonce: string | undefined;
  /** Signs the next challenge with a key that no root names. */
  forgeChallenge = false;
  readonly #server: Server;
  readonly #sessions: Session[] = [];
  readonly peers: Peer[] = [];
  protocols = '';
  #jobs = 0;

  private constructor(model: string, heartbeatMs: number) {
    this.publisher = new Publisher(model, heartbeatMs);
    this.#server = createServer((request, response) => {
      this.#http(request, response).catch((error: Error) => {
        this.problems.push(`${request.method} ${request.url}: ${error.message}`);
        this.#error(response, 401, 'bad_signature', error.message);
      });
    });
    const sockets = new WebSocketServer({
      noServer: true,
      perMessageDeflate: false,
      handleProtocols: () => 'resultity.v1',
    });
    this.#server.on('upgrade', (request, socket, head) => {
      this.protocols = String(request.headers['sec-websocket-protocol']);
      if (request.url !== '/v1/nodes/connect') this.problems.push(`an upgrade of ${request.url}`);
      sockets.handleUpgrade(request, socket, head, (ws) => {
        void this.#greet(
          new Peer({
            socket: ws,
            side: 'net',
            domain: this.publisher.root,
            key: this.forgeChallenge ? Key.of('a key that no root names') : this.publisher.online,
            trusted: (signer) => this.peers.some((peer) => peer.node === signer),
          }),
        );
      });
    });
  }
  static async listen(options: { model: string; heartbeatMs?: number; port?: number }): Promise<MinimalNetwork> {
    const network = new MinimalNetwork(options.model, options.heartbeatMs ?? 1_000);
    await new Promise<void>((resolve) => network.#server.listen(options.port ?? 0, '127.0.0.1', resolve));
    network.publisher.publish(network.endpoint);
    return network;
  }
  get endpoint(): string {
    return `http://${this.authority}`;
  }
  get authority(): string {
    return `127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async #greet(peer: Peer): Promise<void> {
    const serverNonce = random32();
    const from = performance.now();
    this.peers.push(peer);
    peer.onHello = ({ body }) => {
      peer.node = String(body.node);
      peer.sid = sessionId(serverNonce, String(body.clientNonce), peer.node);
    };
    const rootVersion = this.publisher.root.version;
    peer.send('challenge', { serverNonce, limits: { frameBytes: 1_048_576 }, rootVersion });
    const hello = await peer.maybe('hello', 15_000);
    if (!hello) return;
    const welcome = {
      sid: peer.sid,
      serverTime: Date.now(),
      state: this.state,
      protocol: ['1'],
      heartbeatMs: this.publisher.heartbeatMs,
      config: this.publisher.reference,
      jobs: this.jobs,
    };
    peer.send('welcome', welcome);
    const welcomedAt = performance.now();
    this.#sessions.push({ peer, serverNonce, hello: hello.body, helloMs: welcomedAt - from, welcomedAt });
  }
  /** The session that is open, waiting for one if need be. */
  async session(ms = 40_000): Promise<Session> {
    const end = performance.now() + ms;
    for (;;) {
      const last = this.#sessions.at(-1);
      if (last && !last.peer.closeCode) return last;
      if (performance.now() > end) throw new Error(`no session within ${ms} ms`);
      await pause(20);
    }
  }
  /** Ends the session with bye and waits for the next one. */
  async reconnect(jobs: Json[] = [], ms = 40_000): Promise<Session> {
    this.jobs = jobs;
    const { peer } = await this.session();
    peer.send('bye', { reason: 'restart', retryAfterMs: 50 });
    await peer.close(4001, 'restart');
    const next = await this.session(ms);
    this.jobs = [];
    return next;
  }

  /** An offer of the published model; `over` replaces fields. */
  offer(peer: Peer, over: Json = {}, content = 'What is the capital of France?'): Frame {
    const { model, modelDigest, digest } = this.publisher;
    const stream = over.stream !== false;
    const payload = JSON.stringify({
      jobId: `conformance-${++this.#jobs}`,
      attempt: 1,
      kind: 'chat.completions',
      model,
      modelDigest,
      configDigest: digest,
      stream,
      priority: 5,
      deadline: Date.now() + 60_000,
      request: {
        model,
        messages: [{ role: 'user', content }],
        temperature: 0,
        ...(stream ? { stream: true, stream_options: { include_usage: true } } : {}),
      },
      ...over,
    });
    const text = peer.send('job.offer', payload);
    return {
      header: { v: 1, t: 'job.offer', seq: peer.sent, ts: 0, sig: '' },
      payload,
      body: JSON.parse(payload),
      text,
    };
  }
  /** Throws unless this is a good result of that offer; returns its resultHash. */
  checkResult(offer: Frame, body: Json): string {
    const result = object(body.result);
    const { jobId, attempt, model, modelDigest, configDigest } = offer.body;
    const wanted: Json = { jobId, attempt, model, modelDigest, configDigest, requestHash: digestOf(offer.payload) };
    wanted.outputHash = digestOf(String(body.output));
    for (const [field, value] of Object.entries(wanted))
      expectThat(result[field] === value, `result.${field} is ${result[field]}, expected ${value}`);
    for (const field of ['promptTokens', 'completionTokens', 'finishedAt'])
      expectThat(isInteger(result[field]), `result.${field} is no integer`);
    const reasons = ['stop', 'length', 'tool_calls', 'content_filter'];
    expectThat(reasons.includes(String(result.finishReason)), `finishReason ${result.finishReason}`);
    const signer = signerOf(this.publisher.root, 'JobResult', result, body.sig);
    expectThat(signer !== undefined && signer === result.node, `the result is signed by ${signer}`);
    return structDigest(this.publisher.root, 'JobResult', result);
  }
  /** A receipt for a result, by the online key or another. */
  receipt(body: Json, verdict = 'accepted', key = this.publisher.online): Json {
    const { jobId, attempt, node } = object(body.result);
    const resultHash = structDigest(this.publisher.root, 'JobResult', object(body.result));
    const rootVersion = this.publisher.root.version;
    const receipt = { jobId, attempt, node, resultHash, verdict, rootVersion, receivedAt: Date.now() };
    return {
      receipt,
      sig: key.sign(this.publisher.root, 'JobReceipt', receipt),
      signer: this.publisher.online.address,
    };
  }

  #json(response: ServerResponse, status: number, body: unknown): void {
    response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
  }
  #error(response: ServerResponse, status: number, code: string, message: string, more: Json = {}): void {
    this.#json(response, status, {
      error: { code, message: message.slice(0, 200), retryable: status >= 500, ...more },
    });
  }
  async #http(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const body = Buffer.concat(chunks).toString();
    const [method, path] = [request.method ?? '', request.url ?? ''];
    const signed = method === 'POST';
    const facts = { method, authority: this.authority, path, body };
    const auth = signed
      ? readAuth(this.publisher.root, request.headers['resultity-auth'] as string | undefined, facts)
      : undefined;
    const parsed = path === '/v1/logs' || body === '' ? {} : object(parseJson(body));
    if (auth && Math.abs(Date.now() - auth.ts) > 60_000) throw new Error('ts is more than 60 s off');
    if (auth && this.calls.some(({ nonce }) => nonce === auth.nonce)) throw new Error('a nonce came twice');
    this.calls.push({ method, path, body: parsed, node: auth?.node, nonce: auth?.nonce });
    const { publisher } = this;
    const [, , kind = '', name = ''] = path.split('/');
    if (path === '/v1/ping') return this.#json(response, 200, { serverTime: Date.now(), protocol: ['1'] });
    if (path === '/v1/register') {
      if (this.clockNonce === undefined) {
        this.clockNonce = random32();
        const more = { serverTime: Date.now(), serverNonce: this.clockNonce, retryable: true };
        return this.#error(response, 401, 'bad_clock', 'conformance: the first call is answered so', more);
      }
      const root = { version: publisher.root.version };
      const state = this.state === 'active' ? 'registered' : this.state;
      return this.#json(response, 200, { state, ownerProved: false, root, config: publisher.answer() });
    }
    if (path === '/v1/config') return this.#json(response, 200, publisher.answer());
    if (kind === 'config' && publisher.snapshots.has(name)) return void response.end(publisher.snapshots.get(name));
    if (kind === 'roots' && publisher.roots[Number(name) - 1])
      return void response.end(publisher.roots[Number(name) - 1]);
    if (path === `/models/${MODEL_FILE}`) return void response.end(modelFile());
    if (path === '/v1/heartbeat')
      return this.#json(response, 200, {
        serverTime: Date.now(),
        config: publisher.reference,
        jobs: list(parsed.jobs),
      });
    if (path === '/v1/results') return this.#json(response, 200, this.receipt(parsed));
    if (path === '/v1/logs') {
      const last = object(parseJson(body.trimEnd().split('\n').at(-1) ?? '{}'));
      return this.#json(response, 200, { lastN: last.n });
    }
    if (kind === 'status' && FORMS.address.test(path.split('/').at(-1) ?? '')) {
      const floor = { epoch: 1, version: publisher.version };
      const node = path.split('/').at(-1);
      return this.#json(response, 200, {
        node,
        state: this.state,
        reasons: [],
        floor,
        lastHeartbeatAgeMs: 0,
        incarnation: 0,
      });
    }
    return this.#error(response, 404, 'not_found', 'there is nothing here');
  }
  async close(): Promise<void> {
    await Promise.all(this.peers.map((peer) => peer.close()));
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}
