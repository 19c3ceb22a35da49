import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { meanSd, quantile, spread } from '../../hack/bench/stats.ts';
import { fixedConnection, KubeClient, resource, watch } from '../../src/kube/index.ts';
import { type ApiServer, startApiServer } from '../support/api-server.ts';
import { until } from '../support/until.ts';
import { bundleOurs, ensurePeer } from './peers/build.ts';
import { configMaps, type Stamp, stampCrd, stamps } from './peers/stamps.ts';
import type { Figures } from './types.ts';

const TRIALS = 5;
const OBJECTS = 1_000;
const CHANGES = 300;
const EVERY_MS = 50;
const WORKERS = [1, 8];
/** As the chart starts the operator; 70 % of its memory limit for the heap. */
const V8 = ['--max-semi-space-size=4', '--max-old-space-size=268'];

interface Side {
  readonly name: string;
  readonly argv: (namespace: string, workers: number) => readonly string[];
}
interface Trial {
  readonly burstMs: number;
  readonly p50: number;
  readonly p99: number;
  readonly rssMiB: number;
  readonly peakMiB: number;
  readonly burstCpuMs: number;
  readonly cpuMs: number;
}

const namespaces = resource({ group: '', version: 'v1', plural: 'namespaces', kind: 'Namespace', namespaced: false });
const field = (pid: number, name: string): number =>
  Number(new RegExp(`${name}:\\s+(\\d+)`).exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0) / 1024;
const cpuOf = (pid: number): number => {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? [];
  return (Number(fields[11]) + Number(fields[12])) * 10;
};

/** What the API server shows, seen by a watch of this process: name → stamp that the child carries, that the status carries. */
class Witness {
  readonly children = new Map<string, string>();
  readonly statuses = new Map<string, string>();
  readonly #stop = new AbortController();
  readonly #reading: Promise<unknown>;
  onChild: (name: string, stamp: string) => void = () => {};

  constructor(client: KubeClient, namespace: string) {
    const { signal } = this.#stop;
    const children = async (): Promise<void> => {
      for await (const e of watch(client, configMaps, { namespace, labelSelector: 'bench=stamps', signal })) {
        if (!('object' in e) || e.type === 'delete') continue;
        const { name = '' } = e.object.metadata ?? {};
        this.children.set(name, e.object.data?.stamp ?? '');
        this.onChild(name, e.object.data?.stamp ?? '');
      }
    };
    const parents = async (): Promise<void> => {
      for await (const e of watch(client, stamps, { namespace, signal }))
        if ('object' in e) this.statuses.set(e.object.metadata?.name ?? '', e.object.status?.stamp ?? '');
    };
    this.#reading = Promise.all([children(), parents()]);
  }
  all(names: readonly string[], stamp: string): boolean {
    return names.every((name) => this.children.get(name) === stamp && this.statuses.get(name) === stamp);
  }
  async close(): Promise<void> {
    this.#stop.abort();
    await this.#reading;
  }
}

const names = Array.from({ length: OBJECTS }, (_, i) => `s-${i}`);
const stampOf = (namespace: string, name: string, stamp: string): Stamp => ({
  metadata: { namespace, name },
  spec: { stamp },
});

/** Creates all objects, sixteen at a time; until each has its child and its status. */
const burst = async (client: KubeClient, witness: Witness, namespace: string): Promise<number> => {
  const started = performance.now();
  const left = names.values();
  const create = async (): Promise<void> => {
    for (const name of left) await client.create(stamps, stampOf(namespace, name, 'first'));
  };
  await Promise.all(Array.from({ length: 16 }, create));
  await until('child and status of every object', () => witness.all(names, 'first'), 300_000);
  return performance.now() - started;
};

/** One change every 50 ms, each of another object: from sending it until this process sees the child that carries it. */
const latencies = async (client: KubeClient, witness: Witness, namespace: string): Promise<number[]> => {
  const took: number[] = [];
  const sent = new Map<string, number>();
  witness.onChild = (name, stamp) => {
    const at = sent.get(`${name} ${stamp}`);
    if (at !== undefined) took.push(performance.now() - at);
    sent.delete(`${name} ${stamp}`);
  };
  const patches: Promise<unknown>[] = [];
  const started = performance.now();
  for (let i = 0; i < CHANGES; i++) {
    await sleep(Math.max(0, started + i * EVERY_MS - performance.now()));
    const name = names[i] ?? '';
    const stamp = `change-${i}`;
    sent.set(`${name} ${stamp}`, performance.now());
    patches.push(client.patchMerge(stamps, { namespace, name }, { spec: { stamp } }));
  }
  await Promise.all(patches);
  await until('the children of all changes', () => took.length === CHANGES, 60_000);
  return took;
};

