import { keyOf, type Store } from '../src/kube/index.ts';
import {
  type ClusterNode,
  extendedRequests,
  GpuInventory,
  type GpuOffer,
  gpuProblem,
  nodeFacts,
  podUse,
} from '../src/placement/index.ts';
import type { Container, Pod } from './pod-types.ts';

export { extendedRequests };

/** The cluster's GPUs out of two caches, counted by what changes in them: a scale-up of thousands costs each decision little. */
export class Inventory {
  readonly #gpus = new GpuInventory();

  constructor(nodes: Store<ClusterNode>, pods: Store<Pod>) {
    for (const node of nodes.list()) this.#gpus.setNode(nodeFacts(node));
    for (const pod of pods.list()) this.#gpus.setPod(keyOf(pod), podUse(pod));
    nodes.subscribe(({ type, object }) => {
      if (type === 'deleted') this.#gpus.removeNode(keyOf(object));
      else this.#gpus.setNode(nodeFacts(object));
    });
    pods.subscribe(({ type, object }) => {
      if (type === 'deleted') this.#gpus.removePod(keyOf(object));
      else this.#gpus.setPod(keyOf(object), podUse(object));
    });
  }

  /** @param asked the resource that a node asks for; counted from now on, whatever its name */
  offers(asked?: string): readonly GpuOffer[] {
    if (asked !== undefined) this.#gpus.include(asked);
    return this.#gpus.offers();
  }
}

/** What the cache keeps of a Kubernetes node. */
export const slimNode = (node: ClusterNode): ClusterNode => ({
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
      Object.entries(node.status?.allocatable ?? {}).filter(
        ([name]) => name.includes('/') || name === 'ephemeral-storage',
      ),
    ),
    // Heartbeats change conditions all the time: only one that tells of a broken GPU is kept.
    conditions: (node.status?.conditions ?? [])
      .filter((c) => gpuProblem([c]) !== undefined)
      .map(({ type, status }) => ({ type, status })),
  },
});

const slimMeta = (object: Pod | ClusterNode): NonNullable<Pod['metadata']> => {
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
