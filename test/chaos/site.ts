import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { closeSync, existsSync, mkdirSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { type AddressInfo, createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { Secret } from '../../src/lib/secret.ts';
import { createSigner, modelDigest } from '../../src/protocol/index.ts';
import { AgentRig } from '../support/agent-rig.ts';
import { SignerKit } from '../support/signer-kit.ts';
import { FaultProxy } from './proxy.ts';
import type { Random } from './random.ts';

const ROOT = join(import.meta.dirname, '../..');
const AGENT = fileURLToPath(import.meta.resolve('./agent-process.ts'));
const MODEL_BYTES = Buffer.from('these are the weights of a very small model');
const NODE_KEY = `0x${'42'.repeat(32)}`;
const API_KEY = 'sk-chaos-1234567890';

export interface SiteOptions {
  /** Data of the service, logs, and the records of the run. */
  readonly dir: string;
  readonly slots: number;
  readonly tokenMs: number;
  readonly random: Random;
}

/** The whole path on loopback: network service and agent as processes, launcher and stand-in, the proxy between the two. */
export class Site {
  readonly model = 'tiny:v1';
  readonly apiKey = API_KEY;
  readonly #o: SiteOptions;
  readonly #kit = new SignerKit();
  readonly #data: string;
  #rig: AgentRig | null = null;
  #proxy: FaultProxy | null = null;
  #network: ChildProcess | null = null;
  #agent: ChildProcess | null = null;
  #authority = '';
  port = 0;

  constructor(options: SiteOptions) {
    this.#o = options;
    this.#data = join(options.dir, 'data');
  }

  get proxy(): FaultProxy {
    if (!this.#proxy) throw new Error('the site is not started');
    return this.#proxy;
  }
  get stateDir(): string {
    return this.#pod.paths.state as string;
  }
  get callLog(): string {
    return this.#pod.callLog;
  }
  get #pod(): AgentRig {
    if (!this.#rig) throw new Error('the site is not started');
    return this.#rig;
  }

  /** Resolves when the node is in rotation: registered, model installed and tested, connected. */
  async start(): Promise<void> {
    const { dir, random } = this.#o;
    mkdirSync(join(dir, 'models/tiny'), { recursive: true });
    writeFileSync(join(dir, 'models/tiny/model.safetensors'), MODEL_BYTES);
    this.port = await freePort();
    this.#proxy = new FaultProxy(this.port, random);
    this.#authority = `127.0.0.1:${await this.#proxy.listen()}`;
    this.#kit.now = Date.now();
    this.#kit.addRoot({ version: 1 });
    const ticket = createHash('sha256').update('test key testnet first ticket 0').digest('hex');
    if (createSigner(new Secret(`0x${ticket}`)).address !== this.#kit.keys.ticket[0]?.address)
      throw new Error('the signer kit makes its keys in another way now');
    const write = (name: string, text: string): void => writeFileSync(join(dir, name), text, { mode: 0o600 });
    write('root.json', this.#kit.pinnedRoot);
    write('ticket.key', `0x${ticket}`);
    write('api-keys.json', JSON.stringify({ keys: [{ id: 'caller', key: API_KEY, admin: true, perMinute: 1e9 }] }));
    const many = 1e9;
    const limits = { callsPerNode: many, callsPerAddress: many, anyPerAddress: many, statusPerAddress: many };
    write('limits.json', JSON.stringify({ ...limits, registrationsPerAddress: many, noNodeMs: 60_000 }));
    this.#startNetwork();
    await this.#answers();
    await this.#publish();
    this.#rig = new AgentRig({
      endpoint: `http://${this.#authority}`,
      network: this.#kit.network,
      pinnedRoot: this.#kit.pinnedRoot,
      privateKey: NODE_KEY,
    });
    this.startAgent();
    await until('the launcher is installed', 20_000, () =>
      existsSync(join(this.#pod.paths.control as string, 'desired.json')),
    );
    this.#pod.startLauncher({ RESULTITY_SIM_TOKEN_MS: String(this.#o.tokenMs) });
    process.once('exit', this.#stopLauncher);
    await until('the node is active', 60_000, () => this.inRotation());
  }

  /** Whether the service offers the node work. */
  async inRotation(): Promise<boolean> {
    const node = createSigner(new Secret(NODE_KEY)).address;
    const answer = await fetch(`http://127.0.0.1:${this.port}/v1/status/nodes/${node}`).catch(() => undefined);
    return answer?.ok === true && ((await answer.json()) as { state: string }).state === 'active';
  }

  #startNetwork(): void {
    const at = (name: string): string => join(this.#o.dir, name);
    const argv = ['src/network/main.ts', 'serve', '--data', this.#data, '--root', at('root.json')];
    argv.push('--key', at('ticket.key'), '--listen', `127.0.0.1:${this.port}`, '--authority', this.#authority);
    argv.push('--models', at('models'), '--api-keys', at('api-keys.json'), '--limits', at('limits.json'));
    this.#network = this.#spawn('network', argv, {});
  }
  startAgent(): void {
    const settings = {
      name: 'gpu-a',
      namespace: 'default',
      network: {
        name: this.#kit.network,
        environment: 'testnet',
        endpoint: `http://${this.#authority}`,
        allowInsecureHosts: ['127.0.0.1'],
      },
      owner: { email: 'ops@example.com' },
      images: {
        agent: `registry.example/resultity@sha256:${'b'.repeat(64)}`,
        runtime: `registry.example/vllm@sha256:${'a'.repeat(64)}`,
      },
      gpu: { resourceName: 'nvidia.com/gpu', count: 1 },
      drain: { timeoutSeconds: 5, handoverSeconds: 2 },
    };
    this.#agent = this.#spawn('agent', [AGENT], {
      RESULTITY_AGENT: JSON.stringify(settings),
      RESULTITY_CHAOS_PATHS: JSON.stringify(this.#pod.paths),
    });
  }
  /** Starts the service again; resolves when it answers. */
  async restartNetwork(): Promise<void> {
    this.#startNetwork();
    await this.#answers();
  }
  killNetwork(): Promise<void> {
    return ended(this.#network, 'SIGKILL');
  }
  killAgent(): Promise<void> {
    return ended(this.#agent, 'SIGKILL');
  }
  /** False when a process ended that nobody killed. */
  get healthy(): boolean {
    return alive(this.#agent) && alive(this.#network);
  }
  /** Holds the agent still while `look` reads its files. */
  async frozen<T>(look: () => T): Promise<T> {
    this.#agent?.kill('SIGSTOP');
    try {
      await sleep(5);
      return look();
    } finally {
      this.#agent?.kill('SIGCONT');
    }
  }

  /** Requests that hold a slot of the engine or wait for one, by the stand-in's own word; 0 while it cannot be asked. */
  async openAtEngine(): Promise<number> {
    const text = await getUnix(join(this.#pod.paths.engine as string, 'engine.sock'), '/metrics').catch(() => '');
    return [...text.matchAll(/^vllm:num_requests_(?:running|waiting)\{.*\} (\d+)$/gm)].reduce(
      (n, m) => n + Number(m[1]),
      0,
    );
  }

  /** Runs a command of the service over its data; its output goes to a file of the folder. */
  command(argv: readonly string[], output: string): number {
    const fd = openSync(join(this.#o.dir, output), 'w');
    const done = spawnSync(process.execPath, ['src/network/main.ts', ...argv, '--data', this.#data], {
      cwd: ROOT,
      stdio: ['ignore', fd, fd],
    });
    closeSync(fd);
    return done.status ?? 1;
  }
  stopNetwork(): Promise<void> {
    return ended(this.#network, 'SIGTERM');
  }

  /** When the driver is interrupted: ends launcher and engine. Ctrl-C reaches the launcher too, which then leaves its engine. */
  readonly #stopLauncher = (): void => {
    const { launcher, paths } = this.#pod;
    launcher?.kill('SIGKILL');
    const facts = JSON.parse(readFileSync(join(paths.engine as string, 'launcher.json'), 'utf8')) as { pid?: number };
    if (facts.pid) process.kill(facts.pid, 'SIGKILL');
  };

  /** Ends every process that it started; the agent's folders go, the run's stay. */
  async close(): Promise<void> {
    await this.killAgent();
    await this.killNetwork();
    process.removeListener('exit', this.#stopLauncher);
    await this.#rig?.close();
    await this.#proxy?.close();
  }

  #spawn(name: string, argv: readonly string[], env: Record<string, string>): ChildProcess {
    const fd = openSync(join(this.#o.dir, `${name}.log`), 'a');
    const child = spawn(process.execPath, argv, {
      cwd: ROOT,
      env: { ...process.env, NODE_NO_WARNINGS: '1', ...env },
      stdio: ['pipe', fd, fd],
    });
    child.stdin?.on('error', () => {});
    closeSync(fd);
    const kill = (): void => void child.kill('SIGKILL');
    process.once('exit', kill);
    child.once('exit', () => process.removeListener('exit', kill));
    return child;
  }

  async #answers(): Promise<void> {
    const ping = `http://127.0.0.1:${this.port}/v1/ping`;
    await until('the service answers', 20_000, async () => (await fetch(ping).catch(() => undefined))?.ok === true);
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
      jobs: { maxOutputTokens: 64, maxQueue: 64, timeouts: { firstTokenMs: 30_000, gapMs: 30_000, totalMs: 60_000 } },
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

/** Polls until it holds. @throws when `ms` have passed */
export const until = async (what: string, ms: number, holds: () => boolean | Promise<boolean>): Promise<void> => {
  const limit = performance.now() + ms;
  while (!(await holds())) {
    if (performance.now() > limit) throw new Error(`not within ${ms} ms: ${what}`);
    await sleep(100);
  }
};

const freePort = async (): Promise<number> => {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise<void>((resolve) => server.close(() => resolve()));
  return port;
};

const alive = (child: ChildProcess | null): boolean => child?.exitCode === null && child.signalCode === null;

const ended = async (child: ChildProcess | null, signal: NodeJS.Signals): Promise<void> => {
  if (!child || !alive(child)) return;
  const gone = new Promise((resolve) => child.once('exit', resolve));
  child.kill(signal);
  const timer = setTimeout(() => child.kill('SIGKILL'), 10_000);
  await gone;
  clearTimeout(timer);
};

const getUnix = (socketPath: string, path: string): Promise<string> =>
  new Promise((resolve, reject) => {
    const call = request({ socketPath, path, timeout: 2_000 }, (answer) => {
      let text = '';
      answer.setEncoding('utf8').on('data', (part: string) => {
        text += part;
      });
      answer.on('end', () => resolve(text)).on('error', reject);
    });
    call.on('timeout', () => call.destroy(new Error('the engine does not answer')));
    call.on('error', reject).end();
  });
