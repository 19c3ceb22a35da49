import { type GpuLabels, gpuLabels, isGpuResource } from './accelerators.ts';

/** A Kubernetes node as the planner sees it. */
export interface NodeFacts {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly allocatable: Readonly<Record<string, string>>;
  readonly cordoned: boolean;
  readonly taints: readonly { readonly key: string; readonly value?: string; readonly effect: string }[];
  /** The condition that tells of a broken GPU, if one does. */
  readonly problem?: string;
  /** What the kubelet gives to pods' files, in MiB; absent = unknown. */
  readonly diskMiB?: number;
}

/** A pod that uses, or will use, extended resources. */
export interface PodUse {
  readonly nodeName?: string;
  /** Succeeded and Failed pods use nothing. */
  readonly finished: boolean;
  /** By extended resource name. */
  readonly requests: Readonly<Record<string, number>>;
}

/** What one Kubernetes node offers of one extended resource. Memory is of one GPU (or slice, or share), in MiB. */
export interface GpuOffer extends GpuLabels {
  readonly node: NodeFacts;
  readonly resourceName: string;
  readonly total: number;
  readonly free: number;
}

/**
 * All GPU offers, free = allocatable minus the requests of live pods.
 * @param resourceNames more extended resources that count as GPUs (a made-up one in a test cluster, say)
 */
export const gpuOffers = (
  nodes: Iterable<NodeFacts>,
  pods: Iterable<PodUse>,
  resourceNames: readonly string[] = [],
): GpuOffer[] => {
  const used = new Map<string, number>();
  for (const pod of pods) {
    if (pod.finished || pod.nodeName === undefined) continue;
    for (const [name, count] of Object.entries(pod.requests)) {
      const key = `${pod.nodeName} ${name}`;
      used.set(key, (used.get(key) ?? 0) + count);
    }
  }
  const offers: GpuOffer[] = [];
  for (const node of nodes) {
    for (const [resourceName, amount] of Object.entries(node.allocatable)) {
      if (!isGpuResource(resourceName) && !resourceNames.includes(resourceName)) continue;
      const total = Number.parseInt(amount, 10);
      if (!(total > 0)) continue;
      const free = Math.max(0, total - (used.get(`${node.name} ${resourceName}`) ?? 0));
      offers.push({ node, resourceName, total, free, ...gpuLabels(node.labels, resourceName) });
    }
  }
  return offers.sort((a, b) => (a.node.name < b.node.name ? -1 : a.node.name > b.node.name ? 1 : 0));
};
