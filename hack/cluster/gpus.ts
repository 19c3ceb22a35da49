import type { Admin } from './admin.ts';

/** What a node with `count` made-up GPUs says of itself, in the words of NVIDIA's feature discovery. */
export function gpuLabels(count: number): Record<string, string> {
  return {
    'nvidia.com/gpu.present': 'true',
    'nvidia.com/gpu.product': 'Resultity-Demo-GPU',
    'nvidia.com/gpu.family': 'demo',
    'nvidia.com/gpu.memory': '24576',
    'nvidia.com/gpu.count': String(count),
    'nvidia.com/gpu.replicas': '1',
    'nvidia.com/gpu.compute.major': '9',
    'nvidia.com/gpu.compute.minor': '0',
    'nvidia.com/cuda.driver-version.full': '580.95.05',
    'nvidia.com/cuda.driver-version.major': '580',
    'nvidia.com/cuda.driver-version.minor': '95',
    'nvidia.com/mig.capable': 'false',
    'nvidia.com/mig.strategy': 'single',
  };
}

/**
 * Advertises GPUs on the real node by its status. The kubelet keeps extended resources that no device plug-in claims;
 * it clears them only when it registers the node anew, that is at its own start, which is over by now.
 */
export async function advertiseGpus(admin: Admin, node: string, count: number): Promise<void> {
  const merge = 'application/merge-patch+json';
  const path = `/api/v1/nodes/${node}`;
  const metadata = await admin.call('PATCH', path, { metadata: { labels: gpuLabels(count) } }, merge);
  if (metadata.status >= 300) throw new Error(`labels of node ${node}: ${JSON.stringify(metadata.body)}`);
  const quantity = { 'nvidia.com/gpu': String(count) };
  const status = await admin.call(
    'PATCH',
    `${path}/status`,
    { status: { capacity: quantity, allocatable: quantity } },
    merge,
  );
  if (status.status >= 300) throw new Error(`GPUs of node ${node}: ${JSON.stringify(status.body)}`);
}

/** The n-th simulated GPU node. Tainted, so that a real pod lands there only when it asks to. */
export function fakeNode(index: number, gpus = 8): { apiVersion: string; kind: string; metadata: { name: string } } {
  const name = `fake-gpu-${String(index).padStart(4, '0')}`;
  const resources = {
    cpu: '64',
    memory: '512Gi',
    pods: '110',
    'ephemeral-storage': '2Ti',
    'nvidia.com/gpu': String(gpus),
  };
  return {
    apiVersion: 'v1',
    kind: 'Node',
    metadata: {
      name,
      annotations: { 'kwok.x-k8s.io/node': 'fake', 'node.alpha.kubernetes.io/ttl': '0' },
      labels: {
        'kubernetes.io/hostname': name,
        'kubernetes.io/os': 'linux',
        'kubernetes.io/arch': 'amd64',
        type: 'kwok',
        ...gpuLabels(gpus),
      },
    },
    spec: { taints: [{ key: 'kwok.x-k8s.io/node', value: 'fake', effect: 'NoSchedule' }] },
    status: { capacity: resources, allocatable: resources },
  } as { apiVersion: string; kind: string; metadata: { name: string } };
}

/** Makes simulated nodes up to `count`; those that exist stay. */
export async function makeFakeNodes(admin: Admin, count: number): Promise<void> {
  for (let start = 0; start < count; start += 16) {
    const batch = Array.from({ length: Math.min(16, count - start) }, (_, i) => fakeNode(start + i));
    const answers = await Promise.all(batch.map((node) => admin.call('POST', '/api/v1/nodes', node)));
    const refused = answers.find((answer) => answer.status >= 300 && answer.status !== 409);
    if (refused) throw new Error(`simulated node: ${JSON.stringify(refused.body)}`);
  }
}
