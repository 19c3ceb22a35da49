/** Facts of one node for the operator's pure parts, each field changeable. */
import type { NodeFacts } from '../../operator/node/facts.ts';
import { desiredPod } from '../../operator/node/pod.ts';
import { prepare } from '../../operator/node/prepare.ts';
import type { Pod } from '../../operator/pod-types.ts';
import type { ResultityNetwork, ResultityNode } from '../../src/api/index.ts';
import { parseSnapshotDocument } from '../../src/config/index.ts';
import { gpuOffers } from '../../src/placement/index.ts';
import { canonicalJson } from '../../src/protocol/index.ts';
import { SignerKit } from './signer-kit.ts';

export const NODE_ID = `0x${'ab'.repeat(20)}`;
export const DIGEST = `sha256:${'d'.repeat(64)}`;

export const kitDocument = (over: Record<string, unknown> = {}) => {
  const kit = new SignerKit();
  return parseSnapshotDocument(Buffer.from(canonicalJson(kit.document(over))));
};

export const gpuMachine = (name = 'machine', gpus = 1) => ({
  name,
  labels: { 'nvidia.com/gpu.product': 'NVIDIA-H200', 'nvidia.com/gpu.memory': '143771' },
  allocatable: { 'nvidia.com/gpu': String(gpus) },
  cordoned: false,
  taints: [],
});

export const resultityNetwork = (spec: Partial<ResultityNetwork['spec']> = {}): ResultityNetwork => ({
  apiVersion: 'resultity.com/v1alpha1',
  kind: 'ResultityNetwork',
  metadata: { name: 'testnet', namespace: 'nodes', uid: 'uid-network', generation: 1 },
  spec: {
    endpoint: 'https://io.example',
    trust: { root: '{}' },
    updates: 'Automatic',
    rollout: { mode: 'InPlace', maxUnavailable: 1, maxSurge: 0, pauseOnFailure: true },
    ...spec,
  },
});

export const resultityNode = (
  spec: Partial<ResultityNode['spec']> = {},
  status: ResultityNode['status'] = {},
  metadata: Partial<ResultityNode['metadata']> = {},
): ResultityNode => ({
  apiVersion: 'resultity.com/v1alpha1',
  kind: 'ResultityNode',
  metadata: {
    name: 'gpu-a',
    namespace: 'nodes',
    uid: 'uid-node',
    generation: 3,
    finalizers: ['resultity.com/node-cleanup'],
    ...metadata,
  },
  spec: {
    networkRef: { name: 'testnet' },
    owner: { email: 'ops@example.com' },
    identity: { retain: true },
    placement: { unreachableSeconds: 86_400, fit: 'Advise', gpu: { resourceName: 'nvidia.com/gpu' } },
    isolation: 'Auto',
    drain: { timeoutSeconds: 300, handoverSeconds: 30 },
    paused: false,
    ...spec,
  },
  status,
});

export const facts = (over: Partial<NodeFacts> = {}): NodeFacts => ({
  now: Date.UTC(2026, 10, 21, 10),
  node: resultityNode({}, { nodeId: NODE_ID }),
  network: {
    at: 'ready',
    object: resultityNetwork(),
    name: 'testnet',
    environment: 'testnet',
    epoch: 1,
    version: 4,
    digest: DIGEST,
    document: kitDocument({
      runtimes: (['nvidia', 'cpu'] as const).map((accelerator, i) => ({
        engine: 'vllm',
        version: '0.32.0',
        image: `registry.example/vllm-${accelerator}@sha256:${String(i).repeat(64)}`,
        accelerator,
      })),
    }),
  },
  pod: undefined,
  keySecret: 'there',
  offers: gpuOffers([gpuMachine()], []),
  servers: new Map(),
  sight: { kind: 'notAsked' },
  refusal: undefined,
  settings: { agentImage: '', allowedRepositories: ['registry.example'], agentLogLevel: 'info' },
  pull: undefined,
  machine: { name: '', state: 'unknown', gpuLost: false },
  queue: undefined,
  rollout: { mode: 'InPlace', maxUnavailable: 1, maxSurge: 0, pauseOnFailure: true },
  turn: () => ({ go: true, pull: true, why: '' }),
  brake: () => undefined,
  ...over,
});

/** The pod that these facts lead to, as the server would have stored it. */
export const storedPod = (of: NodeFacts, over: Partial<Pod> = {}): Pod => {
  const { input } = prepare(of);
  if (input === undefined) throw new Error('these facts make no pod');
  const pod = desiredPod(input, {
    'resultity.com/paused': 'false',
    'resultity.com/assigned-model': input.assignedModel,
    'resultity.com/floor': '1,4',
    'resultity.com/desired-digest': DIGEST,
  });
  return { ...pod, metadata: { ...pod.metadata, uid: 'uid-pod', creationTimestamp: '2026-11-21T09:00:00Z' }, ...over };
};
