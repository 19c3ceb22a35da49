/**
 * `bash hack/run fleet-scale --nodes 1000 [--steady 60] [--floor] [--admin-agents] [--node-flags "…"]`: how the bundled
 * operator bears many nodes. A real API server, controller manager and scheduler on loopback, simulated machines with eight
 * GPUs each (kwok), the operator as a process of its own with the chart's account, rights and admission policies, and a driver that plays the agents' statuses, each with the token
 * and the rights of its pod. Prints how far the nodes are every 5 s, CPU of each program, writes by program and kind, writes
 * in steady state, memory, event-loop delay, and how long a restarted operator takes to look at every node again.
 * `--floor`: the same without the operator, whose place a script takes that makes one Secret, one pod and one status write
 * a node: what the machine can do at best. Everything is taken down at the end.
 *
 * Reading order: install, agents, floor, processes, requests, this.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { KIND } from '../../operator/kinds.ts';
import type { ResultityNode } from '../../src/api/index.ts';
import { KubeClient, kubeMetrics, loadConnection, Manager, terminationSignal } from '../../src/kube/index.ts';
import { createLogger, Metrics, systemClock } from '../../src/lib/index.ts';
import { KitNetwork, networkManifest, nodeManifest } from '../../test/support/operator-rig.ts';
import { bundle } from '../build.ts';
import { clusterDown, clusterUp } from '../cluster/index.ts';
import { readState } from '../cluster/state.ts';
import { resolveLayout } from '../cluster/up.ts';
import { cacheDir, terminalProgress } from '../lib/index.ts';
import { playAgents, progressOf } from './agents.ts';
import { floorScript } from './floor.ts';
import { installChart } from './install.ts';
import { CpuClock, cpuSeconds, loadText, memoryMiB } from './processes.ts';
import { requestsOf } from './requests.ts';

const NS = 'nodes';
const PORT = 19443;
const GPUS_EACH = 8;
/** From one line of the timeline to the next. */
const TICK_MS = 5_000;
const { values } = parseArgs({
  options: {
    nodes: { type: 'string', default: '1000' },
    steady: { type: 'string', default: '60' },
    floor: { type: 'boolean', default: false },
    'admin-agents': { type: 'boolean', default: false },
    'node-flags': { type: 'string', default: '' },
    'operator-flags': { type: 'string', default: '' },
  },
});
const count = Number(values.nodes);
const steadyMs = Number(values.steady) * 1000;
if (!Number.isInteger(count) || count < 1 || count > 10_000) throw new Error('--nodes: give a number from 1 to 10000');

const progress = terminalProgress();
const log = createLogger('fleet-scale', 'error');
const words = (text: string): string[] => text.split(' ').filter((w) => w !== '');

/** Sum of a metric's series whose labels match, from the text exposition. */
const metric = (text: string, name: string, match = /.*/): number =>
  text
    .split('\n')
    .filter((line) => line.startsWith(`${name}{`) || line.startsWith(`${name} `))
    .filter((line) => match.test(line))
    .reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' ') + 1)), 0);
const scrape = async (): Promise<string> => (await fetch(`http://127.0.0.1:${PORT}/metrics`)).text();
const writesOf = (text: string): number =>
  metric(text, 'rest_client_requests_total', /method="(POST|PATCH|PUT|DELETE)"/);
interface Statusz {
  readonly phase: string;
  readonly queues: Readonly<Record<string, { readonly ready: number; readonly running: number }>>;
}

const name = 'fleet-scale';
const operatorFile = join(cacheDir('scale'), 'operator.mjs');
await bundle('operator/main.ts', operatorFile);
const stop = new AbortController();
const ended = terminationSignal(process);
ended.addEventListener('abort', () => stop.abort(), { once: true });
const goOn = (): void => {
  if (ended.aborted) throw new Error('stopped');
};
let operator: ChildProcess | undefined;
const cluster = await clusterUp({
  name,
  profile: 'control-plane',
  fakeNodes: Math.ceil(count / GPUS_EACH),
  progress,
});
const network = await KitNetwork.start();

