import type { Affinity, NodeSelectorRequirement, Placement } from '../../src/api/index.ts';
import { quantityMiB } from '../../src/placement/index.ts';

/** The owner's affinity, and minMemory as a demand on the label of GPU feature discovery, in every term. */
export const gpuAffinity = (placement: Placement): Affinity | undefined => {
  const least = placement.gpu?.minMemory === undefined ? undefined : quantityMiB(placement.gpu.minMemory);
  if (least === undefined) return placement.affinity;
  const demand: NodeSelectorRequirement = {
    key: 'nvidia.com/gpu.memory',
    operator: 'Gt',
    values: [String(Math.max(0, least - 1))],
  };
  const given =
    placement.affinity?.nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution?.nodeSelectorTerms ?? [];
  const terms = given.length === 0 ? [{}] : given;
  return {
    ...placement.affinity,
    nodeAffinity: {
      ...placement.affinity?.nodeAffinity,
      requiredDuringSchedulingIgnoredDuringExecution: {
        nodeSelectorTerms: terms.map((term) => ({
          ...term,
          matchExpressions: [...(term.matchExpressions ?? []), demand],
        })),
      },
    },
  };
};
