import { existsSync, readFileSync } from 'node:fs';
import { request } from 'node:http';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { Secret } from '../../src/lib/secret.ts';
import { createSigner } from '../../src/protocol/index.ts';
import { AgentRig } from '../support/agent-rig.ts';
import type { Point } from './failpoints.ts';
import { Program, until } from './processes.ts';
import { FaultProxy } from './proxy.ts';
import type { Random } from './random.ts';
import { type JournalRow, readJournal } from './records.ts';

const AGENT = fileURLToPath(import.meta.resolve('./agent-process.ts'));

export interface NodeOptions {
  /** Counts from 0. */
  readonly index: number;
  /** Folder of its log. */
  readonly dir: string;
  readonly servicePort: number;
  readonly tokenMs: number;
  readonly random: Random;
}

/** One node: agent as a process, launcher and stand-in, and a fault proxy of its own between it and the service. */
export class NodeSite {
  readonly address: string;
  readonly proxy: FaultProxy;
  readonly #o: NodeOptions;
  readonly #key: string;
  readonly #agent: Program;
  #authority = '';
  #network = '';
  #rig: AgentRig | null = null;
  /** A strike is under way: it may be dead, frozen or cut off. */
  struck = false;

  constructor(options: NodeOptions) {
    this.#o = options;
    this.#key = `0x${(0x42 + options.index).toString(16).repeat(32)}`;
    this.address = createSigner(new Secret(this.#key)).address;
    this.proxy = new FaultProxy(options.servicePort, options.random);
    this.#agent = new Program(join(options.dir, `agent-${options.index}.log`));
  }

  get #pod(): AgentRig {
    if (!this.#rig) throw new Error('the node is not started');
    return this.#rig;
  }
  get callLog(): string {
    return this.#pod.callLog;
  }
  get healthy(): boolean {
    return this.#agent.healthy;
  }

  /** Opens the proxy. @returns the authority by which the node knows the service */
  async listen(): Promise<string> {
    this.#authority = `127.0.0.1:${await this.proxy.listen()}`;
    return this.#authority;
  }
  /** Resolves when the launcher runs; the model is installed and tested after that. */
  async start(network: string, pinnedRoot: string): Promise<void> {
    this.#network = network;
    this.#rig = new AgentRig({
      endpoint: `http://${this.#authority}`,
      network,
      pinnedRoot,
      privateKey: this.#key,
    });
    this.startAgent();
    await until('the launcher is installed', 30_000, () =>
      existsSync(join(this.#pod.paths.control as string, 'desired.json')),
    );
    this.#pod.startLauncher({ RESULTITY_SIM_TOKEN_MS: String(this.#o.tokenMs) });
    process.once('exit', this.#stopLauncher);
  }
  startAgent(): void {
    const settings = {
      name: `gpu-${this.#o.index}`,
      namespace: 'default',
      network: {
        name: this.#network,
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
    this.#agent.start([AGENT], {
      RESULTITY_AGENT: JSON.stringify(settings),
      RESULTITY_CHAOS_PATHS: JSON.stringify(this.#pod.paths),
    });
  }
  killAgent(): Promise<number> {
    return this.#agent.end('SIGKILL');
  }
  /** SIGKILL at the write that is named, after `skip` of them; by the driver when none comes in 10 s. @returns whether it hit */
  async killAgentAt(point: Point, skip: number): Promise<boolean> {
    this.#agent.tell(`${point} ${skip}`);
    const hit = (await this.#agent.dies(10_000)) !== undefined;
    if (!hit) await this.killAgent();
    return hit;
  }
  /** SIGSTOP, and SIGCONT after `ms`. */
  async freeze(ms: number, signal: AbortSignal): Promise<void> {
    this.#agent.signal('SIGSTOP');
    try {
      await sleep(ms, undefined, { signal }).catch(() => {});
    } finally {
      this.#agent.signal('SIGCONT');
    }
  }

  /** The open rows of its journal. A dead agent has its files as the kill left them; a living one is held still meanwhile. */
  async openRows(at: number, agent: 'dead' | 'alive'): Promise<JournalRow[]> {
    const look = (): JournalRow[] => readJournal(this.#pod.paths.state as string, 'open', at);
    if (agent === 'dead') return look();
    this.#agent.signal('SIGSTOP');
    try {
      await sleep(5);
      return look();
    } finally {
      this.#agent.signal('SIGCONT');
    }
  }
  /** All rows; the agent must be dead. */
  allRows(at: number): JournalRow[] {
    return readJournal(this.#pod.paths.state as string, 'all', at);
  }

  /** Requests that hold a slot of the engine or wait for one, by the stand-in's own word; 0 while it cannot be asked. */
  async openAtEngine(): Promise<number> {
    const text = await getUnix(join(this.#pod.paths.engine as string, 'engine.sock'), '/metrics').catch(() => '');
    return [...text.matchAll(/^vllm:num_requests_(?:running|waiting)\{.*\} (\d+)$/gm)].reduce(
      (n, m) => n + Number(m[1]),
      0,
    );
  }

  /** Ends every process of it; its folders go, the run's stay. */
  async close(): Promise<void> {
    await this.killAgent();
    process.removeListener('exit', this.#stopLauncher);
    await this.#rig?.close();
    await this.proxy.close();
  }

  /** When the driver dies without an end: launcher and engine. */
  readonly #stopLauncher = (): void => {
    const { launcher, paths } = this.#pod;
    launcher?.kill('SIGKILL');
    const facts = JSON.parse(readFileSync(join(paths.engine as string, 'launcher.json'), 'utf8')) as { pid?: number };
    if (facts.pid) process.kill(facts.pid, 'SIGKILL');
  };
}

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
