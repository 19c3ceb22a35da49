import { AGENT_SERVICE_ACCOUNT, ANNOTATION, FIELD_MANAGER, KEY } from '../../src/api/contract.ts';
import type { ResultityNode, VolumeClaimTemplate } from '../../src/api/index.ts';
import { isAlreadyExists, type KubeClient, type KubeObject, ownerReference } from '../../src/kube/index.ts';
import type { Secret } from '../../src/lib/index.ts';
import { KIND } from '../kinds.ts';
import { childLabels, claimName, keySecretName } from '../names.ts';
import type { RoleBinding, SecretObject, VolumeClaim } from '../pod-types.ts';

/** The agents' account and its one right in a namespace: the same two objects for all nodes there. Pure. */
export const agentAccount = (namespace: string, clusterRole: string): { account: KubeObject; binding: RoleBinding } => {
  const metadata = { name: AGENT_SERVICE_ACCOUNT, namespace, labels: childLabels('agent-account', {}) };
  return {
    // The pod projects its own bound token; nobody else shall get one by accident.
    account: { metadata, automountServiceAccountToken: false } as KubeObject,
    binding: {
      metadata,
      roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: clusterRole },
      subjects: [{ kind: 'ServiceAccount', name: AGENT_SERVICE_ACCOUNT, namespace }],
    },
  };
};

/** Server-side applies the account; harmless to repeat. */
export const applyAgentAccount = async (
  client: KubeClient,
  namespace: string,
  clusterRole: string,
  signal: AbortSignal,
): Promise<void> => {
  const { account, binding } = agentAccount(namespace, clusterRole);
  const call = { fieldManager: FIELD_MANAGER.operator, signal };
  await client.apply(KIND.serviceAccount, account, call);
  await client.apply(KIND.roleBinding, binding, call);
};

/** With `retain` the child outlives the node; otherwise the cluster's garbage collector takes it along. */
const kept = (node: ResultityNode): Pick<NonNullable<KubeObject['metadata']>, 'ownerReferences'> =>
  node.spec.identity.retain
    ? {}
    : { ownerReferences: [{ ...ownerReference(KIND.node, node), blockOwnerDeletion: false }] };

/** The Secret with a new key: created once, never read, never changed. */
export const keySecret = (node: ResultityNode, nodeId: string, privateKey: Secret): SecretObject => ({
  metadata: {
    name: keySecretName(node.metadata.name ?? '', nodeId),
    ...(node.metadata.namespace === undefined ? {} : { namespace: node.metadata.namespace }),
    labels: childLabels('key', { node: node.metadata.name ?? '', network: node.spec.networkRef.name }),
    annotations: { [ANNOTATION.nodeId]: nodeId },
    ...kept(node),
  },
  type: 'Opaque',
  immutable: true,
  stringData: { [KEY.privateKey]: privateKey.reveal() },
});

/** A pod was ever made with its key: that key is the node from then on. */
export const isUsed = ({ status }: ResultityNode): boolean =>
  status?.incarnation !== undefined || status?.agent?.nodeId !== undefined;

/**
 * The address of the node's own key: what its status says once the key was used, before that what was noted when the key was
 * made. A status may have told of an address whose Secret was never made, as its operator died: the next key's is noted then.
 */
export const nodeIdOf = (node: ResultityNode): string | undefined => {
  const said = node.status?.nodeId;
  const note = node.metadata.annotations?.[ANNOTATION.nodeId];
  const noted = note !== undefined && /^0x[0-9a-fA-F]{40}$/.test(note) ? note : undefined;
  return isUsed(node) ? (said ?? noted) : (noted ?? said);
};

/** Claims of the node's claim templates; they hold the journal, so they live as long as the identity. Pure. */
export const volumeClaims = (node: ResultityNode): VolumeClaim[] => {
  const { state, models } = node.spec.storage ?? {};
  const claims: VolumeClaim[] = [];
  const add = (use: 'state' | 'models', template: VolumeClaimTemplate | undefined): void => {
    if (template === undefined) return;
    claims.push({
      metadata: {
        name: claimName(node.metadata.name ?? '', use),
        ...(node.metadata.namespace === undefined ? {} : { namespace: node.metadata.namespace }),
        labels: childLabels(use, { node: node.metadata.name ?? '', network: node.spec.networkRef.name }),
        ...kept(node),
      },
      spec: { ...template },
    });
  };
  add('state', state?.claimTemplate);
  add('models', models?.claimTemplate);
  return claims;
};

/** Creates what is missing; a claim that exists is the node's from before. */
export const createClaims = async (client: KubeClient, node: ResultityNode, signal: AbortSignal): Promise<void> => {
  for (const claim of volumeClaims(node)) {
    try {
      await client.create(KIND.claim, claim, { signal });
    } catch (error) {
      if (!isAlreadyExists(error)) throw error;
    }
  }
};
