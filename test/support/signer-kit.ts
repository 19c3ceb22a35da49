import { createHash } from 'node:crypto';
import type { RootDocument } from '../../src/config/index.ts';
import {
  type ConfigSource,
  configAnswer,
  type MadeSnapshot,
  makeRoot,
  makeSnapshot,
  makeTicket,
  type SignatureEntry,
  signRoot,
  signSnapshot,
  signTicket,
} from '../../src/config/index.ts';
import { CodedError } from '../../src/lib/errors.ts';
import { Secret } from '../../src/lib/secret.ts';
import {
  type Address,
  type ConfigAnswer,
  createSigner,
  type Domain,
  domainOf,
  modelDigest,
  type Sha256,
  type Signer,
} from '../../src/protocol/index.ts';

/** 2026-11-21T10:00:00Z: where every kit's time starts. */
export const KIT_TIME = Date.UTC(2026, 10, 21, 10);
const DAY = 86_400_000;

/** A key that is the same in every run, from a word. */
export const testSigner = (word: string): Signer =>
  createSigner(new Secret(new Uint8Array(createHash('sha256').update(`test key ${word}`).digest())));

export interface KitKeys {
  root: Signer[];
  config: Signer[];
  ticket: Signer[];
  online?: Signer[];
}

const addresses = (signers: readonly Signer[]): Address[] => signers.map((s) => s.address);

/** A small model whose digest holds. */
export const testModel = (name = 'tiny', over: Record<string, unknown> = {}): Record<string, unknown> => {
  const files = [{ path: 'model.safetensors', size: 4, sha256: createHash('sha256').update(name).digest('hex') }];
  return {
    name,
    version: 'v1',
    digest: modelDigest(files),
    state: 'active',
    tasks: ['chat.completions'],
    files,
    sources: ['https://models.example/tiny/'],
    engine: { name: 'vllm', minVersion: '0.18.0', args: { 'max-model-len': 2048 } },
    requires: { gpus: 1, gpuMemoryMiB: 512, diskMiB: 1 },
    test: { request: { messages: [{ role: 'user', content: 'hi' }] }, expect: { contains: 'hi' } },
    ...over,
  };
};

/**
 * A network's signers in memory: makes roots, snapshots and tickets, and serves them as a ConfigSource. Tests tamper with
 * what it holds: `roots`, `answer`, `snapshots` are plain and may be replaced.
 */
export class SignerKit implements ConfigSource {
  readonly network: string;
  readonly chainId: number;
  readonly environment: 'testnet' | 'mainnet';
  now = KIT_TIME;
  epoch = 1;
  version = 0;
  keys: KitKeys;
  /** Answers of /v1/roots/<n>. */
  readonly roots = new Map<number, string>();
  rootVersion = 0;
  /** The answer of /v1/config; undefined is 404. */
  answer: string | undefined;
  readonly snapshots = new Map<Sha256, Uint8Array>();
  current: MadeSnapshot | undefined;
  /** Set to make every call fail. */
  down: Error | undefined;
  /** Every path that was asked for. */
  readonly asked: string[] = [];

  constructor(
    options: { network?: string; chainId?: number; environment?: 'testnet' | 'mainnet'; name?: string } = {},
  ) {
    this.network = options.network ?? 'testnet';
    this.chainId = options.chainId ?? 31337;
    this.environment = options.environment ?? 'testnet';
    this.keys = this.freshKeys(options.name ?? 'first');
    this.addRoot();
  }

  get domain(): Domain {
    return domainOf(this.network, this.chainId);
  }
  /** The first root: what a node pins. */
  get pinnedRoot(): string {
    return this.roots.get(1) ?? '';
  }

  /** Three root keys, three config keys, two ticket keys, of a given name. */
  freshKeys(name: string): KitKeys {
    const make = (role: string, n: number): Signer[] =>
      Array.from({ length: n }, (_, i) => testSigner(`${this.network} ${name} ${role} ${i}`));
    return { root: make('root', 3), config: make('config', 3), ticket: make('ticket', 2) };
  }

  rootDocument(over: Partial<RootDocument> = {}): RootDocument {
    return {
      network: this.network,
      chainId: this.chainId,
      environment: this.environment,
      version: this.rootVersion + 1,
      epoch: this.epoch,
      issuedAt: this.now,
      expiresAt: this.now + 365 * DAY,
      roles: {
        root: { threshold: 2, keys: addresses(this.keys.root) },
        config: { threshold: 2, keys: addresses(this.keys.config) },
        ticket: { threshold: 1, keys: addresses(this.keys.ticket) },
        ...(this.keys.online ? { online: { threshold: 1, keys: addresses(this.keys.online) } } : {}),
      },
      ...over,
    };
  }

  /** Signs and serves the next root with the present keys, and with those of the root before. */
  addRoot(over: Partial<RootDocument> = {}, signers?: readonly Signer[], before: readonly Signer[] = []): string {
    const document = this.rootDocument(over);
    let answer = makeRoot(document);
    for (const signer of signers ?? [...before.slice(0, 2), ...this.keys.root.slice(0, 2)])
      answer = signRoot(answer, signer);
    this.rootVersion = document.version;
    this.epoch = document.epoch;
    this.roots.set(document.version, answer);
    return answer;
  }

