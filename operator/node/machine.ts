import { CONTAINER } from '../../src/api/contract.ts';
import type { ResultityNode } from '../../src/api/index.ts';
import type { Store } from '../../src/kube/index.ts';
import { extendedRequests } from '../../src/placement/index.ts';
import type { KubernetesNode, Pod } from '../pod-types.ts';
import type { Machine, NodeFacts } from './facts.ts';
import { containerStatus, containerTrouble } from './trouble.ts';

/** How long an engine may be down on a machine that has lost a GPU before its node moves: a plug-in restarts in seconds. */
export const MOVE_AFTER_MS = 300_000;

/** Says that the machine was taken out of service: a person vouches that nothing runs there any more. */
export const OUT_OF_SERVICE = 'node.kubernetes.io/out-of-service';
const UNREACHABLE = 'node.kubernetes.io/unreachable';

/** A machine that has just joined may be missing from our cache and a pod bound to it already; the cluster's own collector waits as well. */
const GONE_AFTER_MS = 60_000;

const NOWHERE: Machine = { name: '', state: 'unknown', gpuLost: false };

/**
 * The machine of a pod. `known` is the cached object; `exists` asks the API server itself when the cache has none, as a cache
 * may lag and a pod must not be taken for fenced because of that.
 */
export const machineOf = async (
  pod: Pod | undefined,
  kubernetesNodes: Store<KubernetesNode> | undefined,
  pods: Pick<Store<Pod>, 'list'>,
  now: number,
  /** The engine is down: only then its GPU is looked for, which counts all pods. */
  suspect: boolean,
  exists: (name: string) => Promise<boolean>,
): Promise<Machine> => {
  const name = pod?.spec?.nodeName;
  if (pod === undefined || name === undefined || kubernetesNodes === undefined) return NOWHERE;
  const known = kubernetesNodes.get(name);
  if (known === undefined) {
    const old = now - Date.parse(pod.metadata?.creationTimestamp ?? '') >= GONE_AFTER_MS;
    return { name, state: old && !(await exists(name)) ? 'gone' : 'unknown', gpuLost: false };
  }
  const taints = known.spec?.taints ?? [];
  if (taints.some((t) => t.key === OUT_OF_SERVICE)) return { name, state: 'outOfService', gpuLost: false };
  if (taints.some((t) => t.key === UNREACHABLE)) return { name, state: 'unreachable', gpuLost: false };
  return { name, state: 'ready', gpuLost: suspect && gpuLost(pod, known, pods) };
};

/** It does not answer, or the cluster does not know it (any more); nobody has vouched that nothing runs there. */
export const isVanished = (machine: KubernetesNode | undefined): boolean => {
  const taints = machine?.spec?.taints ?? [];
  const has = (key: string): boolean => taints.some((t) => t.key === key);
  return machine === undefined || (has(UNREACHABLE) && !has(OUT_OF_SERVICE));
};

/** A device plug-in takes a broken GPU out of allocatable; who holds it is told by who does not serve any more. */
const gpuLost = (pod: Pod, machine: KubernetesNode, pods: Pick<Store<Pod>, 'list'>): boolean => {
  const [resource] =
    Object.entries(pod.spec?.containers.find((c) => c.name === CONTAINER.runtime)?.resources?.limits ?? {}).find(
      ([name]) => name.includes('/'),
    ) ?? [];
  if (resource === undefined) return false;
  const runtime = pod.status?.containerStatuses?.find((c) => c.name === CONTAINER.runtime);
  if (runtime === undefined || runtime.ready === true) return false;
  const left = Number.parseInt(machine.status?.allocatable?.[resource] ?? '0', 10) || 0;
  let held = 0;
  for (const other of pods.list()) {
    if (other.spec?.nodeName !== machine.metadata?.name) continue;
    if (other.status?.phase === 'Succeeded' || other.status?.phase === 'Failed') continue;
    held += extendedRequests(other)[resource] ?? 0;
  }
  return held > left;
};

/** Why nothing can run any more where the pod was; only then is its object taken away with force. */
export const fenced = ({ machine }: NodeFacts): string | undefined => {
  if (machine.state === 'outOfService') return `machine ${machine.name} is out of service`;
  return machine.state === 'gone' ? `machine ${machine.name} is gone from the cluster` : undefined;
};

/** Its container does not run, or the assigned model has failed in it. */
export const engineDown = ({ status }: ResultityNode, pod: Pod | undefined): boolean =>
  containerTrouble(containerStatus(pod, CONTAINER.runtime)) !== undefined ||
  status?.agent?.models?.find((m) => m.model === status.assignedModel)?.state === 'failed';

/** For how long (ms) the engine has been down on a machine that has lost a GPU; undefined when that is not so. */
export const gpuLostFor = ({ machine, node, pod, now }: NodeFacts): number | undefined => {
  if (!machine.gpuLost) return undefined;
  const serving = node.status?.conditions?.find((c) => c.type === 'Serving');
  if (!engineDown(node, pod) || serving?.status !== 'False') return undefined;
  return now - Date.parse(serving.lastTransitionTime);
};