let trials = 0;
const trial = async (client: KubeClient, side: Side, workers: number): Promise<Trial> => {
  const namespace = `trial-${trials++}`;
  await client.create(namespaces, { metadata: { name: namespace } });
  const witness = new Witness(client, namespace);
  const [program = '', ...args] = side.argv(namespace, workers);
  const child = spawn(program, args, { stdio: ['ignore', 'ignore', 'inherit'], env: {} });
  const ended = once(child, 'exit');
  const pid = child.pid ?? 0;
  try {
    await client.create(stamps, stampOf(namespace, 'warm', 'first'));
    await until(`${side.name} to work`, () => witness.all(['warm'], 'first'), 60_000);
    await sleep(1_000);
    const before = cpuOf(pid);
    const burstMs = await burst(client, witness, namespace);
    const between = cpuOf(pid);
    await sleep(1_000);
    const took = await latencies(client, witness, namespace);
    return {
      burstMs,
      p50: quantile(took, 0.5),
      p99: quantile(took, 0.99),
      rssMiB: field(pid, 'VmRSS'),
      peakMiB: field(pid, 'VmHWM'),
      burstCpuMs: between - before,
      cpuMs: cpuOf(pid) - before,
    };
  } finally {
    child.kill('SIGTERM');
    await ended;
    await witness.close();
    for (const type of [stamps, configMaps]) {
      const { plural, group } = type;
      await client.raw('DELETE', `${group ? `/apis/${group}` : '/api'}/v1/namespaces/${namespace}/${plural}`, {
        timeoutMs: 60_000,
      });
    }
  }
};

const COLUMNS: readonly (readonly [string, keyof Trial, number])[] = [
  ['burst, s', 'burstMs', 2],
  ['p50, ms', 'p50', 1],
  ['p99, ms', 'p99', 1],
  ['RSS, MiB', 'rssMiB', 0],
  ['peak, MiB', 'peakMiB', 0],
  ['CPU burst, s', 'burstCpuMs', 2],
  ['CPU, s', 'cpuMs', 2],
];
const inUnit = (column: keyof Trial, value: number): number =>
  column === 'burstMs' || column === 'burstCpuMs' || column === 'cpuMs' ? value / 1000 : value;

/** Rows of the table: each side, then ours ÷ each other. */
const rows = (workers: number, of: ReadonlyMap<Side, Trial[]>): string[] => {
  const lines: string[] = [];
  const values = (side: Side, column: keyof Trial): number[] =>
    (of.get(side) ?? []).map((t) => inUnit(column, t[column]));
  const line = (name: string, cell: (column: keyof Trial, digits: number) => string): void => {
    lines.push(name.padEnd(30) + COLUMNS.map(([, column, digits]) => cell(column, digits).padStart(15)).join(''));
  };
  lines.push(`${workers} worker${workers > 1 ? 's' : ''}`.padEnd(30) + COLUMNS.map(([t]) => t.padStart(15)).join(''));
  for (const side of of.keys()) line(side.name, (column, digits) => meanSd(values(side, column), digits));
  const [ours, ...others] = of.keys();
  for (const other of others) {
    if (!ours) break;
    line(`  ours ÷ ${other.name}`, (column) =>
      (spread(values(ours, column)).mean / spread(values(other, column)).mean).toFixed(2),
    );
  }
  return lines;
};

const connect = async (server: ApiServer): Promise<KubeClient> => {
  const client = new KubeClient({
    connection: fixedConnection(server.url, server.admin),
    qps: 0,
    fieldManager: 'bench',
  });
  await server.call('POST', '/apis/apiextensions.k8s.io/v1/customresourcedefinitions', stampCrd);
  await until(
    'the new kind',
    async () => (await server.call('GET', '/apis/bench.resultity.com/v1/stamps')).status === 200,
  );
  return client;
};

/** Goal: stamp → child no later than the peer, at the median and at p99. */
export const peer: Figures = {
  name: 'peer: src/kube beside a controller-runtime controller of the same task',
  onlyByName: true,
  figures: async () => {
    const [go, ours] = [await ensurePeer(), await bundleOurs()];
    const server = await startApiServer();
    const reach = JSON.stringify({ url: server.url, admin: server.admin });
    const goSide = (name: string, writes: string): Side => ({
      name,
      argv: (namespace, workers) => [
        go,
        ...[`-config=${server.kubeconfig}`, `-namespace=${namespace}`, `-workers=${workers}`, `-writes=${writes}`],
      ],
    });
    const sides: Side[] = [
      {
        name: 'ours',
        argv: (namespace, workers) => [process.execPath, ...V8, ours, reach, namespace, String(workers)],
      },
      goSide('controller-runtime, apply', 'apply'),
      goSide('controller-runtime, update', 'update'),
    ];
    const client = await connect(server);
    try {
      const lines: string[] = [
        `${TRIALS} trials each, in turns; ${OBJECTS} objects, then ${CHANGES} changes at ${1000 / EVERY_MS}/s; mean ± sd`,
      ];
      for (const workers of WORKERS) {
        const of = new Map<Side, Trial[]>(sides.map((side) => [side, []]));
        for (let i = 0; i < TRIALS; i++) {
          const turn = sides.map((_, n) => sides[(n + i) % sides.length] as Side);
          for (const side of turn) of.get(side)?.push(await trial(client, side, workers));
        }
        lines.push(...rows(workers, of));
      }
      return lines;
    } finally {
      await client.close();
      await server.stop();
    }
  },
};
