import { request } from 'undici';
import { type HttpAnswer, MinimalAgent } from '../agent/index.ts';
import {
  checkBytes,
  checkPublication,
  expectEqual,
  expectThat,
  type Frame,
  isInteger,
  type Json,
  Key,
  list,
  object,
  type Peer,
  parseJson,
  pause,
  Skip,
} from '../kit/index.ts';

export interface NetworkTarget {
  readonly endpoint: string;
  /** The pinned root: the answer of `GET /v1/roots/<n>`. */
  readonly root: string;
  readonly ca?: string | undefined;
  readonly apiKey?: string | undefined;
  /** Makes the nodes' keys; the same seed is the same nodes, which spares the limit of new registrations. */
  readonly seed: string;
}
/** What a caller of the OpenAI side saw. */
export interface Called {
  readonly status: number;
  readonly headers: Record<string, string | string[] | undefined>;
  readonly text: string;
  /** What followed `data: `, in order. */
  readonly lines: string[];
}

/** What the cases share: two nodes that register, one that never does, and the network's configuration. */
export class NetworkContext {
  readonly target: NetworkTarget;
  readonly agent: MinimalAgent;
  readonly second: MinimalAgent;
  readonly stranger: MinimalAgent;
  document: Json = {};
  #case = 0;
  constructor(target: NetworkTarget) {
    this.target = target;
    const make = (name: string): MinimalAgent =>
      new MinimalAgent({ ...target, key: Key.of(`conformance ${target.seed} ${name}`) });
    this.agent = make('first');
    this.second = make('second');
    this.stranger = make(`stranger ${Date.now()}`);
  }

  /** Fetches and checks the configuration, as far as the network has one. */
  async fetchConfig(): Promise<string> {
    const { agent } = this;
    await agent.walkRoots();
    const answer = await agent.client.get('/v1/config');
    if (answer.status === 503) throw new Skip('nothing is published yet');
    expectEqual(answer.status, 200, 'status of GET /v1/config');
    const snapshot = checkPublication(agent.root, answer.body, Date.now());
    const bytes = await agent.client.get(`/v1/config/${snapshot.digest}`);
    expectEqual(bytes.status, 200, 'status of the snapshot');
    const encoding = bytes.headers['content-encoding'] ?? 'identity';
    expectEqual(encoding, 'identity', 'content encoding of the snapshot');
    this.document = checkBytes(snapshot, bytes.text, agent.root);
    const reference = { epoch: snapshot.epoch, version: snapshot.version, digest: snapshot.digest };
    agent.config = reference;
    this.second.config = reference;
    return `epoch ${snapshot.epoch} version ${snapshot.version}, ${Buffer.byteLength(bytes.text)} bytes`;
  }
  /** A model that jobs of this kind may name. */
  model(kind = 'chat.completions'): Json {
    const found = list(this.document.models)
      .map(object)
      .find((model) => model.state === 'active' && list(model.tasks).includes(kind));
    if (!found) throw new Skip(`no active model for ${kind} is published`);
    return found;
  }
  get heartbeatMs(): number {
    return Number(object(this.document.ttl).heartbeatMs ?? 15_000);
  }

  /** A session of the first node that is in rotation, ready for jobs; what stood open before is closed. */
  async ready(kind?: string, over: Json = {}): Promise<Peer> {
    if (this.target.apiKey === undefined) throw new Skip('needs --api-key');
    const model = this.model(kind);
    await this.agent.hangUp();
    this.#case++;
    const { peer } = await this.agent.connect(over);
    // What an earlier case left behind is turned down, so that it takes no slot of this one.
    peer.onFrame = ({ header, body }) => {
      if (header.t === 'job.offer' && !JSON.stringify(body.request).includes(this.mark))
        peer.send('job.reject', { jobId: body.jobId, attempt: body.attempt, code: 'not_ready' });
    };
    this.agent.beat(peer, model, this.heartbeatMs);
    for (let tries = 0; ; tries++) {
      const { body } = await this.agent.client.get(`/v1/status/nodes/${this.agent.node}`);
      if (body.state === 'active') return peer;
      if (tries === 40) throw new Error(`the node is ${body.state} (${list(body.reasons).join(', ')}), not active`);
      await pause(50);
    }
  }
  /** What the prompts of the case at hand carry; a session opened again within a case keeps it by `again`. */
  get mark(): string {
    return `case ${this.#case}.`;
  }
  /** A new session within the same case. */
  async again(over: Json = {}): Promise<Peer> {
    this.#case--;
    return this.ready(undefined, over);
  }
  /** The next offer of this case. */
  offer(peer: Peer, ms = 8_000): Promise<Frame> {
    return peer.next('job.offer', ms, (body) => JSON.stringify(body.request).includes(this.mark));
  }
  /** A call of the OpenAI side; `signal` hangs up in the middle. */
  async ask(path: string, body: Json, signal?: AbortSignal): Promise<Called> {
    const { client } = this.agent;
    const answer = await request(client.origin + path, {
      method: 'POST',
      dispatcher: client.dispatcher,
      body: JSON.stringify(body),
      headers: { 'content-type': 'application/json', authorization: `Bearer ${this.target.apiKey}` },
      ...(signal ? { signal } : {}),
    });
    const text = await answer.body.text();
    const lines = text.split('\n').flatMap((line) => (line.startsWith('data: ') ? [line.slice(6)] : []));
    return { status: answer.statusCode, headers: answer.headers, text, lines };
  }
  chat(over: Json = {}, signal?: AbortSignal): Promise<Called> {
    const model = this.model();
    const messages = [{ role: 'user', content: `What is the capital of France? ${this.mark}` }];
    const called = this.ask(
      '/v1/chat/completions',
      { model: `${model.name}:${model.version}`, messages, ...over },
      signal,
    );
    // A case may fail before it awaits the call; its refusal is then nobody's news.
    called.catch(() => {});
    return called;
  }
  async close(): Promise<void> {
    await Promise.all([this.agent, this.second, this.stranger].map((agent) => agent.close()));
  }
}

/** Status, code and the form of an error's answer (§2); says what was seen. */
export const expectError = (answer: HttpAnswer, status: number, code: string | null): string => {
  const error = object(parseJson(answer.text) === null ? {} : answer.body.error);
  expectThat(
    answer.status === status && (code === null || error.code === code),
    `expected ${status} ${code ?? ''}, saw ${answer.status} ${answer.text.slice(0, 200)}`,
  );
  expectThat(typeof error.code === 'string', 'the error has no code');
  expectThat(typeof error.message === 'string' && Buffer.byteLength(error.message) <= 256, 'error.message ≤ 256 bytes');
  expectThat(typeof error.retryable === 'boolean', 'error.retryable is a boolean');
  if (error.retryAfterMs !== undefined) expectThat(isInteger(error.retryAfterMs), 'error.retryAfterMs is an integer');
  return `${answer.status} ${error.code}`;
};
/** Throws when the peer saw a frame that breaks a rule. */
export const expectClean = (peer: Peer): void =>
  expectThat(peer.problems.length === 0, `frames of the other side: ${peer.problems.join('; ')}`);