const startOperator = (kubeconfig: string): ChildProcess =>
  spawn(
    process.execPath,
    [
      ...words(values['node-flags']),
      operatorFile,
      ...[`--kubeconfig=${kubeconfig}`, '--leader-election=false', `--metrics-port=${PORT}`],
      ...['--allowed-repositories=registry.example', '--log-level=warn', ...words(values['operator-flags'])],
    ],
    { stdio: ['ignore', 'inherit', 'inherit'] },
  );
const answers = async (): Promise<void> => {
  for (let i = 0; i < 300; i++, goOn()) {
    if (
      await fetch(`http://127.0.0.1:${PORT}/readyz`)
        .then((r) => r.ok)
        .catch(() => false)
    )
      return;
    await sleep(100);
  }
  throw new Error('the operator does not become ready');
};
/** New kinds keep the API server busy for a while: that is no part of the measurement. */
const idle = async (pid: number): Promise<void> => {
  for (let i = 0; i < 30; i++, goOn()) {
    const before = cpuSeconds(pid);
    await sleep(2_000);
    if (cpuSeconds(pid) - before < 0.4) return;
  }
};
const table = (counts: Readonly<Record<string, number>>, digits = 0): string =>
  Object.entries(counts)
    .map(([what, n]) => `${what} ${n.toFixed(digits)}`)
    .join('  ');

