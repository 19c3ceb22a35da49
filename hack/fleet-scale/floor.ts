import { KIND } from '../../operator/kinds.ts';
import type { Pod, SecretObject } from '../../operator/pod-types.ts';
import { LABEL } from '../../src/api/contract.ts';
import { getCondition, type ResultityNode } from '../../src/api/index.ts';
import { Controller, done, type KubeClient, kubeMetrics, objects, ownerReference } from '../../src/kube/index.ts';
import { createLogger, Metrics, systemClock } from '../../src/lib/index.ts';
import type { Seen } from './agents.ts';

/** In the operator's place: one Secret, one pod and one status write a node, then one when the agent has spoken. */
export const floorScript = (client: KubeClient, { nodes }: Seen): Controller => {
  const made = new Set<string>();
  return new Controller({
    name: 'floor',
    clock: systemClock,
    log: createLogger('floor', 'error'),
    metrics: kubeMetrics(new Metrics()),
    concurrency: 8,
    sources: [objects<ResultityNode>(nodes)],
    reconcile: async (key) => {
      const node = nodes.get(key);
      if (node === undefined) return done;
      const { name = '', namespace = '' } = node.metadata;
      if (!made.has(key)) {
        made.add(key);
        const nodeId = `0x${name.replace(/\D/g, '').padStart(40, '0')}`;
        const metadata = { name, namespace, ownerReferences: [ownerReference(KIND.node, node)] };
        await client.create(KIND.secret, { metadata, stringData: { key: 'x'.repeat(64) } } as SecretObject);
        const pod = await client.create(KIND.pod, podOf(node));
        await writeStatus(client, node, { nodeId, podUID: pod.metadata?.uid, phase: 'Pending', conditions: [] });
        return done;
      }
      if (node.status?.agent === undefined || getCondition(node.status.conditions, 'Registered') !== undefined)
        return done;
      const { nodeId, podUID } = node.status;
      const registered = {
        type: 'Registered',
        status: 'True',
        reason: 'Registered',
        message: '',
        lastTransitionTime: new Date().toISOString(),
      };
      await writeStatus(client, node, { nodeId, podUID, phase: 'Active', conditions: [registered] });
      return done;
    },
  });
};

const podOf = (node: ResultityNode): Pod => ({
  metadata: {
    name: node.metadata.name ?? '',
    namespace: node.metadata.namespace ?? '',
    labels: { [LABEL.role]: 'node' },
    ownerReferences: [ownerReference(KIND.node, node)],
  },
  spec: {
    automountServiceAccountToken: false,
    containers: [{ name: 'runtime', image: 'r', resources: { limits: { 'nvidia.com/gpu': '1' } } }],
    initContainers: [{ name: 'agent', image: 'a', restartPolicy: 'Always' }],
    tolerations: node.spec.placement.tolerations,
  },
});

const writeStatus = async (client: KubeClient, { metadata }: ResultityNode, status: object): Promise<void> => {
  const { name, namespace } = metadata;
  await client.applyStatus(KIND.node, { metadata: { name, namespace }, status } as unknown as ResultityNode, {
    fieldManager: 'floor',
  });
};
