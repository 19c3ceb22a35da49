import type { KubeObject } from '../kube/index.ts';
import { gpuProblem } from './accelerators.ts';
import type { NodeFacts, PodUse } from './offers.ts';
import { quantityMiB } from './quantity.ts';

/** The part of Kubernetes' Node that the planner reads. */
export interface ClusterNode extends KubeObject {
  readonly spec?: {
    readonly unschedulable?: boolean;
    readonly taints?: readonly { readonly key: string; readonly value?: string; readonly effect: string }[];
  };
  readonly status?: {
    readonly allocatable?: Readonly<Record<string, string>>;
    readonly conditions?: readonly { readonly type: string; readonly status: string }[];
  };
}

interface Requesting {
  readonly restartPolicy?: string;
  readonly resources?: { readonly requests?: Readonly<Record<string, string>> };
}

/** The part of Kubernetes' Pod that the planner reads. */
export interface ClusterPod extends KubeObject {
  readonly spec?: {
    readonly nodeName?: string;
    readonly containers?: readonly Requesting[];
    readonly initContainers?: readonly Requesting[];
  };
  readonly status?: { readonly phase?: string };
}

export const nodeFacts = (node: ClusterNode): NodeFacts => {
  const allocatable = node.status?.allocatable ?? {};
  const problem = gpuProblem(node.status?.conditions ?? []);
  const diskMiB = quantityMiB(allocatable['ephemeral-storage'] ?? '');
  return {
    name: node.metadata?.name ?? '',
    labels: node.metadata?.labels ?? {},
    allocatable,
    cordoned: node.spec?.unschedulable === true,
    taints: node.spec?.taints ?? [],
    ...(problem === undefined ? {} : { problem }),
    ...(diskMiB === undefined ? {} : { diskMiB }),
  };
};

export const podUse = (pod: ClusterPod): PodUse => ({
  ...(pod.spec?.nodeName === undefined ? {} : { nodeName: pod.spec.nodeName }),
  finished: pod.status?.phase === 'Succeeded' || pod.status?.phase === 'Failed',
  requests: extendedRequests(pod),
});

/** As the scheduler counts: containers and sidecars add up; a plain init container counts if it asks for more. */
export const extendedRequests = (pod: ClusterPod): Record<string, number> => {
  const sum: Record<string, number> = {};
  const peak: Record<string, number> = {};
  const each = (container: Requesting, take: (name: string, count: number) => void): void => {
    for (const [name, amount] of Object.entries(container.resources?.requests ?? {})) {
      const count = name.includes('/') ? Number.parseInt(amount, 10) : 0;
      if (count > 0) take(name, count);
    }
  };
  const add = (name: string, count: number): void => {
    sum[name] = (sum[name] ?? 0) + count;
  };
  for (const c of pod.spec?.containers ?? []) each(c, add);
  for (const c of pod.spec?.initContainers ?? []) {
    if (c.restartPolicy === 'Always') each(c, add);
    else
      each(c, (name, count) => {
        peak[name] = Math.max(peak[name] ?? 0, count);
      });
  }
  for (const [name, count] of Object.entries(peak)) sum[name] = Math.max(sum[name] ?? 0, count);
  return sum;
};
