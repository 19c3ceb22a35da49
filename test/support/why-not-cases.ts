/** Clusters in which a node is not placed, each for another reason: for the planner's tests and the plugin's. */
import type { ApprovedModel, ResultityFleet, ResultityNetwork, ResultityNode } from '../../src/api/index.ts';
import {
  type ClusterNode,
  type ClusterPod,
  gpuOffers,
  nodeFacts,
  podUse,
  type WhyNotFacts,
} from '../../src/placement/index.ts';

export interface WhyNotCase {
  readonly title: string;
  readonly node?: Partial<ResultityNode['spec']>;
  readonly status?: ResultityNode['status'];
  readonly network?: ResultityNetwork | null;
  readonly models?: readonly ApprovedModel[];
  readonly machines?: readonly ClusterNode[];
  readonly pods?: readonly ClusterPod[];
  readonly fleet?: ResultityFleet;
  readonly claims?: WhyNotFacts['claims'];
  /** What must be said. */
  readonly answer: 'placed' | 'fits' | 'waits' | 'blocked';
  readonly reason?: string;
  readonly says: string;
}

const NAMESPACE = 'nodes';
const H200 = {
  'nvidia.com/gpu.product': 'NVIDIA-H200',
  'nvidia.com/gpu.memory': '143771',
  'nvidia.com/gpu.compute.major': '9',
  'nvidia.com/gpu.compute.minor': '0',
  'nvidia.com/cuda.driver-version.full': '570.86.15',
};

export const machine = (
  labels: Record<string, string> = {},
  over: {
    readonly name?: string;
    readonly cordoned?: boolean;
    readonly taint?: string;
    readonly problem?: string;
    readonly allocatable?: Record<string, string>;
  } = {},
): ClusterNode => ({
  apiVersion: 'v1',
  kind: 'Node',
  metadata: { name: over.name ?? 'gpu-1', labels: { ...H200, ...labels } },
  spec: {
    ...(over.cordoned ? { unschedulable: true } : {}),
    ...(over.taint ? { taints: [{ key: over.taint, effect: 'NoSchedule' }] } : {}),
  },
  status: {
    allocatable: over.allocatable ?? { 'nvidia.com/gpu': '8', 'ephemeral-storage': '512000Mi' },
    conditions: over.problem === undefined ? [] : [{ type: over.problem, status: 'True' }],
  },
});

export const model = (
  name: string,
  over: { readonly state?: ApprovedModel['spec']['state']; readonly memory?: number; readonly gpus?: number } = {},
): ApprovedModel => ({
  apiVersion: 'resultity.com/v1alpha1',
  kind: 'ApprovedModel',
  metadata: { name: `testnet-${name}`, namespace: NAMESPACE },
  spec: {
    networkRef: { name: 'testnet' },
    name,
    version: 'v2',
    digest: `sha256:${'a'.repeat(64)}`,
    size: 65_000_000_000,
    state: over.state ?? 'active',
    tasks: ['chat.completions'],
    requires: {
      gpus: over.gpus ?? 1,
      gpuMemoryMiB: over.memory ?? 71_680,
      computeCapability: '8.0',
      diskMiB: 69_632,
    },
  },
  status: { sizeSummary: '65 GB', nodes: { active: 1, pending: 0, failed: 0 } },
});

export const network = (): ResultityNetwork => ({
  apiVersion: 'resultity.com/v1alpha1',
  kind: 'ResultityNetwork',
  metadata: { name: 'testnet', namespace: NAMESPACE },
  spec: {
    endpoint: 'https://io.example.com',
    trust: { root: '{}' },
    updates: 'Automatic',
    rollout: { mode: 'InPlace', maxUnavailable: 1, maxSurge: 0, pauseOnFailure: true },
  },
});

export const resultityNode = (
  spec: Partial<ResultityNode['spec']> = {},
  status: ResultityNode['status'] = {},
  name = 'gpu-a',
): ResultityNode => ({
  apiVersion: 'resultity.com/v1alpha1',
  kind: 'ResultityNode',
  metadata: { name, namespace: NAMESPACE },
  spec: {
    networkRef: { name: 'testnet' },
    owner: { email: 'ops@example.com' },
    identity: { retain: true },
    placement: { unreachableSeconds: 86_400, fit: 'Advise' },
    isolation: 'Auto',
    drain: { timeoutSeconds: 300, handoverSeconds: 30 },
    paused: false,
    ...spec,
  },
  status,
});

const placement = (over: Partial<ResultityNode['spec']['placement']>): Partial<ResultityNode['spec']> => ({
  placement: { unreachableSeconds: 86_400, fit: 'Advise', ...over },
});
const gpu = (over: Partial<NonNullable<ResultityNode['spec']['placement']['gpu']>>) =>
  placement({ gpu: { resourceName: 'nvidia.com/gpu', ...over } });
