import type { ResultityNode, ResultityNodeSpec } from '../../src/api/index.ts';
import type { SnapshotDocument } from '../../src/config/index.ts';
import { fitOfNode, type GpuOffer, gpuWanted } from '../../src/placement/index.ts';
import { extendedRequests } from '../inventory.ts';
import type { Pod } from '../pod-types.ts';
import type { Spare } from './surge.ts';

export interface SpareFacts {
  readonly spec: ResultityNodeSpec;
  /** The verified snapshot; undefined while it is not known. */
  readonly document: SnapshotDocument | undefined;
  /** The nodes that are there: the new one would serve what they serve. */
  readonly members: readonly ResultityNode[];
  /** undefined where Kubernetes nodes may not be looked at. */
  readonly offers: readonly GpuOffer[] | undefined;
  readonly pods: Iterable<Pod>;
}

/**
 * Whether a node of this spec has a GPU that nobody else has a claim to: free on a ready machine now, and no pod of anybody
 * waits for its kind. undefined until the configuration is known, as after a restart. Pure.
 */
export const spareFor = ({ spec, document, members, offers, pods }: SpareFacts): Spare | undefined => {
  if (document === undefined) return undefined;
  const ref =
    spec.models?.assigned ?? members.find((n) => n.status?.assignedModel !== undefined)?.status?.assignedModel;
  const model = document.models.find((m) => m.ref === ref);
  if (model === undefined) return { fits: false, why: 'no model is known that it would serve' };
  const fit = fitOfNode(spec, model, offers);
  if (fit.kind !== 'now') return { fits: false, why: fit.message };
  const wanted = gpuWanted(spec.placement, model.requires.gpus);
  if (wanted === undefined) return { fits: true };
  for (const pod of pods) {
    const over =
      pod.metadata?.deletionTimestamp !== undefined || ['Succeeded', 'Failed'].includes(pod.status?.phase ?? '');
    if (over || pod.spec?.nodeName !== undefined) continue;
    if ((extendedRequests(pod)[wanted.resourceName] ?? 0) > 0)
      return {
        fits: false,
        why: `pod ${pod.metadata?.namespace}/${pod.metadata?.name} waits for ${wanted.resourceName}`,
      };
  }
  return { fits: true };
};