try {
  const connection = await loadConnection({ env: {}, clock: systemClock, kubeconfig: cluster.kubeconfig });
  const client = new KubeClient({
    connection,
    clock: systemClock,
    fieldManager: 'fleet-scale',
    userAgent: 'fleet-scale',
    qps: 0,
  });
  const operatorKubeconfig = await installChart(client, NS);

  network.kit.publish();
  const digest = network.kit.current?.snapshot.digest ?? '';
  const manager = new Manager({ client, clock: systemClock, log, metrics: kubeMetrics(new Metrics()) });
  const ownTokens = !values['admin-agents'] && !values.floor;
  const seen = playAgents({ manager, client, network, digest, ownTokens, signal: stop.signal });
  if (values.floor) manager.add(floorScript(client, seen));
  const driver = manager.run(stop.signal);
  if (!values.floor) {
    operator = startOperator(operatorKubeconfig);
    await answers();
    await client.create(KIND.network, networkManifest(network, NS) as never);
  }

  const processes = readState(resolveLayout({ name }))?.processes ?? {};
  const pids: Record<string, number> = {
    ...Object.fromEntries(Object.entries(processes).map(([program, { pid }]) => [program, pid])),
    driver: process.pid,
    ...(operator?.pid === undefined ? {} : { operator: operator.pid }),
  };
  await progress.step('until the API server is idle', () => idle(pids['kube-apiserver'] ?? 0));
  const cpu = new CpuClock(pids);
  const [started, startedAt] = [performance.now(), Date.now()];
  const seconds = (): string => ((performance.now() - started) / 1000).toFixed(1);
  const names = Array.from({ length: count }, (_, i) => `n-${String(i).padStart(5, '0')}`);
  const toleration = [{ key: 'kwok.x-k8s.io/node', operator: 'Exists', effect: 'NoSchedule' }];
  const create = async (): Promise<void> => {
    let next = 0;
    const worker = async (): Promise<void> => {
      for (let node = names[next++]; node !== undefined; node = names[next++]) {
        const manifest = nodeManifest(node, NS);
        const placement = { ...manifest.spec.placement, tolerations: toleration };
        await client.create(KIND.node, {
          ...manifest,
          spec: { ...manifest.spec, placement },
        } as unknown as ResultityNode);
      }
    };
    await Promise.all(Array.from({ length: 16 }, worker));
  };
  const creating = create();
  const tell = (): void => progress.line(`${seconds().padStart(6)} s  ${table(progressOf(seen))}  load ${loadText()}`);
  let lastTold = performance.now();
  let servingMs: number | undefined;
  let moved = { sum: 0, at: performance.now() };
  for (;;) {
    const now = progressOf(seen);
    const at = values.floor ? now.Registered : now.Ready;
    if (now.Serving === count) servingMs ??= performance.now() - started;
    if (performance.now() - lastTold >= TICK_MS || at === count) {
      lastTold = performance.now();
      tell();
    }
    if (at === count) break;
    goOn();
    const sum = Object.values(now).reduce((a, b) => a + b, 0);
    if (sum !== moved.sum) moved = { sum, at: performance.now() };
    if (performance.now() - moved.at > 60_000)
      throw new Error(`${at} of ${count} are Ready, and nothing moves for 60 s`);
    await sleep(count > 2_000 ? 1_000 : 200); // the driver shares the machine
  }
  await creating;
  const [readyMs, readyAt] = [performance.now() - started, Date.now()];
  const used = cpu.used();
  const total = Object.values(used).reduce((a, b) => a + b, 0);
  progress.line(`nodes ${count}, load ${loadText()}`);
  if (servingMs !== undefined)
    progress.line(`from the first created to the last Serving: ${(servingMs / 1000).toFixed(1)} s`);
  progress.line(`from the first created to the last Ready: ${(readyMs / 1000).toFixed(1)} s`);
  progress.line(
    `CPU seconds until then: ${table({ ...used, total }, 1)}; ${((total * 1000) / count).toFixed(0)} ms a node`,
  );
  await sleep(3_000); // what is written in the background is over, and the audit log on disk
  for (const [program, of] of [...(await requestsOf(cluster.auditLog, startedAt, readyAt))].sort()) {
    const sum = [...of.values()].reduce((a, b) => a + b, 0);
    const each = [...of].sort(([, a], [, b]) => b - a).map(([what, n]) => `${what} ${(n / count).toFixed(2)}`);
    progress.line(`writes a node by ${program}: ${(sum / count).toFixed(2)} (${each.slice(0, 12).join(', ')})`);
  }

  const resting = new CpuClock(pids);
  await sleep(10_000);
  progress.line(`CPU seconds of the 10 s after that: ${table(resting.used(), 1)}`);

  if (operator?.pid !== undefined) {
    const pid = operator.pid;
    await sleep(Math.min(steadyMs, 5_000));
    const before = await scrape();
    const busy = cpuSeconds(pid);
    await progress.step(`steady state for ${steadyMs / 1000} s`, () => sleep(steadyMs));
    const steadyCpu = cpuSeconds(pid) - busy;
    const end = await scrape();
    const memory = memoryMiB(pid);
    progress.line(
      `steady state, ${steadyMs / 1000} s: ${writesOf(end) - writesOf(before)} writes, ${steadyCpu.toFixed(1)} s of CPU`,
    );
    const heap = metric(end, 'nodejs_heap_size_used_bytes') / 2 ** 20;
    progress.line(`operator: ${memory.now} MiB resident (peak ${memory.peak}), heap ${heap.toFixed(0)} MiB`);
    progress.line(
      `event loop p99 ${(metric(end, 'nodejs_eventloop_lag_p99_seconds') * 1000).toFixed(1)} ms, reconciles ${metric(end, 'controller_runtime_reconcile_total', /controller="node"/)}`,
    );
    operator.kill();
    await new Promise((resolve) => operator?.once('exit', resolve));
    operator = startOperator(operatorKubeconfig);
    const again = performance.now();
    await answers();
    const synced = performance.now();
    for (let quiet = 0; quiet < 3; goOn()) {
      const status = (await (await fetch(`http://127.0.0.1:${PORT}/statusz`)).json()) as Statusz;
      const { ready = 1, running = 1 } = status.queues.node ?? {};
      quiet = status.phase === 'leading' && ready + running === 0 ? quiet + 1 : 0;
      await sleep(100);
    }
    const over = performance.now();
    const text = await scrape();
    progress.line(
      `restart: caches after ${((synced - again) / 1000).toFixed(1)} s, every node looked at after ${((over - again) / 1000).toFixed(1)} s (${metric(text, 'controller_runtime_reconcile_total', /controller="node"/)} reconciles, ${writesOf(text)} writes, ${cpuSeconds(operator.pid ?? 0).toFixed(1)} s of CPU), load ${loadText()}`,
    );
  }
  stop.abort();
  await driver;
  await client.close();
} finally {
  stop.abort();
  operator?.kill();
  await network.stop();
  await clusterDown({ name, progress, purge: true });
}
