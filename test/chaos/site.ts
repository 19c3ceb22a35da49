import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { closeSync, mkdirSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Secret } from '../../src/lib/secret.ts';
import { createSigner, modelDigest } from '../../src/protocol/index.ts';
import { SignerKit } from '../support/signer-kit.ts';
import type { Point } from './failpoints.ts';
import { NodeSite } from './node-site.ts';
import { freePort, Program, ROOT, until } from './processes.ts';
import { seeded } from './random.ts';

const NETWORK = fileURLToPath(import.meta.resolve('./network-process.ts'));
const MODEL_BYTES = Buffer.from('these are the weights of a very small model');
const API_KEY = 'sk-chaos-1234567890';

/** What network-process.ts is told. */
export interface NetworkSetup {
  readonly data: string;
  /** File of the pinned root. */
  readonly root: string;
  readonly key: string;
  readonly port: number;
  readonly authorities: readonly string[];
  readonly models: string;
  readonly apiKey: string;
  /** File into which it writes when it kills itself at a failpoint: wall time, ms. */
  readonly killedAt: string;
}

/** An end of the service by SIGKILL: when that was sent, and when its process was seen to be gone. Wall times. */
export interface NetworkKill {
  readonly killedAt: number;
  readonly diedAt: number;
}

export interface SiteOptions {
  /** Data of the service, logs, and the records of the run. */
  readonly dir: string;
  readonly nodes: number;
  /** Jobs that a node works on at once; it queues none. */
  readonly slots: number;
  readonly tokenMs: number;
  readonly seed: number;
}

/** The whole path on loopback: the network service as a process, and nodes, each behind a fault proxy of its own. */
export class Site {
  readonly model = 'tiny:v1';
  readonly apiKey = API_KEY;
  readonly #o: SiteOptions;
  readonly #kit = new SignerKit();
  readonly #network: Program;
  readonly #data: string;
  #setup: NetworkSetup | null = null;
  nodes: readonly NodeSite[] = [];
  port = 0;

  constructor(options: SiteOptions) {
    this.#o = options;
    this.#data = join(options.dir, 'data');
    this.#network = new Program(join(options.dir, 'network.log'));
  }

