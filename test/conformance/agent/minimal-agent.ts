import { WebSocket } from 'ws';
import {
  checkRoot,
  type Domain,
  digestOf,
  type Json,
  type Key,
  list,
  object,
  onlineKeys,
  Peer,
  type Root,
  random32,
  readRoot,
  sessionId,
  signerOf,
  structDigest,
} from '../kit/index.ts';
import { type CallMisbehaviour, Client, type HttpAnswer } from './client.ts';
import { type Answer, fakeAnswer } from './engine.ts';

export interface MinimalAgentOptions {
  readonly endpoint: string;
  /** The pinned root: the answer of `GET /v1/roots/<n>`. */
  readonly root: string;
  readonly key: Key;
  readonly ca?: string | undefined;
}
type Offer = { readonly payload: string; readonly body: Json };

/**
 * A node in a few hundred lines, with a fake engine that says that it is one. It does what the document asks for
 * (register, connect, heartbeat, jobs, receipts), keeps nothing on disk, and can be told to do every step wrongly.
 */
export class MinimalAgent {
  readonly key: Key;
  readonly client: Client;
  readonly bootId = `conformance-${Date.now()}`;
  readonly #options: MinimalAgentOptions;
  roots: Root[];
  config: Json | null = null;
  slots = 2;
  incarnation = Date.now();
  #timer: NodeJS.Timeout | undefined;
  readonly #open = new Set<Peer>();

  constructor(options: MinimalAgentOptions) {
    this.#options = options;
    this.key = options.key;
    this.client = new Client(options.endpoint, options.ca);
    const pinned = readRoot(options.root);
    checkRoot(pinned);
    this.roots = [pinned];
  }
  get root(): Root {
    return this.roots.at(-1) as Root;
  }
  get domain(): Domain {
    return this.root;
  }
  get node(): string {
    return this.key.address;
  }

  call(method: string, path: string, body: Json | string, wrong?: CallMisbehaviour): Promise<HttpAnswer> {
    return this.client.call(this.key, this.domain, method, path, body, wrong);
  }
  registration(over: Json = {}): Json {
    const labels = { purpose: 'conformance', engine: 'fake' };
    const metadata = { agent: '99.0.0', runtime: '99.0.0', hardware: { gpus: [] }, labels };
    return { node: this.node, owner: { email: 'conformance@example.org' }, metadata, ...over };
  }
  register(over: Json = {}, wrong?: CallMisbehaviour): Promise<HttpAnswer> {
    return this.call('POST', '/v1/register', this.registration(over), wrong);
  }
  /** Every root after the newest one held, each checked against the one before. */
  async walkRoots(): Promise<number> {
    for (;;) {
      const answer = await this.client.get(`/v1/roots/${this.root.version + 1}`);
      if (answer.status === 404) return this.root.version;
      if (answer.status !== 200) throw new Error(`GET /v1/roots answered ${answer.status}`);
      const next = readRoot(answer.text);
      checkRoot(next, this.root);
      this.roots.push(next);
    }
  }

