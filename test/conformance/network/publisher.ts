import {
  digestOf,
  type Json,
  Key,
  modelDigestOf,
  type Root,
  readRoot,
  writePublication,
  writeRoot,
} from '../kit/index.ts';

const MODEL_BYTES = 'conformance model: no weights\n';
export const MODEL_FILE = 'model.safetensors';
export const modelFile = (): string => MODEL_BYTES;

/** Roots, snapshots and tickets of a network whose keys are all in this process. */
export class Publisher {
  readonly model: string;
  readonly heartbeatMs: number;
  readonly #seed = `conformance ${Date.now()}`;
  readonly rootKey = this.#key('root');
  readonly config = [1, 2, 3].map((n) => this.#key(`config ${n}`));
  readonly ticket = this.#key('ticket');
  online = this.#key('online 1');
  readonly roots: string[] = [];
  version = 0;
  digest = '';
  bytes = '';
  readonly snapshots = new Map<string, string>();
  #document: Json = {};
  #origin = '';

  constructor(model: string, heartbeatMs: number) {
    this.model = model;
    this.heartbeatMs = heartbeatMs;
    this.#addRoot();
  }
  #key(name: string): Key {
    return Key.of(`${this.#seed} ${name}`);
  }
  get root(): Root {
    return readRoot(this.roots.at(-1) ?? '');
  }
  get reference(): Json {
    return { epoch: 1, version: this.version, digest: this.digest };
  }
  get modelDigest(): string {
    return modelDigestOf(this.#files());
  }
  #files() {
    return [{ path: MODEL_FILE, sha256: digestOf(MODEL_BYTES).slice(7), size: MODEL_BYTES.length }];
  }
  /** The next root, with another online key. */
  rotate(): void {
    this.online = this.#key(`online ${this.roots.length + 1}`);
    this.#addRoot();
  }
  #addRoot(): void {
    const now = Date.now();
    const role = (threshold: number, keys: readonly Key[]): Json => ({ threshold, keys: keys.map((k) => k.address) });
    const document = {
      network: 'conformance',
      chainId: 31_337,
      environment: 'testnet',
      version: this.roots.length + 1,
      epoch: 1,
      issuedAt: now,
      expiresAt: now + 86_400_000,
      roles: {
        root: role(1, [this.rootKey]),
        config: role(2, this.config),
        ticket: role(1, [this.ticket]),
        online: role(1, [this.online]),
      },
    };
    this.roots.push(writeRoot(document, [this.rootKey]));
  }
  /** Publishes the next version; `over` replaces parts of the document. */
  publish(origin: string, over: Json = {}): void {
    this.#origin = origin;
    this.version++;
    const [name = '', version = ''] = this.model.split(':');
    const question = [{ role: 'user', content: 'What is the capital of France?' }];
    this.#document = {
      schema: 1,
      network: 'conformance',
      environment: 'testnet',
      epoch: 1,
      version: this.version,
      models: [
        {
          name,
          version,
          digest: this.modelDigest,
          state: 'active',
          tasks: ['chat.completions', 'completions'],
          files: this.#files(),
          sources: [`${this.#origin}/models/`],
          engine: { name: 'vllm', minVersion: '0.1.0', args: { 'max-model-len': 2048, 'max-num-seqs': 2 } },
          requires: { gpus: 1, gpuMemoryMiB: 1, diskMiB: 1 },
          test: { request: { messages: question, temperature: 0, max_tokens: 24 }, expect: { regex: '.' } },
        },
      ],
      runtimes: [
        {
          engine: 'vllm',
          version: '0.1.0',
          image: `conformance.example/vllm@sha256:${'a'.repeat(64)}`,
          accelerator: 'cpu',
        },
      ],
      agent: { version: '0.1.0', image: `conformance.example/agent@sha256:${'b'.repeat(64)}`, minVersion: '0.0.1' },
      jobs: { maxOutputTokens: 512, maxQueue: 8, timeouts: { firstTokenMs: 30_000, gapMs: 10_000, totalMs: 60_000 } },
      isolation: { minTier: 'none' },
      participation: { testnet: true, mainnet: false },
      subclouds: [],
      ttl: { heartbeatMs: this.heartbeatMs, missedHeartbeats: 3, pollMs: 60_000, retryMs: 200, cacheMs: 60_000 },
      maxStalenessSeconds: 86_400,
      trustedSources: [new URL(this.#origin).hostname],
      ...over,
    };
    const made = this.#sign();
    this.bytes = made.bytes;
    this.digest = made.digest;
    this.snapshots.set(made.digest, made.bytes);
  }
  #sign() {
    const facts = { rootVersion: 1, now: Date.now() };
    return writePublication(this.root, this.#document, facts, this.config.slice(0, 2), this.ticket);
  }
  /** The answer of `GET /v1/config`, with a ticket of this moment. */
  answer(): Json {
    return this.#sign().answer;
  }
}