const told = (type: string, reason: string, message: string): ResultityNode['status'] => ({
  conditions: [{ type, status: 'False', reason, message, lastTransitionTime: '2026-11-21T10:00:00Z' }],
});
const using = (count: number, nodeName = 'gpu-1'): ClusterPod => ({
  metadata: { name: `user-of-${nodeName}`, namespace: 'default' },
  spec: { nodeName, containers: [{ resources: { requests: { 'nvidia.com/gpu': String(count) } } }] },
  status: { phase: 'Running' },
});

export const WHY_NOT_CASES: readonly WhyNotCase[] = [
  { title: 'node full', pods: [using(8)], answer: 'waits', reason: 'NoSpareGPU', says: 'NVIDIA-H200 all 8 in use' },
  {
    title: 'GPUs too few',
    node: gpu({ count: 16 }),
    answer: 'blocked',
    reason: 'InsufficientGPUs',
    says: 'NVIDIA-H200 has 8 per node, 16 needed',
  },
  {
    title: 'memory too small',
    machines: [machine({ 'nvidia.com/gpu.memory': '40192', 'nvidia.com/gpu.product': 'NVIDIA-A100-SXM4-40GB' })],
    models: [model('qwen3-32b'), model('qwen3-8b', { memory: 20_480 })],
    node: { models: { assigned: 'qwen3-32b:v2' } },
    answer: 'blocked',
    reason: 'InsufficientGPUMemory',
    says: 'NVIDIA-A100-SXM4-40GB has 40 192 MiB, 31 488 short',
  },
  {
    title: 'wrong product',
    node: gpu({ product: 'NVIDIA-B200' }),
    answer: 'blocked',
    reason: 'NoMatchingProduct',
    says: 'there are NVIDIA-H200',
  },
  {
    title: 'MIG profile absent',
    machines: [machine({ 'nvidia.com/mig.strategy': 'mixed' }, { allocatable: { 'nvidia.com/mig-3g.71gb': '2' } })],
    node: gpu({ migProfile: '7g.141gb' }),
    answer: 'blocked',
    reason: 'NoMatchingMIGProfile',
    says: 'no node offers the MIG profile 7g.141gb for qwen3-32b:v2 (needs 71 680 MiB); there are 3g.71gb',
  },
  {
    title: 'cordoned',
    machines: [machine({}, { cordoned: true })],
    answer: 'waits',
    reason: 'NodeCordoned',
    says: 'is cordoned',
  },
  {
    title: 'taint not tolerated',
    machines: [machine({}, { taint: 'team-x' })],
    answer: 'blocked',
    reason: 'TaintNotTolerated',
    says: 'has the taint team-x:NoSchedule, which is not tolerated',
  },
  {
    title: 'GPU problem condition',
    machines: [machine({}, { problem: 'GPUProblem' })],
    answer: 'waits',
    reason: 'GPUProblem',
    says: 'has a GPU problem (condition GPUProblem)',
  },
  {
    title: 'pool selector matches nothing',
    node: placement({ pool: 'b200', nodeSelector: { pool: 'b200' } }),
    answer: 'blocked',
    reason: 'NoNodeSelected',
    says: 'all 1 lack pool=b200',
  },
  {
    title: 'model not approved',
    node: { models: { assigned: 'llama-9:v1' } },
    answer: 'blocked',
    reason: 'ModelNotApproved',
    says: "the network's snapshot does not list llama-9:v1; it lists qwen3-32b:v2",
  },
  {
    title: 'model state inactive',
    models: [model('qwen3-32b', { state: 'inactive' })],
    node: { models: { assigned: 'qwen3-32b:v2' } },
    answer: 'blocked',
    reason: 'ModelInactive',
    says: 'qwen3-32b:v2 is inactive',
  },
  {
    title: 'network not found',
    network: null,
    answer: 'blocked',
    reason: 'NetworkNotFound',
    says: 'there is no ResultityNetwork "testnet" in this namespace',
  },
  {
    title: 'compute capability too low',
    machines: [machine({ 'nvidia.com/gpu.compute.major': '7', 'nvidia.com/gpu.compute.minor': '5' })],
    answer: 'blocked',
    reason: 'ComputeCapabilityTooLow',
    says: 'has compute capability 7.5, 8.0 needed',
  },
  {
    title: 'driver too old',
    machines: [machine({ 'nvidia.com/cuda.driver-version.full': '535.104.05' })],
    answer: 'blocked',
    reason: 'DriverTooOld',
    says: 'has driver 535.104.05, 570 needed',
  },
  {
    title: 'disk too small',
    machines: [machine({}, { allocatable: { 'nvidia.com/gpu': '8', 'ephemeral-storage': '51200Mi' } })],
    answer: 'blocked',
    reason: 'InsufficientDisk',
    says: 'has 51 200 MiB of disk, 18 432 short',
  },
  {
    title: 'image not allowed',
    status: told(
      'RuntimeReady',
      'ImageNotAllowed',
      'the runtime image’s repository docker.io/vllm is not allowed; allowed are ghcr.io/x; add it to images.allowedRepositories',
    ),
    answer: 'blocked',
    reason: 'ImageNotAllowed',
    says: 'spec.images.allowedRepositories of the ResultityNetwork testnet, or the chart’s operator.allowedRepositories',
  },
  {
    title: 'paused',
    node: { paused: true },
    answer: 'blocked',
    reason: 'PausedByUser',
    says: 'kubectl resultity resume gpu-a',
  },
  {
    title: 'claim pending',
    node: placement({ resourceClaims: [{ name: 'gpu', resourceClaimTemplateName: 'one-h200' }] }),
    claims: [{ name: 'gpu', state: 'pending' }],
    answer: 'waits',
    reason: 'ClaimPending',
    says: 'the resource claim "gpu" waits for a device',
  },
  {
    title: 'autoscaled pool from zero',
    machines: [],
    answer: 'waits',
    reason: 'NoGPUNodes',
    says: 'no node offers nvidia.com/gpu for qwen3-32b:v2 (needs 71 680 MiB); an autoscaler may add one',
  },
  {
    title: 'a fleet whose second pool is too small',
    machines: [
      machine({}, { name: 'gpu-1' }),
      machine(
        {
          'nvidia.com/gpu.product': 'NVIDIA-A100',
          'nvidia.com/mig.strategy': 'mixed',
          'nvidia.com/mig-3g.40gb.memory': '40192',
        },
        { name: 'mig-1', allocatable: { 'nvidia.com/mig-3g.40gb': '2' } },
      ),
    ],
    pods: [using(8)],
    node: placement({ pool: 'h200', nodeSelector: { 'nvidia.com/gpu.product': 'NVIDIA-H200' } }),
    fleet: {
      apiVersion: 'resultity.com/v1alpha1',
      kind: 'ResultityFleet',
      metadata: { name: 'h200', namespace: NAMESPACE },
      spec: {
        replicas: 2,
        pools: [
          { name: 'h200', nodeSelector: { 'nvidia.com/gpu.product': 'NVIDIA-H200' } },
          { name: 'a100-mig', gpu: { resourceName: 'nvidia.com/gpu', migProfile: '3g.40gb' }, max: 4 },
        ],
        rollout: { mode: 'InPlace', maxUnavailable: 1, maxSurge: 0, pauseOnFailure: true },
        template: resultityNode().spec,
      },
    },
    answer: 'waits',
    reason: 'NoSpareGPU',
    says: 'pool a100-mig NVIDIA-A100 3g.40gb  1 node, 2 GPUs, 0 free  does not fit: has 40 192 MiB, 31 488 short',
  },
  {
    title: 'a full node, of which the scheduler has spoken too',
    pods: [using(8)],
    status: told(
      'PodScheduled',
      'Unschedulable',
      'the scheduler finds no node: 0/1 nodes are available: 1 Insufficient nvidia.com/gpu',
    ),
    answer: 'waits',
    reason: 'NoSpareGPU',
    says: 'Unschedulable: the scheduler finds no node: 0/1 nodes are available',
  },
  {
    title: 'an engine for CPUs, on old GPUs that stand for nothing',
    machines: [machine({ 'nvidia.com/gpu.compute.major': '3', 'nvidia.com/cuda.driver-version.full': '470.1' })],
    node: gpu({ accelerator: 'cpu', count: 1 }),
    answer: 'fits',
    says: 'needs  qwen3-32b:v2: 1 GPU, 71 680 MiB, disk 69 632 MiB',
  },
  {
    title: 'an engine for CPUs that asks for no GPU',
    machines: [],
    node: gpu({ accelerator: 'cpu' }),
    answer: 'fits',
    says: 'needs  qwen3-32b:v2: no GPU, disk 69 632 MiB',
  },
  { title: 'a free GPU', answer: 'fits', says: 'nothing stands in its way' },
  {
    title: 'placed',
    status: { kubernetesNode: 'gpu-1', gpu: { resourceName: 'nvidia.com/gpu', count: 1 } },
    pods: [using(8)],
    answer: 'placed',
    says: 'gpu-a is placed on gpu-1',
  },
];

/** The case as the planner takes it. */
export const factsOf = (c: WhyNotCase): WhyNotFacts => ({
  node: resultityNode(c.node, c.status),
  network: c.network === null ? undefined : (c.network ?? network()),
  models: c.models ?? [model('qwen3-32b')],
  servers: new Map(),
  fleet: c.fleet,
  offers: gpuOffers((c.machines ?? [machine()]).map(nodeFacts), (c.pods ?? []).map(podUse)),
  claims: c.claims ?? [],
});
