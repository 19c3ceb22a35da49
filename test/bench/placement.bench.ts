import { gpuOffers, type NodeFacts, planFit } from '../../src/placement/index.ts';
import type { Bench } from './types.ts';

const PRODUCTS = [
  ['NVIDIA-H200', 143_771],
  ['NVIDIA-A100-SXM4-80GB', 81_920],
  ['NVIDIA-L40S', 46_068],
  ['Tesla-T4', 15_360],
] as const;
const nodes: NodeFacts[] = Array.from({ length: 1000 }, (_, i) => {
  const [product, memory] = PRODUCTS[i % PRODUCTS.length] ?? PRODUCTS[0];
  return {
    name: `gpu-${i}`,
    labels: { 'nvidia.com/gpu.product': product, 'nvidia.com/gpu.memory': String(memory), 'nvidia.com/gpu.count': '8' },
    allocatable: { 'nvidia.com/gpu': '8' },
    cordoned: false,
    taints: [],
  };
});
const offers = gpuOffers(nodes, []);

/** One fit decision with its explanation over 1 000 GPU nodes of four products (goal: ≥ 5 000/s). */
export const fit: Bench = {
  name: 'fit decided over 1 000 GPU nodes',
  unit: 'decisions/s',
  run: (count) => {
    for (let i = 0; i < count; i++)
      planFit(
        { model: 'm:v1', gpus: 1, gpuMemoryMiB: 20_000 + (i % 100) * 1000 },
        { resourceName: 'nvidia.com/gpu' },
        offers,
      );
  },
  count: 500,
};
