import type { ResultityNode } from '../../src/api/index.ts';
import type { Store } from '../../src/kube/index.ts';
import type { KubernetesNode } from '../pod-types.ts';
import { isVanished } from './machine.ts';

/** When more than a third of the machines, two at the least, fall silent together, it is the network and not the machines. */
export const isTooMany = (vanished: number, of: number): boolean => vanished >= 2 && vanished * 3 > of;

export const brakeText = (vanished: number, of: number): string =>
  `the machines of ${vanished} of ${of} nodes do not answer or are gone`;

/**
 * Why no pod of a group (a fleet, or the single nodes of a network) may be replaced now; undefined when it may. By the
 * machines themselves: statuses say the same a moment later, and a moment is what a pod needs to be deleted. Pure.
 */
export const brakeOn = (
  group: readonly ResultityNode[],
  machines: Pick<Store<KubernetesNode>, 'get'> | undefined,
): string | undefined => {
  if (machines === undefined) return undefined;
  const vanished = group.filter(({ status }) => {
    const at = status?.kubernetesNode;
    return at !== undefined && isVanished(machines.get(at));
  }).length;
  return isTooMany(vanished, group.length) ? brakeText(vanished, group.length) : undefined;
};
