import type { ResultityNetwork, ResultityNode } from '../../src/api/index.ts';
import { isAlreadyExists, joinKey, type KubeClient, type Store } from '../../src/kube/index.ts';
import type { Clock } from '../../src/lib/index.ts';
import type { Inventory } from '../inventory.ts';
import { KIND } from '../kinds.ts';
import { keySecretName, podName } from '../names.ts';
import type { NetworkViews } from '../network/view.ts';
import type { Pod } from '../pod-types.ts';
import type { NetworkFacts, NodeFacts, NodeSettings, Refusal } from './facts.ts';
import { prepare } from './prepare.ts';

/** Nodes by their network, `namespace/network`. */
export const BY_NETWORK = 'network';

/** Where the facts come from. */
export interface NodeSources {
  readonly client: KubeClient;
  readonly clock: Clock;
  readonly nodes: Store<ResultityNode>;
  readonly networks: Store<ResultityNetwork>;
  readonly pods: Store<Pod>;
  readonly inventory: Inventory | undefined;
  readonly views: NetworkViews;
  readonly settings: NodeSettings;
  /** By key of the node: what the API server said to the last pod. */
  readonly refusals: ReadonlyMap<string, Refusal>;
}

/** Reads everything that a decision rests on. Throws what the API server throws: then nothing is decided. */
export const gatherNode = async (
  s: NodeSources,
  key: string,
  node: ResultityNode,
  signal: AbortSignal,
): Promise<NodeFacts> => {
  const namespace = node.metadata.namespace ?? '';
  const networkKey = joinKey(namespace, node.spec.networkRef.name);
  const servers = new Map<string, number>();
  for (const other of s.nodes.byIndex(BY_NETWORK, networkKey)) {
    const model = other.status?.assignedModel;
    if (model !== undefined && other.metadata.name !== node.metadata.name)
      servers.set(model, (servers.get(model) ?? 0) + 1);
  }
  const facts: NodeFacts = {
    now: s.clock.now(),
    node,
    network: networkFacts(s, networkKey),
    pod: s.pods.get(joinKey(namespace, podName(node.metadata.name ?? ''))),
    keySecret: 'unknown',
    offers: s.inventory?.offers(),
    servers,
    sight: s.views.sight(networkKey, node.status?.nodeId ?? node.status?.agent?.nodeId),
    refusal: s.refusals.get(key),
    settings: s.settings,
  };
  // Asked only when the next step would rest on it: before a pod is made.
  if (facts.pod !== undefined || node.metadata.deletionTimestamp !== undefined || prepare(facts).input === undefined)
    return facts;
  return { ...facts, keySecret: await probeSecret(s.client, node, signal) };
};

const networkFacts = (s: NodeSources, key: string): NetworkFacts => {
  const object = s.networks.get(key);
  if (object === undefined) return { at: 'missing' };
  const view = s.views.get(key);
  if (view !== undefined) return { at: 'ready', object, ...view };
  const ready = object.status?.conditions?.find((c) => c.type === 'Ready');
  const why =
    ready === undefined || ready.status === 'True'
      ? 'its configuration is being verified'
      : `${ready.reason}: ${ready.message}`;
  return {
    at: 'notReady',
    object,
    untried: !s.views.tried(key),
    message: `ResultityNetwork "${object.metadata.name}" is not ready (${why})`,
  };
};

/** The operator may create Secrets and never read them: a dry-run create that is refused as existing tells that it is there. */
const probeSecret = async (
  client: KubeClient,
  node: ResultityNode,
  signal: AbortSignal,
): Promise<'there' | 'missing'> => {
  const { metadata, spec, status } = node;
  const name = spec.identity.secretRef?.name ?? keySecretName(metadata.name ?? '', status?.nodeId ?? '');
  try {
    await client.dryRunCreate(
      KIND.secret,
      { metadata: { name, ...(metadata.namespace === undefined ? {} : { namespace: metadata.namespace }) } },
      { signal },
    );
    return 'missing';
  } catch (error) {
    if (isAlreadyExists(error)) return 'there';
    throw error;
  }
};