  /** The answer of an upgrade that is refused, or 101. */
  async upgrade(protocols: string[]): Promise<number> {
    const socket = this.#dial(protocols);
    return new Promise((resolve, reject) => {
      socket.on('unexpected-response', (_, response) => {
        resolve(response.statusCode ?? 0);
        socket.terminate();
      });
      socket.on('open', () => {
        resolve(101);
        socket.terminate();
      });
      socket.on('error', reject);
    });
  }
  #dial(protocols: string[]): WebSocket {
    const { ca } = this.#options;
    const url = `${this.client.origin.replace(/^http/, 'ws')}/v1/nodes/connect`;
    return new WebSocket(url, protocols, { perMessageDeflate: false, ...(ca === undefined ? {} : { ca }) });
  }

  /** A socket, up to and with the challenge. */
  async open(): Promise<{ peer: Peer; challenge: Json }> {
    await this.walkRoots();
    const peer = new Peer({
      socket: this.#dial(['resultity.v1']),
      side: 'node',
      domain: this.domain,
      key: this.key,
      trusted: (signer) => onlineKeys(this.root).includes(signer),
    });
    this.#open.add(peer);
    void peer.closed.then(() => this.#open.delete(peer));
    const { body } = await peer.next('challenge', 10_000);
    return { peer, challenge: body };
  }
  /** What hello says, and the session it makes. */
  hello(peer: Peer, challenge: Json, over: Json = {}): Json {
    const clientNonce = random32();
    peer.node = this.node;
    peer.sid = sessionId(String(challenge.serverNonce), clientNonce, this.node);
    return {
      node: this.node,
      clientNonce,
      audience: this.client.authority,
      bootId: this.bootId,
      incarnation: this.incarnation,
      versions: { agent: '99.0.0', runtime: '99.0.0', protocol: ['1'] },
      config: this.config,
      capacity: { slots: this.slots, queue: 0 },
      models: [],
      jobs: [],
      ...over,
    };
  }
  async connect(over: Json = {}): Promise<{ peer: Peer; welcome: Json }> {
    const { peer, challenge } = await this.open();
    peer.send('hello', this.hello(peer, challenge, over));
    const { body } = await peer.next('welcome', 10_000);
    return { peer, welcome: body };
  }

  /** The heartbeat of a node that serves this model, by its own word. */
  heartbeat(model: Json | null, over: Json = {}): Json {
    const shown = model
      ? [{ model: `${model.name}:${model.version}`, digest: model.digest, state: 'active', loaded: true }]
      : [];
    return {
      bootId: this.bootId,
      uptimeMs: 1_000,
      versions: { agent: '99.0.0', runtime: '99.0.0' },
      images: null,
      config: this.config,
      models: shown,
      hardware: { gpus: [], memoryMiB: 1, memoryUsedMiB: 1, disk: { totalMiB: 1, freeMiB: 1 } },
      runtime: { healthy: true, phase: 'ready', running: 0, waiting: 0 },
      capacity: { slots: this.slots, queue: 0 },
      used: 0,
      isolation: { tier: 'sandbox+policy', provedAt: Date.now() },
      clockOffsetMs: 0,
      subclouds: [],
      errors: [],
      ...over,
    };
  }
  /** Heartbeats now and at every interval, until stopBeating or the end. */
  beat(peer: Peer, model: Json | null, everyMs: number): void {
    this.stopBeating();
    const once = (): void => void peer.send('heartbeat', this.heartbeat(model));
    once();
    this.#timer = setInterval(once, everyMs);
  }
  stopBeating(): void {
    clearInterval(this.#timer);
  }

  /** The payload of job.result for an offer. */
  result(offer: Offer, answer: Answer = fakeAnswer(offer.body), over: Json = {}, output = answer.output): Json {
    const { jobId, attempt, model, modelDigest, configDigest } = offer.body;
    const result = {
      jobId,
      attempt,
      node: this.node,
      model,
      modelDigest,
      configDigest,
      requestHash: digestOf(offer.payload),
      outputHash: digestOf(output),
      promptTokens: answer.promptTokens,
      completionTokens: answer.completionTokens,
      finishReason: 'stop',
      finishedAt: Date.now(),
      ...over,
    };
    return { result, sig: this.key.sign(this.domain, 'JobResult', result), output };
  }
  /** Throws unless this is a receipt for that result, signed by an online key of the root it names. */
  checkReceipt(receiptBody: Json, sent: Json, verdict: string): void {
    const receipt = object(receiptBody.receipt);
    const result = object(sent.result);
    const root = this.roots.find(({ version }) => version === receipt.rootVersion);
    const signer = signerOf(this.domain, 'JobReceipt', receipt, receiptBody.sig);
    if (!root) throw new Error(`the receipt names root ${receipt.rootVersion}`);
    if (signer === undefined || signer !== receiptBody.signer || !onlineKeys(root).includes(signer))
      throw new Error('the receipt is not signed by an online key of its root');
    if (receipt.resultHash !== structDigest(this.domain, 'JobResult', result))
      throw new Error('the receipt is not for this result');
    for (const field of ['jobId', 'attempt', 'node'])
      if (receipt[field] !== result[field]) throw new Error(`the receipt names another ${field}`);
    if (receipt.verdict !== verdict) throw new Error(`verdict ${receipt.verdict}, expected ${verdict}`);
  }

  /** Does offered jobs from accept to result, so that the minimal agent can stand alone. */
  serve(peer: Peer, model: Json, everyMs: number): void {
    this.beat(peer, model, everyMs);
    peer.onFrame = (frame) => {
      if (frame.header.t !== 'job.offer') return;
      const { jobId, attempt } = frame.body;
      const about = { jobId, attempt };
      const answer = fakeAnswer(frame.body);
      peer.send('job.accept', about);
      peer.send('job.progress', { ...about, phase: 'prefill' });
      if (answer.lines.length > 0) peer.send('job.delta', { ...about, from: 0, lines: list(answer.lines.slice()) });
      peer.send('job.result', this.result({ payload: frame.payload, body: frame.body }, answer));
    };
  }
  async close(): Promise<void> {
    this.stopBeating();
    await Promise.all([...this.#open].map((peer) => peer.close()));
    await this.client.close();
  }
  /** Closes every socket, so that the next case starts from none. */
  async hangUp(): Promise<void> {
    this.stopBeating();
    await Promise.all([...this.#open].map((peer) => peer.close()));
  }
}