  /** New keys of every role, signed in by the old root keys. */
  rotate(name: string, over: Partial<RootDocument> = {}): string {
    const before = this.keys.root;
    this.keys = this.freshKeys(name);
    return this.addRoot(over, undefined, before);
  }

  document(over: Record<string, unknown> = {}): Record<string, unknown> {
    return {
      schema: 1,
      network: this.network,
      environment: this.environment,
      epoch: this.epoch,
      version: this.version,
      models: [testModel()],
      runtimes: [
        {
          engine: 'vllm',
          version: '0.32.0',
          image: `registry.example/vllm@sha256:${'a'.repeat(64)}`,
          accelerator: 'cpu',
        },
      ],
      agent: { version: '0.1.0', image: `registry.example/resultity@sha256:${'b'.repeat(64)}`, minVersion: '0.1.0' },
      jobs: { maxOutputTokens: 512, maxQueue: 8, timeouts: { firstTokenMs: 60_000, gapMs: 30_000, totalMs: 300_000 } },
      isolation: { minTier: 'none' },
      participation: { testnet: true, mainnet: true },
      subclouds: [],
      ttl: { heartbeatMs: 15_000, missedHeartbeats: 3, pollMs: 300_000, retryMs: 5_000, cacheMs: 86_400_000 },
      maxStalenessSeconds: 604_800,
      trustedSources: ['models.example'],
      ...over,
    };
  }

  /** Publishes the next version: snapshot signed by two config keys, a fresh ticket. */
  publish(over: Record<string, unknown> = {}): MadeSnapshot {
    this.version = typeof over.version === 'number' ? over.version : this.version + 1;
    return this.serve(
      makeSnapshot(this.document(over), {
        issuedAt: this.now,
        expiresAt: this.now + 90 * DAY,
        rootVersion: this.rootVersion,
      }),
    );
  }

  /** Publishes bytes that no maker of ours would make. */
  publishRaw(bytes: Uint8Array | string, over: Partial<ConfigAnswer['snapshot']> = {}): MadeSnapshot {
    const raw = Buffer.from(bytes);
    this.version = over.version ?? this.version + 1;
    const snapshot: ConfigAnswer['snapshot'] = {
      network: this.network,
      epoch: this.epoch,
      version: this.version,
      digest: `sha256:${createHash('sha256').update(raw).digest('hex')}`,
      size: raw.length,
      issuedAt: this.now,
      expiresAt: this.now + 90 * DAY,
      rootVersion: this.rootVersion,
      rollbackOf: null,
      ...over,
    };
    return this.serve({ bytes: raw, snapshot, failedModels: [] });
  }

  serve(made: MadeSnapshot, signers: readonly Signer[] = this.keys.config.slice(0, 2)): MadeSnapshot {
    this.current = made;
    this.snapshots.set(made.snapshot.digest, made.bytes);
    this.#answer(made, signers);
    return made;
  }

  /** A new ticket for what is published. */
  ticket(over: Partial<ConfigAnswer['ticket']> = {}, signers?: readonly Signer[]): void {
    if (this.current) this.#answer(this.current, this.keys.config.slice(0, 2), over, signers);
  }

  #answer(
    { snapshot }: MadeSnapshot,
    configSigners: readonly Signer[],
    ticketOver: Partial<ConfigAnswer['ticket']> = {},
    ticketSigners: readonly Signer[] = this.keys.ticket.slice(0, 1),
  ): void {
    const ticket = { ...makeTicket(snapshot, this.now), ...ticketOver };
    this.answer = configAnswer({
      snapshot,
      snapshotSignatures: configSigners.map((s) => signSnapshot(this.domain, snapshot, s)),
      ticket,
      ticketSignatures: ticketSigners.map((s) => signTicket(this.domain, ticket, s)),
    });
  }

  /** Changes the served answer as an attacker would, without signing again. */
  tamper(change: (answer: Record<string, unknown> & { snapshotSignatures: SignatureEntry[] }) => void): void {
    const answer = JSON.parse(this.answer ?? '{}');
    change(answer);
    this.answer = JSON.stringify(answer);
  }

  async config(): Promise<Uint8Array> {
    this.#ask('/v1/config');
    if (this.answer === undefined) throw unreachable('/v1/config');
    return Buffer.from(this.answer);
  }
  async snapshot(digest: Sha256): Promise<Uint8Array> {
    this.#ask(`/v1/config/${digest}`);
    const bytes = this.snapshots.get(digest);
    if (bytes === undefined) throw unreachable(digest);
    return bytes;
  }
  async root(n: number): Promise<Uint8Array | undefined> {
    this.#ask(`/v1/roots/${n}`);
    const answer = this.roots.get(n);
    return answer === undefined ? undefined : Buffer.from(answer);
  }
  #ask(path: string): void {
    this.asked.push(path);
    if (this.down) throw this.down;
  }
}

const unreachable = (what: string): CodedError<'unreachable'> =>
  new CodedError('unreachable', `the kit has no ${what}`);
