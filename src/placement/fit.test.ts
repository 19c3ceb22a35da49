import { expect } from 'chai';
import {
  type FitLimits,
  type FitReason,
  fitOfNode,
  type GpuNeed,
  gpuOffers,
  type NodeFacts,
  nodeFacts,
  type PodUse,
  planFit,
  viewNodes,
} from './index.ts';

const need: GpuNeed = {
  model: 'qwen3-32b:v2',
  gpus: 1,
  gpuMemoryMiB: 71_680,
  computeCapability: '8.0',
  driver: '570',
  diskMiB: 69_632,
};
const LABELS = {
  'nvidia.com/gpu.product': 'NVIDIA-H200',
  'nvidia.com/gpu.memory': '143771',
  'nvidia.com/gpu.compute.major': '9',
  'nvidia.com/gpu.compute.minor': '0',
  'nvidia.com/cuda.driver-version.full': '570.86.15',
};
const machine = (
  labels: Record<string, string> = {},
  more: { allocatable?: Record<string, string>; cordoned?: boolean; taint?: string; condition?: [string, string] } = {},
  name = 'gpu-1',
): NodeFacts =>
  nodeFacts({
    metadata: { name, labels: { ...LABELS, ...labels } },
    spec: {
      unschedulable: more.cordoned === true,
      taints: more.taint === undefined ? [] : [{ key: more.taint, effect: 'NoSchedule' }],
    },
    status: {
      allocatable: more.allocatable ?? { 'nvidia.com/gpu': '8', 'ephemeral-storage': '500Gi' },
      conditions: more.condition === undefined ? [] : [{ type: more.condition[0], status: more.condition[1] }],
    },
  });
const using = (requests: Record<string, number>, nodeName = 'gpu-1'): PodUse => ({
  nodeName,
  finished: false,
  requests,
});
const limits: FitLimits = { resourceName: 'nvidia.com/gpu', disk: 'node' };

