import type { Affinity, NodeSelectorRequirement, NodeSelectorTerm, Placement } from '../../src/api/index.ts';
import { labelKeys, quantityMiB } from '../../src/placement/index.ts';

/**
 * The owner's affinity, and the memory that is needed as a demand on the nodes' label, so that the scheduler does not take a
 * GPU that the planner knows to be too small. What the model needs holds only where the label is; minMemory asks for it.
 * @param resourceName what the pod asks for; undefined = no GPU
 * @param modelMiB of each GPU
 */
export const gpuAffinity = (
  placement: Placement,
  resourceName: string | undefined,
  modelMiB: number,
): Affinity | undefined => {
  const key = resourceName === undefined ? undefined : labelKeys(resourceName).memory;
  const least = placement.gpu?.minMemory === undefined ? 0 : (quantityMiB(placement.gpu.minMemory) ?? 0);
  const wanted = Math.max(least, modelMiB);
  if (key === undefined || wanted <= 0) return placement.affinity;
  const enough: NodeSelectorRequirement = { key, operator: 'Gt', values: [String(wanted - 1)] };
  const either: NodeSelectorRequirement[] = least > 0 ? [enough] : [enough, { key, operator: 'DoesNotExist' }];
  const given =
    placement.affinity?.nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution?.nodeSelectorTerms ?? [];
  const terms: readonly NodeSelectorTerm[] = given.length === 0 ? [{}] : given;
  return {
    ...placement.affinity,
    nodeAffinity: {
      ...placement.affinity?.nodeAffinity,
      requiredDuringSchedulingIgnoredDuringExecution: {
        nodeSelectorTerms: terms.flatMap((term) =>
          either.map((demand) => ({ ...term, matchExpressions: [...(term.matchExpressions ?? []), demand] })),
        ),
      },
    },
  };
};
