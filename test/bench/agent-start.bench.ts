import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { bundle } from '../../hack/build.ts';
import { repoRoot } from '../../hack/lib/index.ts';
import { MiniNetwork } from '../support/mini-network.ts';
import { until } from '../support/until.ts';
import type { Figures } from './types.ts';

const RUNS = 10;
const FOLDERS = [
  'control',
  'engine',
  'models',
  'state',
  'cache',
  'trust',
  'key',
  'enrolment',
  'bind',
  'serviceAccount',
];

/** Empty folders of a pod, with key, root and annotations in them. */
const podFolders = (dir: string, network: MiniNetwork): Record<string, string> => {
  const paths: Record<string, string> = { annotations: join(dir, 'annotations'), sources: join(dir, 'sources') };
  for (const name of FOLDERS) {
    paths[name] = join(dir, name);
    mkdirSync(join(dir, name));
  }
  writeFileSync(join(dir, 'key/private-key'), `0x${'42'.repeat(32)}`);
  writeFileSync(join(dir, 'trust/root.json'), network.kit.pinnedRoot);
  writeFileSync(join(dir, 'annotations'), 'resultity.com/incarnation="1700000000000"');
  return paths;
};

const field = (pid: number, name: string): number =>
  Number(new RegExp(`${name}:\\s+(\\d+)`).exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0) / 1024;
/** Processor time of a process, ms. */
const cpuOf = (pid: number): number => {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? [];
  return (Number(fields[11]) + Number(fields[12])) * 10;
};

interface Start {
  readonly firstFrameMs: number;
  readonly cpuMs: number;
  readonly rssMiB: number;
  readonly privateMiB: number;
}

/** One start of the bundled agent against a network double on loopback, from spawn to its hello; then 3 s for memory. */
const startOnce = async (program: string): Promise<Start> => {
  const network = await new MiniNetwork().listen();
  const dir = mkdtempSync(join(tmpdir(), 'bench-agent-'));
  const paths = podFolders(dir, network);
  const settings = {
    name: 'bench',
    namespace: 'default',
    network: { name: 'testnet', environment: 'testnet', endpoint: network.endpoint, allowInsecureHosts: ['127.0.0.1'] },
    owner: { email: 'ops@example.com' },
    images: { agent: 'agent', runtime: 'runtime' },
    gpu: { resourceName: 'nvidia.com/gpu', count: 1 },
    drain: { timeoutSeconds: 5, handoverSeconds: 2 },
  };
  const env = { RESULTITY_AGENT: JSON.stringify(settings), RESULTITY_BENCH_PATHS: JSON.stringify(paths) };
  const started = performance.now();
  const child = spawn(process.execPath, [program], { env, stdio: ['pipe', 'inherit', 'inherit'] });
  const pid = child.pid ?? 0;
  try {
    await until('hello', () => network.hello !== null, 30_000);
    const firstFrameMs = performance.now() - started;
    const cpuMs = cpuOf(pid);
    await new Promise((resolve) => setTimeout(resolve, 3_000));
    return { firstFrameMs, cpuMs, rssMiB: field(pid, 'VmRSS'), privateMiB: field(pid, 'RssAnon') };
  } finally {
    child.stdin.destroy();
    await new Promise((resolve) => child.once('exit', resolve));
    await network.close();
    rmSync(dir, { recursive: true, force: true });
  }
};

/** The yardstick: Node alone, empty program. */
const nodeAlone = async (): Promise<number> => {
  const started = performance.now();
  const child = spawn(process.execPath, ['-e', '0'], { stdio: 'ignore' });
  await new Promise((resolve) => child.once('exit', resolve));
  return performance.now() - started;
};

const stats = (all: number[]): string => {
  const sorted = all.toSorted((a, b) => a - b);
  const median = sorted[Math.floor(sorted.length / 2)] ?? 0;
  return `median ${median.toFixed(0)}, ${sorted[0]?.toFixed(0)} … ${sorted.at(-1)?.toFixed(0)}`;
};

/** Budget: ≤ 110 MB of memory, < 300 ms to the first frame. */
export const agentStart: Figures = {
  name: 'start and memory of the bundled agent',
  figures: async () => {
    const program = join(repoRoot, 'node_modules/.cache/agent-bench/agent.mjs');
    await bundle('test/bench/agent-entry.ts', program);
    const starts: Start[] = [];
    const alone: number[] = [];
    for (let i = 0; i < RUNS; i++) {
      alone.push(await nodeAlone());
      starts.push(await startOnce(program));
    }
    const of = (key: keyof Start): string => stats(starts.map((s) => s[key]));
    return [
      `process start to first frame (ms)            ${of('firstFrameMs')} of ${RUNS}; Node alone ${stats(alone)}`,
      `processor time until then (ms)               ${of('cpuMs')}`,
      `memory 3 s later (RSS, MiB)                  ${of('rssMiB')}, of it private ${of('privateMiB')}`,
    ];
  },
};