/** What is there, what is asked beyond `need`, and what is said. */
const TABLE: readonly [
  string,
  { nodes: readonly NodeFacts[]; pods?: readonly PodUse[]; need?: Partial<GpuNeed>; limits?: Partial<FitLimits> },
  'now' | 'later' | 'never',
  FitReason,
  string,
][] = [
  ['a free GPU', { nodes: [machine()] }, 'now', 'FitFound', 'fits NVIDIA-H200, 143 771 MiB each'],
  [
    'a full node',
    { nodes: [machine()], pods: [using({ 'nvidia.com/gpu': 8 })] },
    'later',
    'NoSpareGPU',
    'no GPU is free for qwen3-32b:v2 (needs 71 680 MiB): NVIDIA-H200 all 8 in use',
  ],
  [
    'some free, too few at once',
    { nodes: [machine()], pods: [using({ 'nvidia.com/gpu': 6 })], need: { gpus: 4 } },
    'later',
    'NoSpareGPU',
    'NVIDIA-H200 2 of 8 free, 4 needed at once',
  ],
  [
    'too few GPUs',
    { nodes: [machine()], need: { gpus: 16 } },
    'never',
    'InsufficientGPUs',
    'has 8 per node, 16 needed',
  ],
  [
    'memory too small',
    { nodes: [machine({ 'nvidia.com/gpu.memory': '40192' })] },
    'never',
    'InsufficientGPUMemory',
    'has 40 192 MiB, 31 488 short',
  ],
  [
    'compute capability too low',
    { nodes: [machine({ 'nvidia.com/gpu.compute.major': '7', 'nvidia.com/gpu.compute.minor': '5' })] },
    'never',
    'ComputeCapabilityTooLow',
    'has compute capability 7.5, 8.0 needed',
  ],
  [
    'disk too small',
    { nodes: [machine({}, { allocatable: { 'nvidia.com/gpu': '8', 'ephemeral-storage': '52428800Ki' } })] },
    'never',
    'InsufficientDisk',
    'has 51 200 MiB of disk, 18 432 short',
  ],
  [
    'a volume that is too small',
    { nodes: [machine()], limits: { disk: { volumeMiB: 20_480 } } },
    'never',
    'InsufficientDisk',
    'has 20 480 MiB of disk, 49 152 short',
  ],
  [
    'a driver too old',
    { nodes: [machine({ 'nvidia.com/cuda.driver-version.full': '535.104.05' })] },
    'later',
    'DriverTooOld',
    'has driver 535.104.05, 570 needed',
  ],
  [
    'another product',
    { nodes: [machine()], limits: { product: 'NVIDIA-B200' } },
    'later',
    'NoMatchingProduct',
    'no node has the product NVIDIA-B200 for qwen3-32b:v2 (needs 71 680 MiB); there are NVIDIA-H200',
  ],
  [
    'a taint of purpose',
    { nodes: [machine({}, { taint: 'team-x' })] },
    'later',
    'TaintNotTolerated',
    'has the taint team-x:NoSchedule, which is not tolerated',
  ],
  ['a cordon', { nodes: [machine({}, { cordoned: true })] }, 'later', 'NodeCordoned', 'NVIDIA-H200 is cordoned'],
  [
    'a node that is not ready',
    { nodes: [machine({}, { taint: 'node.kubernetes.io/not-ready' })] },
    'later',
    'NodeNotReady',
    'is not ready (node.kubernetes.io/not-ready:NoSchedule)',
  ],
  [
    'a GPU problem',
    { nodes: [machine({}, { condition: ['GPUProblem', 'True'] })] },
    'later',
    'GPUProblem',
    'has a GPU problem (condition GPUProblem)',
  ],
  [
    'a selector that matches nothing',
    { nodes: [machine()], limits: { nodeSelector: { zone: 'b' } } },
    'later',
    'NoNodeSelected',
    'all 1 lack zone=b',
  ],
  [
    'an affinity that matches nothing',
    {
      nodes: [machine()],
      limits: {
        affinity: [{ matchExpressions: [{ key: 'nvidia.com/gpu.memory', operator: 'Gt', values: ['150000'] }] }],
      },
    },
    'later',
    'NoNodeSelected',
    'all 1 lack nvidia.com/gpu.memory Gt 150000',
  ],
  ['an empty cluster', { nodes: [] }, 'later', 'NoGPUNodes', 'no node offers nvidia.com/gpu for qwen3-32b:v2'],
  [
    'a MIG profile that no node has',
    {
      nodes: [machine({}, { allocatable: { 'nvidia.com/mig-3g.71gb': '2' } })],
      limits: { migProfile: '7g.141gb' },
    },
    'later',
    'NoMatchingMIGProfile',
    'no node offers the MIG profile 7g.141gb for qwen3-32b:v2 (needs 71 680 MiB); there are 3g.71gb',
  ],
  [
    'MIG strategy mixed, a slice that is large enough',
    {
      nodes: [
        machine({ 'nvidia.com/mig-4g.71gb.memory': '72000' }, { allocatable: { 'nvidia.com/mig-4g.71gb': '1' } }),
      ],
      limits: { migProfile: '4g.71gb' },
    },
    'now',
    'FitFound',
    'fits NVIDIA-H200 4g.71gb, 72 000 MiB each',
  ],
  [
    'MIG strategy mixed, a slice whose memory only its name tells',
    { nodes: [machine({}, { allocatable: { 'nvidia.com/mig-3g.40gb': '2' } })], limits: { migProfile: '3g.40gb' } },
    'never',
    'InsufficientGPUMemory',
    'NVIDIA-H200 3g.40gb has 40 140 MiB, 31 540 short',
  ],
  [
    'MIG strategy single, asked by profile',
    {
      nodes: [machine({ 'nvidia.com/gpu.product': 'NVIDIA-H200-MIG-4g.71gb', 'nvidia.com/gpu.memory': '72000' })],
      limits: { migProfile: '4g.71gb' },
    },
    'later',
    'NoMatchingMIGProfile',
    'write that as gpu.product and leave migProfile out',
  ],
  [
    'MIG strategy single, asked by product',
    {
      nodes: [machine({ 'nvidia.com/gpu.product': 'NVIDIA-H200-MIG-4g.71gb', 'nvidia.com/gpu.memory': '72000' })],
      limits: { product: 'NVIDIA-H200-MIG-4g.71gb' },
    },
    'now',
    'FitFound',
    'fits NVIDIA-H200-MIG-4g.71gb, 72 000 MiB each',
  ],
  [
    'a slice with an attribute, whose resource has a point for the plus',
    {
      nodes: [machine({}, { allocatable: { 'nvidia.com/mig-7g.80gb.me': '1' } })],
      limits: { migProfile: '7g.80gb+me' },
    },
    'now',
    'FitFound',
    'fits NVIDIA-H200 7g.80gb+me',
  ],
  [
    'a shared GPU, which has a share of the memory',
    { nodes: [machine({ 'nvidia.com/gpu.replicas': '4' })] },
    'never',
    'InsufficientGPUMemory',
    'has 35 942 MiB, 35 738 short',
  ],
  [
    'shares, which do not add up to GPUs',
    { nodes: [machine({ 'nvidia.com/gpu.replicas': '2' })], need: { gpus: 2, gpuMemoryMiB: 1 } },
    'never',
    'InsufficientGPUs',
    'is shared, and 2 shares are no 2 GPUs',
  ],
  [
    'memory in bytes',
    { nodes: [machine({ 'nvidia.com/gpu.memory': String(40_192 * 1024 ** 2) })] },
    'never',
    'InsufficientGPUMemory',
    'has 40 192 MiB, 31 488 short',
  ],
  [
    'memory that is not labelled',
    { nodes: [machine({ 'nvidia.com/gpu.memory': '' })] },
    'now',
    'FitFound',
    'fits NVIDIA-H200, memory not labelled',
  ],
  [
    'AMD, by its own labels',
    {
      nodes: [
        machine(
          { 'amd.com/gpu.product-name': 'AMD_Instinct_MI300X_OAM', 'amd.com/gpu.vram': '64G' },
          { allocatable: { 'amd.com/gpu': '8' } },
        ),
      ],
      limits: { resourceName: 'amd.com/gpu' },
    },
    'never',
    'InsufficientGPUMemory',
    'AMD_Instinct_MI300X_OAM has 65 536 MiB, 6 144 short',
  ],
];