  get #killedAt(): string {
    return join(this.#o.dir, 'killed-at');
  }
  get rootFile(): string {
    return join(this.#o.dir, 'root.json');
  }
  /** False when a process ended that nobody killed. */
  get healthy(): boolean {
    return this.#network.healthy && this.nodes.every((n) => n.healthy);
  }

  /** Resolves when every node is in rotation: registered, model installed and tested, connected. */
  async start(): Promise<void> {
    const { dir, seed, tokenMs } = this.#o;
    const models = join(dir, 'models');
    mkdirSync(join(models, 'tiny'), { recursive: true });
    writeFileSync(join(models, 'tiny/model.safetensors'), MODEL_BYTES);
    this.port = await freePort();
    this.nodes = Array.from(
      { length: this.#o.nodes },
      (_, index) =>
        new NodeSite({ index, dir, servicePort: this.port, tokenMs, random: seeded(seed, `proxy ${index}`) }),
    );
    const authorities = await Promise.all(this.nodes.map((n) => n.listen()));
    this.#kit.now = Date.now();
    this.#kit.addRoot({ version: 1 });
    writeFileSync(this.rootFile, this.#kit.pinnedRoot);
    const key = `0x${createHash('sha256').update('test key testnet first ticket 0').digest('hex')}`;
    if (createSigner(new Secret(key)).address !== this.#kit.keys.ticket[0]?.address)
      throw new Error('the signer kit makes its keys in another way now');
    this.#setup = {
      data: this.#data,
      root: this.rootFile,
      key,
      port: this.port,
      authorities,
      models,
      apiKey: API_KEY,
      killedAt: this.#killedAt,
    };
    await this.startNetwork();
    await this.#publish();
    await Promise.all(this.nodes.map((n) => n.start(this.#kit.network, this.#kit.pinnedRoot)));
    for (const node of this.nodes) await until('the node is active', 90_000, () => this.connected(node));
  }

  /** Whether the service has a session with the node and offers it work. */
  async connected(node: NodeSite): Promise<boolean> {
    const url = `http://127.0.0.1:${this.port}/v1/status/nodes/${node.address}`;
    const answer = await fetch(url).catch(() => undefined);
    if (answer?.ok !== true) return false;
    const { state, reasons } = (await answer.json()) as { state: string; reasons: readonly string[] };
    return state === 'active' && !reasons.includes('NotConnected');
  }

  /** Resolves when it answers. */
  async startNetwork(): Promise<void> {
    this.#network.start([NETWORK, JSON.stringify(this.#setup)]);
    const ping = `http://127.0.0.1:${this.port}/v1/ping`;
    await until('the service answers', 30_000, async () => (await fetch(ping).catch(() => undefined))?.ok === true);
  }
  /** @returns the wall time at which it was gone */
  async killNetwork(): Promise<NetworkKill> {
    const killedAt = Date.now();
    return { killedAt, diedAt: await this.#network.end('SIGKILL') };
  }
  /** SIGKILL at the write that is named, after `skip` of them; by the driver when none comes in 10 s. */
  async killNetworkAt(point: Point, skip: number): Promise<NetworkKill & { readonly hit: boolean }> {
    this.#network.tell(`${point} ${skip}`);
    const diedAt = await this.#network.dies(10_000);
    if (diedAt === undefined) return { hit: false, ...(await this.killNetwork()) };
    return { hit: true, killedAt: Number(readFileSync(this.#killedAt, 'utf8')), diedAt };
  }
  async stopNetwork(): Promise<void> {
    await this.#network.end('SIGTERM');
  }

  /** Jobs at the engines of all nodes. */
  async open(): Promise<number> {
    return (await Promise.all(this.nodes.map((n) => n.openAtEngine()))).reduce((a, b) => a + b, 0);
  }

  /** Runs a command of the service over its data; its output goes to a file of the folder. */
  command(argv: readonly string[], output: string): number {
    const fd = openSync(join(this.#o.dir, output), 'w');
    const done = spawnSync(process.execPath, ['src/network/main.ts', ...argv, '--data', this.#data], {
      cwd: ROOT,
      env: { ...process.env, NODE_NO_WARNINGS: '1' },
      stdio: ['ignore', fd, fd],
    });
    closeSync(fd);
    return done.status ?? 1;
  }

  /** Ends every process that it started. */
  async close(): Promise<void> {
    await Promise.all(this.nodes.map((n) => n.close()));
    await this.killNetwork();
  }

  async #publish(): Promise<void> {
    const sha256 = createHash('sha256').update(MODEL_BYTES).digest('hex');
    const files = [{ path: 'model.safetensors', size: MODEL_BYTES.length, sha256 }];
    const source = `127.0.0.1:${this.port}`;
    const made = this.#kit.publish({
      models: [
        {
          name: 'tiny',
          version: 'v1',
          digest: modelDigest(files),
          state: 'active',
          tasks: ['chat.completions'],
          files,
          sources: [`http://${source}/models/tiny/`],
          engine: {
            name: 'vllm',
            minVersion: '0.18.0',
            args: { 'max-model-len': 2048, 'max-num-seqs': this.#o.slots },
          },
          requires: { gpus: 1, gpuMemoryMiB: 1, diskMiB: 1 },
          test: {
            request: { messages: [{ role: 'user', content: 'What is the capital of France?' }], max_tokens: 1 },
            expect: { contains: 'Paris' },
          },
        },
      ],
      jobs: { maxOutputTokens: 64, maxQueue: 0, timeouts: { firstTokenMs: 30_000, gapMs: 30_000, totalMs: 60_000 } },
      ttl: { heartbeatMs: 1_000, missedHeartbeats: 5, pollMs: 300_000, retryMs: 200, cacheMs: 86_400_000 },
      trustedSources: ['127.0.0.1', source],
    });
    const { snapshotSignatures } = JSON.parse(this.#kit.answer ?? '{}');
    const answer = await fetch(`http://127.0.0.1:${this.port}/v1/admin/publications`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({
        snapshot: made.snapshot,
        snapshotSignatures,
        document: Buffer.from(made.bytes).toString(),
      }),
    });
    if (!answer.ok) throw new Error(`the configuration was not published: ${await answer.text()}`);
  }
}
