import {
  type FitLimits,
  GpuInventory,
  gpuOffers,
  type NodeFacts,
  planFit,
  viewNodes,
} from '../../src/placement/index.ts';
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
    labels: {
      'kubernetes.io/hostname': `gpu-${i}`,
      'nvidia.com/gpu.product': product,
      'nvidia.com/gpu.memory': String(memory),
      'nvidia.com/gpu.count': '8',
      zone: `z${i % 3}`,
    },
    allocatable: { 'nvidia.com/gpu': '8' },
    cordoned: i % 10 === 9,
    taints: [],
  };
});
/** Half full, unevenly. */
const pods = nodes.map((n, i) => ({ nodeName: n.name, finished: false, requests: { 'nvidia.com/gpu': i % 9 } }));
const offers = gpuOffers(nodes, pods);
const need = (i: number) => ({ model: 'm:v1', gpus: 1 + (i % 2), gpuMemoryMiB: 20_000 + (i % 100) * 1000 });
const limits = (i: number): FitLimits => ({
  resourceName: 'nvidia.com/gpu',
  ...(i % 4 === 0 ? {} : { nodeSelector: { zone: `z${i % 4}` } }),
});

/** One fit decision with its explanation over 1 000 GPU nodes of four products (goal: ≥ 5 000/s). */
export const fit: Bench = {
  name: 'fit decided over 1 000 GPU nodes',
  unit: 'decisions/s',
  run: (count) => {
    for (let i = 0; i < count; i++) planFit(need(i), limits(i), offers);
  },
  count: 5000,
};

const inventory = new GpuInventory();
for (const node of nodes) inventory.setNode(node);
for (const [i, pod] of pods.entries()) inventory.setPod(String(i), pod);

/** The same where a pod has come or gone before each decision, as in a scale-up. */
export const fitChanging: Bench = {
  name: 'fit decided after each change of a pod',
  unit: 'decisions/s',
  run: (count) => {
    for (let i = 0; i < count; i++) {
      const nodeName = `gpu-${i % 1000}`;
      inventory.setPod('moving', { nodeName, finished: false, requests: { 'nvidia.com/gpu': 1 } });
      planFit(need(i), limits(i), inventory.offers());
    }
  },
  count: 500,
  baselineOf: 'fit decided over 1 000 GPU nodes',
};

/** The same judged node by node, as why-not does for people: what grouping saves. */
export const fitPerNode: Bench = {
  name: 'fit judged node by node',
  unit: 'decisions/s',
  run: (count) => {
    for (let i = 0; i < count; i++) viewNodes(need(i), limits(i), offers);
  },
  count: 100,
  baselineOf: 'fit decided over 1 000 GPU nodes',
};
