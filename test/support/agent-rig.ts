import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { DestinationStream } from 'pino';
import { type RunningAgent, startAgent } from '../../src/agent/index.ts';
import { parseSettings } from '../../src/agent/settings.ts';
import { type Clock, systemClock } from '../../src/lib/clock.ts';
import { createLogger } from '../../src/lib/log.ts';
import { Metrics } from '../../src/lib/metrics.ts';

const SIM = join(import.meta.dirname, '../standin/vllm-sim.ts');
const PYTHON = existsSync('/usr/bin/python3') ? '/usr/bin/python3' : 'python3';

export interface RigOptions {
  readonly endpoint: string;
  readonly network: string;
  readonly pinnedRoot: string;
  readonly owner?: object;
  readonly privateKey?: string;
  readonly settings?: Record<string, unknown>;
  /** Environment of the agent besides its settings. */
  readonly env?: Record<string, string>;
  /** Default the real one. */
  readonly clock?: Clock;
  /** The dice of its reconnects. */
  readonly random?: () => number;
}

/** The pod on a laptop: the real agent in process, the real launcher.py, the stand-in as its `vllm`, all folders below one. */
export class AgentRig {
  readonly dir = mkdtempSync(join(tmpdir(), 'agent-'));
  readonly paths: Record<string, string>;
  readonly logs: string[] = [];
  /** Called with each line, before the agent goes on. */
  onLog: ((line: string) => void) | null = null;
  readonly callLog = join(this.dir, 'calls.ndjson');
  readonly #options: RigOptions;
  launcher: ChildProcess | null = null;
  agent: RunningAgent | null = null;

  constructor(options: RigOptions) {
    this.#options = options;
    const at = (name: string): string => join(this.dir, name);
    this.paths = {
      control: at('control'),
      engine: at('vllm'),
      models: at('models'),
      state: at('state'),
      cache: at('cache'),
      annotations: at('annotations'),
      trust: at('trust'),
      key: at('key'),
      enrolment: at('enrolment'),
      bind: at('bind'),
      sources: at('sources'),
      serviceAccount: at('serviceaccount'),
    };
    for (const [name, path] of Object.entries(this.paths))
      if (name !== 'annotations') mkdirSync(path, { recursive: true });
    mkdirSync(at('bin'));
    writeFileSync(at('bin/vllm'), `#!/bin/sh\nexec '${process.execPath}' '${SIM}' "$@"\n`, { mode: 0o755 });
    writeFileSync(join(this.paths.key as string, 'private-key'), options.privateKey ?? `0x${'42'.repeat(32)}`);
    writeFileSync(join(this.paths.trust as string, 'root.json'), options.pinnedRoot);
    this.annotate({ 'resultity.com/assigned-model': 'tiny:v1', 'resultity.com/incarnation': '1700000000000' });
  }

  /** Replaces the pod's annotations, as the kubelet does. */
  annotate(all: Record<string, string>): void {
    const text = Object.entries(all)
      .map(([key, value]) => `${key}=${JSON.stringify(value)}`)
      .join('\n');
    writeFileSync(`${this.paths.annotations}.new`, text);
    renameSync(`${this.paths.annotations}.new`, this.paths.annotations as string);
  }

  /** What the agent's container has in its environment. `more` replaces settings, as another pod would have them. */
  environment(more: Record<string, unknown> = {}): Record<string, string> {
    const o = this.#options;
    return {
      ...o.env,
      RESULTITY_AGENT: JSON.stringify({
        name: 'gpu-a',
        namespace: 'default',
        network: { name: o.network, environment: 'testnet', endpoint: o.endpoint, allowInsecureHosts: ['127.0.0.1'] },
        owner: o.owner ?? { email: 'ops@example.com' },
        images: {
          agent: `registry.example/resultity@sha256:${'b'.repeat(64)}`,
          runtime: `registry.example/vllm@sha256:${'a'.repeat(64)}`,
        },
        gpu: { resourceName: 'nvidia.com/gpu', count: 1 },
        drain: { timeoutSeconds: 5, handoverSeconds: 2 },
        ...o.settings,
        ...more,
      }),
    };
  }

  async startAgent(more: Record<string, unknown> = {}): Promise<RunningAgent> {
    const o = this.#options;
    const settings = parseSettings(this.environment(more), '0.1.0', this.paths as never);
    const sink: DestinationStream = {
      write: (line) => {
        this.logs.push(line);
        this.onLog?.(line);
      },
    };
    this.agent = await startAgent({
      settings: { ...settings, port: 0 },
      logger: createLogger('resultity-agent', 'trace', sink),
      metrics: new Metrics(),
      clock: o.clock ?? systemClock,
      ...(o.random ? { random: o.random } : {}),
    });
    return this.agent;
  }

  startLauncher(env: Record<string, string> = {}): void {
    const argv = [
      join(this.paths.control as string, 'launcher.py'),
      '--control',
      this.paths.control,
      '--run',
      this.paths.engine,
    ];
    this.launcher = spawn(PYTHON, [...argv, '--models', this.paths.models] as string[], {
      env: {
        PATH: `${join(this.dir, 'bin')}:${process.env.PATH}`,
        RESULTITY_SIM_LOAD_MS: '30',
        RESULTITY_SIM_TOKEN_MS: '20',
        RESULTITY_SIM_CALL_LOG: this.callLog,
        RESULTITY_GRACE_SECONDS: '30',
        ...env,
      },
      stdio: ['ignore', 'ignore', 'inherit'],
    });
  }

  /** What the engine was asked, by the stand-in's own record. */
  calls(): { request?: string; end: string; path: string }[] {
    if (!existsSync(this.callLog)) return [];
    return readFileSync(this.callLog, 'utf8')
      .trim()
      .split('\n')
      .filter(Boolean)
      .map((line) => JSON.parse(line));
  }

  async close(): Promise<void> {
    await this.agent?.kill();
    this.agent = null;
    const { launcher } = this;
    if (launcher && launcher.exitCode === null) {
      const gone = new Promise((resolve) => launcher.once('exit', resolve));
      writeFileSync(join(this.paths.control as string, 'drained'), '');
      launcher.kill('SIGTERM');
      const timer = setTimeout(() => launcher.kill('SIGKILL'), 3_000);
      await gone;
      clearTimeout(timer);
    }
    rmSync(this.dir, { recursive: true, force: true });
  }
}
