/**
 * `bash hack/run fleet-scale -- [--nodes 1000] [--steady 60]`: how the shipped operator bears many nodes. A real API server,
 * controller manager and scheduler on loopback, simulated machines with eight GPUs each (kwok), the bundled operator as a
 * process of its own, and a driver that plays the agents' statuses. Prints from created to Ready, writes per node, writes in
 * steady state, memory and event-loop delay. Everything is taken down at the end.
 */
import { spawn } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { parse } from 'yaml';
import { KIND } from '../../operator/kinds.ts';
import type { Pod } from '../../operator/pod-types.ts';
import { FIELD_MANAGER } from '../../src/api/contract.ts';
import { isTrue, type ResultityNode } from '../../src/api/index.ts';
import {
  Controller,
  done,
  KubeClient,
  type KubeObject,
  kubeMetrics,
  loadConnection,
  Manager,
  objects,
  resource,
} from '../../src/kube/index.ts';
import { createLogger, Metrics, systemClock } from '../../src/lib/index.ts';
import { activeAgent, KitNetwork, networkManifest, nodeManifest } from '../../test/support/operator-rig.ts';
import { bundle } from '../build.ts';
import { clusterDown, clusterUp } from '../cluster/index.ts';
import { cacheDir, repoRoot, terminalProgress } from '../lib/index.ts';

const NS = 'nodes';
const PORT = 19443;
const GPUS_EACH = 8;
const CRD = resource<KubeObject>({
  group: 'apiextensions.k8s.io',
  version: 'v1',
  plural: 'customresourcedefinitions',
  kind: 'CustomResourceDefinition',
  namespaced: false,
});
const NAMESPACE = resource<KubeObject>({
  group: '',
  version: 'v1',
  plural: 'namespaces',
  kind: 'Namespace',
  namespaced: false,
});

const { values } = parseArgs({
  options: { nodes: { type: 'string', default: '1000' }, steady: { type: 'string', default: '60' } },
});
const count = Number(values.nodes);
const steadyMs = Number(values.steady) * 1000;
if (!Number.isInteger(count) || count < 1 || count > 10_000) throw new Error('--nodes: give a number from 1 to 10000');

const progress = terminalProgress();
const log = createLogger('fleet-scale', 'error');

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
const rssMiB = (pid: number): number =>
  Math.round(Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0) / 1024);

/** Plays every agent: as soon as a pod runs, its node's status.agent says Active and the network sees it. */
const playAgents = (manager: Manager, client: KubeClient, network: KitNetwork, digest: string) => {
  const nodes = manager.cache(KIND.node);
  const pods = manager.cache(KIND.pod, { labelSelector: 'resultity.com/role=node' });
  manager.add(
    new Controller({
      name: 'agents',
      clock: systemClock,
      log,
      metrics: kubeMetrics(new Metrics()),
      concurrency: 16,
      sources: [objects<Pod>(pods), objects<ResultityNode>(nodes)],
      reconcile: async (key) => {
        const [node, pod] = [nodes.get(key), pods.get(key)];
        const nodeId = node?.status?.nodeId;
        if (!node || !nodeId || pod?.status?.phase !== 'Running' || node.status?.agent?.phase === 'Active') return done;
        network.states.set(nodeId, { state: 'active', reasons: [] });
        const { name = '', namespace = '' } = node.metadata;
        const status = { agent: activeAgent(nodeId, digest) };
        await client.applyStatus(KIND.node, { metadata: { name, namespace }, status } as unknown as ResultityNode, {
          fieldManager: FIELD_MANAGER.agent,
        });
        return done;
      },
    }),
  );
  return nodes;
};

const name = 'fleet-scale';
const operatorFile = join(cacheDir('scale'), 'operator.mjs');
await bundle('operator/main.ts', operatorFile);
const cluster = await clusterUp({ name, profile: 'control-plane', fakeNodes: Math.ceil(count / GPUS_EACH), progress });
const network = await KitNetwork.start();
const stop = new AbortController();
const children: { kill(): void }[] = [];
try {
  const connection = await loadConnection({ env: {}, clock: systemClock, kubeconfig: cluster.kubeconfig });
  const client = new KubeClient({
    connection,
    clock: systemClock,
    fieldManager: 'fleet-scale',
    userAgent: 'fleet-scale',
  });
  for (const file of readdirSync(join(repoRoot, 'crds')))
    await client.create(CRD, parse(readFileSync(join(repoRoot, 'crds', file), 'utf8')) as KubeObject);
  await client.create(NAMESPACE, { metadata: { name: NS } });
  await sleep(2_000); // until the new kinds are served

  network.kit.publish();
  const digest = network.kit.current?.snapshot.digest ?? '';
  const manager = new Manager({ client, clock: systemClock, log, metrics: kubeMetrics(new Metrics()) });
  const nodes = playAgents(manager, client, network, digest);
  const driver = manager.run(stop.signal);

  const operator = spawn(
    process.execPath,
    [
      operatorFile,
      ...[`--kubeconfig=${cluster.kubeconfig}`, '--leader-election=false', `--metrics-port=${PORT}`],
      ...['--allowed-repositories=registry.example', '--log-level=warn'],
    ],
    { stdio: ['ignore', 'inherit', 'inherit'] },
  );
  children.push(operator);
  for (let i = 0; i < 100 && !(await scrape().catch(() => '')); i++) await sleep(100);

  await client.create(KIND.network, networkManifest(network, NS) as never);
  const started = performance.now();
  const names = Array.from({ length: count }, (_, i) => `n-${String(i).padStart(5, '0')}`);
  const toleration = [{ key: 'kwok.x-k8s.io/node', operator: 'Exists', effect: 'NoSchedule' }];
  await progress.step(`creating ${count} ResultityNodes`, async () => {
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
  });
  const readyMs = await progress.step('until all are Ready', async (note) => {
    for (;;) {
      const ready = nodes.list().filter((n) => isTrue(n.status?.conditions, 'Ready')).length;
      note(`${ready} of ${count}`);
      if (ready === count) return performance.now() - started;
      if (performance.now() - started > 1_200_000) throw new Error(`${ready} of ${count} are Ready after 20 min`);
      await sleep(200);
    }
  });
  const after = await scrape();
  await sleep(15_000);
  const before = await scrape();
  await progress.step(`steady state for ${steadyMs / 1000} s`, () => sleep(steadyMs));
  const end = await scrape();
  const pid = operator.pid ?? 0;
  progress.line(`nodes ${count}`);
  progress.line(`from the first created to the last Ready: ${(readyMs / 1000).toFixed(1)} s`);
  progress.line(
    `writes of the operator until then: ${writesOf(after)}, ${(writesOf(after) / count).toFixed(1)} a node`,
  );
  progress.line(`writes in ${steadyMs / 1000} s of steady state: ${writesOf(end) - writesOf(before)}`);
  progress.line(
    `operator: ${rssMiB(pid)} MiB resident, event loop p99 ${(metric(end, 'nodejs_eventloop_lag_p99_seconds') * 1000).toFixed(1)} ms`,
  );
  stop.abort();
  await driver;
  await client.close();
} finally {
  stop.abort();
  for (const child of children) child.kill();
  await network.stop();
  await clusterDown({ name, progress, purge: true });
}
