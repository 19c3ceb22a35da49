import { setTimeout as sleep } from 'node:timers/promises';
import { KIND } from '../../operator/kinds.ts';
import { isTrue, type ResultityFleet, type ResultityNode } from '../../src/api/index.ts';
import { KubeClient, kubeMetrics, loadConnection, Manager } from '../../src/kube/index.ts';
import { createLogger, Metrics, systemClock } from '../../src/lib/index.ts';
import { KitNetwork, nodeManifest } from '../../test/support/operator-rig.ts';
import { quantile } from '../bench/stats.ts';
import { readState } from '../cluster/state.ts';
import { resolveLayout } from '../cluster/up.ts';
import { SYSTEM_NAMESPACE } from '../demo/names.ts';
import { ownCluster, type Target } from '../demo/target.ts';
import type { Progress } from '../lib/index.ts';
import { playAgents, progressOf } from './agents.ts';
import { changesWhile } from './changes.ts';
import { floorScript } from './floor.ts';
import { joinNetwork } from './network.ts';
import { describeOperator, findOperator, type InstalledOperator, installOperator, stopOperator } from './operator.ts';
import { CpuClock, cpuSeconds, loadText, memoryMiB } from './processes.ts';
import { requestsOf } from './requests.ts';

const NAME = 'fleet-scale';
const NS = 'nodes';
const GPUS_EACH = 8;
/** From one line of the timeline to the next. */
const TICK_MS = 5_000;

export interface TrialOptions {
  readonly nodes: number;
  readonly steadyMs: number;
  /** Further values of the chart, as `helm --set` takes them. */
  readonly sets: readonly string[];
  /** Replicas of a fleet that comes up at the end while other nodes are changed; 0: none. */
  readonly fleet: number;
  readonly floor: boolean;
  /** The agents write as the administrator, so that tokens and their policies cost nothing. */
  readonly adminAgents: boolean;
  readonly progress: Progress;
  readonly signal: AbortSignal;
}
/** Figures by what they are, with their unit. */
export type Figures = Record<string, number>;

/** One cluster, from up to down. */
export const runTrial = async (o: TrialOptions): Promise<Figures> => {
  const { progress, signal } = o;
  const target = await ownCluster(progress, NAME, { gpus: 0, fakeNodes: Math.ceil((o.nodes + o.fleet) / GPUS_EACH) });
  const { cluster } = target;
  if (!cluster) throw new Error('unreachable: the cluster is our own');
  const stop = new AbortController();
  signal.addEventListener('abort', () => stop.abort(), { once: true });
  const network = await KitNetwork.start(cluster.hostAddress);
  let leave = (): void => {};
  try {
    await installOperator(target, progress, o.sets);
    const connection = await loadConnection({ env: {}, clock: systemClock, kubeconfig: cluster.kubeconfig });
    const common = { connection, clock: systemClock, fieldManager: NAME, userAgent: NAME };
    const client = new KubeClient({ ...common, qps: 0 });
    await client.raw('POST', '/api/v1/namespaces', {
      body: { apiVersion: 'v1', kind: 'Namespace', metadata: { name: NS } },
    });
    network.kit.publish();
    const log = createLogger(NAME, 'error');
    const manager = new Manager({ client, clock: systemClock, log, metrics: kubeMetrics(new Metrics()) });
    const digest = network.kit.current?.snapshot.digest ?? '';
    const ownTokens = !o.adminAgents && !o.floor;
    const seen = playAgents({ manager, client, network, digest, ownTokens, signal: stop.signal });
    if (o.floor) {
      await stopOperator(target);
      manager.add(floorScript(client, seen));
    }
    const driver = manager.run(stop.signal);
    const operator = o.floor ? undefined : await findOperator(client);
    if (operator) leave = await joinNetwork(cluster, client, network, NS);
    const trial = new Trial(o, target, client, seen, operator);
    const figures = await measured(trial, operator).catch(async (error) => {
      process.stderr.write(`${await describeOperator(target, NS)}\n`);
      throw error;
    });
    stop.abort();
    await driver;
    await client.close();
    return figures;
  } finally {
    stop.abort();
    leave();
    await network.stop();
    await target.down();
  }
};

const measured = async (trial: Trial, operator: InstalledOperator | undefined): Promise<Figures> => ({
  ...(await trial.rise()),
  ...(operator && (await trial.rest(operator))),
  ...(operator && (await trial.fairness())),
});

class Trial {
  readonly #o: TrialOptions;
  readonly #client: KubeClient;
  readonly #seen: ReturnType<typeof playAgents>;
  readonly #auditLog: string;
  readonly #pids: Readonly<Record<string, number>>;

