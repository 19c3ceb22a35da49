import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { KIND } from '../../operator/kinds.ts';
import type { Pod } from '../../operator/pod-types.ts';
import type { KubeClient } from '../../src/kube/index.ts';
import { SYSTEM_NAMESPACE } from '../demo/names.ts';
import type { Target } from '../demo/target.ts';
import { buildResultityImage } from '../images/index.ts';
import { type Progress, repoRoot } from '../lib/index.ts';
import { memoryMiB } from './processes.ts';

/** The operator as `helm install` brings it: its pod, and its process as this machine sees it. */
export interface InstalledOperator {
  readonly pod: string;
  readonly pid: number;
  readonly memoryLimit: string;
  /** A path of its HTTP server, through the API server. */
  get(path: string): Promise<string>;
}

const POD_PATH = `/api/v1/namespaces/${SYSTEM_NAMESPACE}/pods`;
const SELECTOR = 'app.kubernetes.io/component=operator';

/** Builds and pushes the image and installs the chart with one replica, its defaults, and `sets` of the caller. */
export const installOperator = async (target: Target, progress: Progress, sets: readonly string[]): Promise<void> => {
  const image = await progress.step('image resultity', () =>
    buildResultityImage({ registry: target.registry, progress }),
  );
  const [repository = '', digest = ''] = image.ref.split('@');
  const values = [`image.repository=${repository}`, `image.digest=${digest}`, 'operator.replicas=1'];
  const all = [...values, 'operator.allowedRepositories={registry.example}', ...sets];
  await progress.step('chart', () =>
    target.helm([
      ...['upgrade', '--install', 'resultity', join(repoRoot, 'charts/resultity-operator'), '--create-namespace'],
      ...['--namespace', SYSTEM_NAMESPACE, '--wait', '--timeout', '180s', ...all.flatMap((set) => ['--set', set])],
    ]),
  );
};

/** For `--floor`: the chart stands, and nobody does its work. */
export const stopOperator = async (target: Target): Promise<void> => {
  await target.kubectl(['-n', SYSTEM_NAMESPACE, 'scale', 'deployment', '-l', SELECTOR, '--replicas=0']);
};

/** What tells why nothing moves. */
export const describeOperator = async (target: Target, nodes: string): Promise<string> => {
  const looks = [
    [
      '-n',
      nodes,
      'get',
      'rnet',
      '-o',
      'jsonpath={range .items[*].status.conditions[*]}{.type} {.status} {.message}{"\\n"}{end}',
    ],
    ['-n', SYSTEM_NAMESPACE, 'logs', '-l', SELECTOR, '--tail=20'],
  ];
  return (await Promise.all(looks.map((args) => target.kubectl(args).catch(String)))).join('\n');
};

/** The one operator that is ready and not about to end; waits for it. */
export const findOperator = async (client: KubeClient): Promise<InstalledOperator> => {
  for (let attempt = 0; attempt < 600; attempt++, await sleep(100)) {
    const { items } = await client.list(KIND.pod, { namespace: SYSTEM_NAMESPACE, labelSelector: SELECTOR });
    const pod = items.find(isReady);
    if (pod === undefined) continue;
    const { name = '', uid = '' } = pod.metadata ?? {};
    return {
      pod: name,
      pid: largestOf(uid),
      memoryLimit: String(pod.spec?.containers[0]?.resources?.limits?.memory ?? 'none'),
      get: async (path) => {
        const answer = await client.raw('GET', `${POD_PATH}/${name}:9443/proxy${path}`);
        return typeof answer === 'string' ? answer : JSON.stringify(answer);
      },
    };
  }
  throw new Error('no operator is ready after 60 s');
};

const isReady = ({ metadata, status }: Pod): boolean =>
  metadata?.deletionTimestamp === undefined &&
  (status?.conditions ?? []).some(({ type, status }) => type === 'Ready' && status === 'True');

/** Of a pod's processes the one with the most memory, by the pod's uid in the name of their cgroup. */
const largestOf = (uid: string): number => {
  const inPod = readdirSync('/proc').filter((entry) => {
    try {
      return /^\d+$/.test(entry) && readFileSync(`/proc/${entry}/cgroup`, 'utf8').includes(uid);
    } catch {
      return false; // it has ended
    }
  });
  const [largest] = inPod.map(Number).sort((a, b) => memoryMiB(b).now - memoryMiB(a).now);
  if (largest === undefined) throw new Error(`the operator's pod ${uid} has no process on this machine`);
  return largest;
};
