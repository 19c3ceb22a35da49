import type { Store } from '../src/kube/index.ts';
import { type GpuOffer, gpuOffers, type NodeFacts, type PodUse } from '../src/placement/index.ts';
import type { Container, KubernetesNode, Pod } from './pod-types.ts';

/** The cluster's GPUs out of two caches; counted anew only when one of them has moved. */
export class Inventory {
  readonly #nodes: Store<KubernetesNode>;
  readonly #pods: Store<Pod>;
  readonly #resourceNames: readonly string[];
  #at = '';
  #offers: readonly GpuOffer[] = [];

  constructor(nodes: Store<KubernetesNode>, pods: Store<Pod>, resourceNames: readonly string[]) {
    this.#nodes = nodes;
    this.#pods = pods;
    this.#resourceNames = resourceNames;
  }

  offers(): readonly GpuOffer[] {
    const at = `${this.#nodes.version}/${this.#pods.version}`;
    if (at !== this.#at) {
      this.#offers = gpuOffers(this.#nodes.list().map(nodeFacts), this.#pods.list().map(podUse), this.#resourceNames);
      this.#at = at;
    }
    return this.#offers;
  }
}

const nodeFacts = (node: KubernetesNode): NodeFacts => ({
  name: node.metadata?.name ?? '',
  labels: node.metadata?.labels ?? {},
  allocatable: node.status?.allocatable ?? {},
  cordoned: node.spec?.unschedulable === true,
  taints: node.spec?.taints ?? [],
});

const podUse = (pod: Pod): PodUse => ({
  ...(pod.spec?.nodeName === undefined ? {} : { nodeName: pod.spec.nodeName }),
  finished: pod.status?.phase === 'Succeeded' || pod.status?.phase === 'Failed',
  requests: extendedRequests(pod),
});

/** As the scheduler counts: containers and sidecars add up; a plain init container counts if it asks for more. */
export const extendedRequests = (pod: Pod): Record<string, number> => {
  const sum: Record<string, number> = {};
  const peak: Record<string, number> = {};
  const each = (container: Container, take: (name: string, count: number) => void): void => {
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

/** What the cache keeps of a Kubernetes node. */
export const slimNode = (node: KubernetesNode): KubernetesNode => ({
  metadata: slimMeta(node),
  spec: {
    ...(node.spec?.unschedulable === undefined ? {} : { unschedulable: node.spec.unschedulable }),
    taints: (node.spec?.taints ?? []).map(({ key, value, effect }) => ({
      key,
      effect,
      ...(value === undefined ? {} : { value }),
    })),
  },
  status: {
    allocatable: Object.fromEntries(
      Object.entries(node.status?.allocatable ?? {}).filter(([name]) => name.includes('/')),
    ),
  },
});

const slimMeta = (object: Pod | KubernetesNode): NonNullable<Pod['metadata']> => {
  const { name, namespace, uid, resourceVersion, labels, creationTimestamp, deletionTimestamp, ownerReferences } =
    object.metadata ?? {};
  return Object.fromEntries(
    Object.entries({
      name,
      namespace,
      uid,
      resourceVersion,
      labels,
      creationTimestamp,
      deletionTimestamp,
      ownerReferences,
    }).filter(([, v]) => v !== undefined),
  );
};

/** What the cache keeps of a pod: of ours what decisions need, of others only the GPUs they hold. */
export const slimPod =
  (isOurs: (pod: Pod) => boolean) =>
  (pod: Pod): Pod => {
    const status = pod.status;
    const phase = status?.phase === undefined ? {} : { phase: status.phase };
    const at = pod.spec?.nodeName === undefined ? {} : { nodeName: pod.spec.nodeName };
    if (!isOurs(pod)) {
      const requests = Object.fromEntries(Object.entries(extendedRequests(pod)).map(([k, v]) => [k, String(v)]));
      const containers =
        Object.keys(requests).length === 0 ? [] : [{ name: 'all', image: '', resources: { requests } }];
      return { metadata: { ...slimMeta(pod) }, spec: { ...at, containers }, status: phase };
    }
    const slim = (c: Container): Container => ({
      name: c.name,
      image: c.image,
      ...(c.restartPolicy === undefined ? {} : { restartPolicy: c.restartPolicy }),
      ...(c.resources === undefined ? {} : { resources: c.resources }),
    });
    return {
      metadata: {
        ...slimMeta(pod),
        ...(pod.metadata?.annotations === undefined ? {} : { annotations: pod.metadata.annotations }),
      },
      spec: {
        ...at,
        containers: (pod.spec?.containers ?? []).map(slim),
        initContainers: (pod.spec?.initContainers ?? []).map(slim),
      },
      status: {
        ...phase,
        ...(status?.reason === undefined ? {} : { reason: status.reason }),
        ...(status?.podIP === undefined ? {} : { podIP: status.podIP }),
        conditions: (status?.conditions ?? []).map(({ type, status: s, reason, message }) => ({
          type,
          status: s,
          ...(reason === undefined ? {} : { reason }),
          ...(message === undefined ? {} : { message }),
        })),
        initContainerStatuses: status?.initContainerStatuses ?? [],
        containerStatuses: status?.containerStatuses ?? [],
      },
    };
  };