  constructor(
    o: TrialOptions,
    target: Target,
    client: KubeClient,
    seen: ReturnType<typeof playAgents>,
    operator: InstalledOperator | undefined,
  ) {
    this.#o = o;
    this.#client = client;
    this.#seen = seen;
    this.#auditLog = target.cluster?.auditLog ?? '';
    const processes = Object.entries(readState(resolveLayout({ name: NAME }))?.processes ?? {});
    this.#pids = {
      ...Object.fromEntries(processes.map(([program, { pid }]) => [program, pid])),
      driver: process.pid,
      ...(operator && { operator: operator.pid }),
    };
  }

  /** From nothing until all nodes are Ready. */
  async rise(): Promise<Figures> {
    const { nodes: count, floor, progress } = this.#o;
    await progress.step('until the API server is idle', () => this.#idle());
    const cpu = new CpuClock(this.#pids);
    const [started, startedAt] = [performance.now(), Date.now()];
    const creating = this.#create();
    let lastTold = started;
    let servingMs: number | undefined;
    let moved = { sum: 0, at: started };
    for (;;) {
      const now = progressOf(this.#seen);
      const at = floor ? now.Registered : now.Ready;
      if (now.Serving === count) servingMs ??= performance.now() - started;
      if (performance.now() - lastTold >= TICK_MS || at === count) {
        lastTold = performance.now();
        const seconds = ((lastTold - started) / 1000).toFixed(1);
        progress.line(`${seconds.padStart(6)} s  ${table(now)}  load ${loadText()}`);
      }
      if (at === count) break;
      this.#goOn();
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
    progress.line(`CPU seconds: ${table({ ...used, total }, 1)}`);
    const load = Number(loadText());
    const writes = await this.#writes(startedAt, readyAt);
    const ms = (program: string): number => ((used[program] ?? 0) * 1000) / count;
    return {
      load: load,
      ...(servingMs !== undefined && { 'from the first created to the last Serving, s': servingMs / 1000 }),
      'from the first created to the last Ready, s': readyMs / 1000,
      'CPU a node, everything, ms': (total * 1000) / count,
      'of it API server, ms': ms('kube-apiserver'),
      'of it operator, ms': ms('operator'),
      'writes a node by the operator': writes / count,
    };
  }

  /** While nothing changes, and after a restart. */
  async rest(operator: InstalledOperator): Promise<Figures> {
    const { steadyMs, progress, nodes: count } = this.#o;
    await sleep(15_000); // events are written in the background
    const [from, busy] = [Date.now(), cpuSeconds(operator.pid)];
    await progress.step(`steady state for ${steadyMs / 1000} s`, () => sleep(steadyMs));
    const steadyCpu = cpuSeconds(operator.pid) - busy;
    const steady = await this.#writes(from, Date.now());
    const memory = memoryMiB(operator.pid);
    const text = await operator.get('/metrics');
    progress.line(`operator: ${memory.now} MiB resident, peak ${memory.peak}, limit ${operator.memoryLimit}`);

    const system = `/api/v1/namespaces/${SYSTEM_NAMESPACE}/pods`;
    await this.#client.raw('DELETE', `${system}/${operator.pod}`);
    const again = await findOperator(this.#client);
    for (let quiet = 0; quiet < 3; this.#goOn()) {
      const { phase, queues } = JSON.parse(await again.get('/statusz')) as Statusz;
      const { ready = 1, running = 1 } = queues.node ?? {};
      quiet = phase === 'leading' && ready + running === 0 ? quiet + 1 : 0;
      await sleep(100);
    }
    const over = Date.now();
    const after = await again.get('/metrics');
    const looks = metric(after, 'controller_runtime_reconcile_total', /controller="node"/);
    if (looks < count) throw new Error(`the restarted operator has looked at ${looks} of ${count} nodes`);
    return {
      [`writes in ${steadyMs / 1000} s of steady state`]: steady,
      'CPU meanwhile, s': steadyCpu,
      'resident, MiB': memory.now,
      'peak, MiB': memory.peak,
      'heap, MiB': metric(text, 'nodejs_heap_size_used_bytes') / 2 ** 20,
      'event loop p99, ms': metric(text, 'nodejs_eventloop_lag_p99_seconds') * 1000,
      'after a restart, process start to every node looked at, s':
        over / 1000 - metric(after, 'process_start_time_seconds'),
    };
  }

  /** How long a change of a single node takes to its pod, at rest and while a fleet of hundreds comes up. */
  async fairness(): Promise<Figures> {
    const { fleet: replicas, progress } = this.#o;
    if (replicas === 0) return {};
    const single = this.#seen.nodes.list();
    const quiet = await changesWhile(this.#client, this.#seen.pods, single.slice(0, 40), sleep(10_000));
    const { spec: template } = nodeOf('f');
    await this.#client.create(KIND.fleet, {
      apiVersion: 'resultity.com/v1alpha1',
      kind: 'ResultityFleet',
      metadata: { name: 'f', namespace: NS },
      spec: { replicas, template },
    } as unknown as ResultityFleet);
    const ready = this.#fleetReady(replicas);
    const during = await progress.step(`a fleet of ${replicas} while others change`, () =>
      changesWhile(this.#client, this.#seen.pods, single.slice(40), ready),
    );
    return {
      'a change to its pod at rest, p50, ms': quantile(quiet, 0.5),
      'a change to its pod at rest, p99, ms': quantile(quiet, 0.99),
      'a fleet comes up beside, s': await ready,
      'changes meanwhile': during.length,
      'a change to its pod meanwhile, p50, ms': quantile(during, 0.5),
      'a change to its pod meanwhile, p99, ms': quantile(during, 0.99),
    };
  }

  /** Seconds until the fleet's nodes are Ready. */
  async #fleetReady(replicas: number): Promise<number> {
    const started = performance.now();
    const ready = (): number =>
      this.#seen.nodes.list().filter((n) => n.metadata.name?.startsWith('f-') && isTrue(n.status?.conditions, 'Ready'))
        .length;
    for (; ready() < replicas; this.#goOn()) await sleep(250);
    return (performance.now() - started) / 1000;
  }

  async #create(): Promise<void> {
    const names = Array.from({ length: this.#o.nodes }, (_, i) => `n-${String(i).padStart(5, '0')}`);
    let next = 0;
    const worker = async (): Promise<void> => {
      for (let name = names[next++]; name !== undefined; name = names[next++])
        await this.#client.create(KIND.node, nodeOf(name));
    };
    await Promise.all(Array.from({ length: 16 }, worker));
  }

  /** The operator's writes by the API server's own count, its lease left out; all programs' are printed. */
  async #writes(from: number, to: number): Promise<number> {
    const { nodes: count, progress } = this.#o;
    await sleep(3_000); // until the audit log is on disk
    let writes = 0;
    for (const [program, of] of [...(await requestsOf(this.#auditLog, from, to))].sort()) {
      const kinds = [...of].filter(([what]) => !what.includes(' leases')).sort(([, a], [, b]) => b - a);
      const sum = kinds.reduce((all, [, n]) => all + n, 0);
      if (program.startsWith('resultity-operator')) writes += sum;
      const each = kinds.slice(0, 12).map(([what, n]) => `${what} ${(n / count).toFixed(2)}`);
      if (sum > 0) progress.line(`writes a node by ${program}: ${(sum / count).toFixed(2)} (${each.join(', ')})`);
    }
    return writes;
  }

  /** New kinds keep the API server busy for a while: that is no part of the measurement. */
  async #idle(): Promise<void> {
    const pid = this.#pids['kube-apiserver'] ?? 0;
    for (let i = 0; i < 30; i++, this.#goOn()) {
      const before = cpuSeconds(pid);
      await sleep(2_000);
      if (cpuSeconds(pid) - before < 0.4) return;
    }
  }

  #goOn(): void {
    if (this.#o.signal.aborted) throw new Error('stopped');
  }
}

/** One GPU of a simulated machine. */
const nodeOf = (name: string): ResultityNode => {
  const manifest = nodeManifest(name, NS);
  const { gpu, ...rest } = manifest.spec.placement;
  const tolerations = [{ key: 'kwok.x-k8s.io/node', operator: 'Exists', effect: 'NoSchedule' }];
  const placement = { ...rest, gpu: { ...gpu, count: 1 }, tolerations };
  return { ...manifest, spec: { ...manifest.spec, placement } } as unknown as ResultityNode;
};

interface Statusz {
  readonly phase: string;
  readonly queues: Readonly<Record<string, { readonly ready: number; readonly running: number }>>;
}

/** Sum of a metric's series whose labels match, from the text exposition. */
const metric = (text: string, name: string, match = /.*/): number =>
  text
    .split('\n')
    .filter((line) => line.startsWith(`${name}{`) || line.startsWith(`${name} `))
    .filter((line) => match.test(line))
    .reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' ') + 1)), 0);

const table = (counts: Readonly<Record<string, number>>, digits = 0): string =>
  Object.entries(counts)
    .filter(([, n]) => n > 0)
    .map(([what, n]) => `${what} ${n.toFixed(digits)}`)
    .join('  ');