describe('placement: every case of a cluster, decided and said', () => {
  for (const [title, world, kind, reason, says] of TABLE)
    it(title, () => {
      const offers = gpuOffers(world.nodes, world.pods ?? []);
      const verdict = planFit({ ...need, ...world.need }, { ...limits, ...world.limits }, offers);
      expect(verdict).to.include({ kind, reason });
      expect(verdict.message).to.contain(says);
      expect(verdict.message).to.have.length.at.most(256);
    });

  it('counts what the pod itself holds as free for it, on its own node only', () => {
    const nodes = [machine(), machine({}, { cordoned: true }, 'gpu-2')];
    const offers = gpuOffers(nodes, [using({ 'nvidia.com/gpu': 8 }), using({ 'nvidia.com/gpu': 8 }, 'gpu-2')]);
    const own = (node: string) => ({ ...limits, own: { node, resourceName: 'nvidia.com/gpu', count: 1 } });
    expect(planFit(need, own('gpu-1'), offers).kind).to.equal('now');
    expect(planFit(need, own('gpu-2'), offers).reason).to.equal('NoSpareGPU');
    expect(planFit(need, own('gone'), offers).reason).to.equal('NoSpareGPU');
  });

  it('prefers for a placed pod what fits where it is, cordoned or not, to what would make it move', () => {
    const small = machine({ 'nvidia.com/gpu.memory': '40192' }, { cordoned: true });
    const offers = gpuOffers([small, machine({}, {}, 'gpu-2')], [using({ 'nvidia.com/gpu': 8 })]);
    const spec = { placement: { unreachableSeconds: 0, fit: 'Advise' as const } };
    const judged = (gpuMemoryMiB: number, count = 1) =>
      fitOfNode(spec, { ref: 'm:v1', requires: { gpus: count, gpuMemoryMiB, diskMiB: 1 } }, offers, {
        node: 'gpu-1',
        resourceName: 'nvidia.com/gpu',
        count: 1,
      });
    expect(judged(40_000)).to.include({ kind: 'now', message: 'm:v1 fits where the pod is' });
    expect(judged(71_680)).to.include({
      kind: 'later',
      message: 'm:v1 fits elsewhere; where the pod is, it has 40 192 MiB, 31 488 short',
    });
    expect(judged(1, 2)).to.include({ kind: 'later' });
    expect(judged(1e6).kind).to.equal('never');
  });

  it('tells of every kind of GPU, and of every node', () => {
    const nodes = [
      machine({}, { cordoned: true }, 'a'),
      machine({ zone: 'b' }, {}, 'b'),
      machine({ 'nvidia.com/gpu.product': 'Tesla-T4', 'nvidia.com/gpu.memory': '15360' }, {}, 'c'),
    ];
    const offers = gpuOffers(nodes, [using({ 'nvidia.com/gpu': 3 }, 'b')]);
    expect(planFit(need, limits, offers).pools).to.deep.equal([
      { name: 'NVIDIA-H200', nodes: 2, total: 16, free: 5, fits: true, memoryMiB: 143_771 },
      {
        ...{ name: 'Tesla-T4', nodes: 1, total: 8, free: 0, fits: false, memoryMiB: 15_360, missingMiB: 56_320 },
        why: 'has 15 360 MiB, 56 320 short',
      },
    ]);
    expect(
      viewNodes(need, { ...limits, nodeSelector: { zone: 'b' } }, offers).map((n) => [n.node, n.text]),
    ).to.deep.equal([
      ['b', '5 of 8 free'],
      ['a', 'lacks zone=b; is cordoned'],
      ['c', 'lacks zone=b; has 15 360 MiB, 56 320 short'],
    ]);
  });

  it('judges equal nodes once: a thousand of them are one group with their sums', () => {
    const nodes = Array.from({ length: 1000 }, (_, i) => machine({ 'kubernetes.io/hostname': `n${i}` }, {}, `n${i}`));
    const offers = gpuOffers(nodes, [using({ 'nvidia.com/gpu': 8 }, 'n7')]);
    expect(planFit(need, limits, offers).pools).to.deep.equal([
      { name: 'NVIDIA-H200', nodes: 1000, total: 8000, free: 7992, fits: true, memoryMiB: 143_771 },
    ]);
    const one = planFit(need, { ...limits, nodeSelector: { 'kubernetes.io/hostname': 'n7' } }, offers);
    expect(one.message).to.contain('NVIDIA-H200 all 8 in use');
  });
});
