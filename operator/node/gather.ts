import { ANNOTATION } from '../../src/api/contract.ts';
import {
  isTrue,
  type ResultityFleet,
  type ResultityNetwork,
  type ResultityNode,
  type Rollout,
} from '../../src/api/index.ts';
import {
  controllerOf,
  isAlreadyExists,
  isNotFound,
  joinKey,
  type KubeClient,
  keyOf,
  type Store,
} from '../../src/kube/index.ts';
import type { Clock } from '../../src/lib/index.ts';
import type { Inventory } from '../inventory.ts';
import { KIND } from '../kinds.ts';
import { keySecretName, podName, pullName } from '../names.ts';
import type { NetworkViews } from '../network/view.ts';
import type { KubernetesNode, Pod, Workload } from '../pod-types.ts';
import { brakeOn } from './brake.ts';
import type { NetworkFacts, NodeFacts, NodeSettings, Refusal } from './facts.ts';
import { nodeIdOf } from './ground.ts';
import { engineDown, machineOf } from './machine.ts';
import { prepare } from './prepare.ts';
import type { Turn } from './rollout.ts';
import { rolledBackOf } from './rollout-state.ts';
import { isSurge, surgeWait } from './surge.ts';
import { servedLately } from './trouble.ts';
import { type Peer, type Turns, turnOf } from './turns.ts';

/** Nodes by their network, `namespace/network`. */
export const BY_NETWORK = 'network';

/** Nodes by their network and the model that they are assigned. */
export const BY_MODEL = 'model';
export const modelOf = ({ metadata, spec, status }: ResultityNode): readonly string[] =>
  status?.assignedModel === undefined
    ? []
    : [`${joinKey(metadata.namespace, spec.networkRef.name)} ${status.assignedModel}`];

/** Nodes by the group whose rollout policy they are under: a fleet's uid, or the network of single nodes. */
export const BY_GROUP = 'group';
export const groupOf = (node: ResultityNode): string => {
  const owner = controllerOf(node);
  return owner?.kind === KIND.fleet.kind ? owner.uid : joinKey(node.metadata.namespace, node.spec.networkRef.name);
};

/**
 * Whose turn a node waits for: a fleet that is scaled up by hundreds delays neither other fleets' nodes nor single ones, and
 * nodes that wait for their pod do not delay what is to be told of those that have one.
 */
export const flowOf = (node: ResultityNode): string =>
  node.status?.podUID === undefined ? `${groupOf(node)} new` : groupOf(node);

/** Kueue's workloads by the uid of their pod. */
export const BY_POD = 'pod';
export const podUidsOf = (workload: Workload): readonly string[] =>
  (workload.metadata?.ownerReferences ?? []).filter((o) => o.kind === 'Pod').map((o) => o.uid);

/** Where the facts come from. */
export interface NodeSources {
  readonly client: KubeClient;
  readonly clock: Clock;
  readonly nodes: Store<ResultityNode>;
  readonly networks: Store<ResultityNetwork>;
  readonly pods: Store<Pod>;
  readonly fleets: Store<ResultityFleet>;
  /** Empty where there is no Kueue. */
  readonly workloads: Store<Workload>;
  readonly kubernetesNodes: Store<KubernetesNode> | undefined;
  readonly inventory: Inventory | undefined;
  readonly turns: Turns;
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
  /** This process has made its Secret a moment ago. */
  secretMade = false,
): Promise<NodeFacts> => {
  const namespace = node.metadata.namespace ?? '';
  const networkKey = joinKey(namespace, node.spec.networkRef.name);
  const pod = s.pods.get(joinKey(namespace, podName(node.metadata.name ?? '')));
  const network = networkFacts(s, networkKey);
  const policy = rolloutPolicy(s, node, network);
  const facts: NodeFacts = {
    now: s.clock.now(),
    node,
    network,
    pod,
    keySecret: 'unknown',
    offers: s.inventory?.offers(node.spec.placement.gpu?.resourceName),
    servers: serversOf(s, node, network, networkKey),
    sight: s.views.sight(networkKey, node.status?.nodeId ?? node.status?.agent?.nodeId),
    refusal: s.refusals.get(key),
    settings: s.settings,
    pull: s.pods.get(joinKey(namespace, pullName(node.metadata.name ?? ''))),
    machine: await machineOf(pod, s.kubernetesNodes, s.pods, s.clock.now(), engineDown(node, pod), (name) =>
      machineExists(s.client, name, signal),
    ),
    queue: queueOf(s.workloads, pod),
    rollout: policy,
    turn: (images) => askTurn(s, node, policy, images),
    brake: () => brakeOn(s.nodes.byIndex(BY_GROUP, groupOf(node)), s.kubernetesNodes),
  };
  // Asked only when the next step would rest on it: before a pod is made.
  if (facts.pod !== undefined || node.metadata.deletionTimestamp !== undefined || prepare(facts).input === undefined)
    return facts;
  return { ...facts, keySecret: secretMade ? 'there' : await probeSecret(s.client, node, signal) };
};

/** How many other nodes are assigned each model of the snapshot: counted by the index, for thousands of nodes ask. */
const serversOf = (
  s: NodeSources,
  node: ResultityNode,
  network: NetworkFacts,
  networkKey: string,
): ReadonlyMap<string, number> => {
  const own = s.nodes.get(keyOf(node))?.status?.assignedModel;
  const models = network.at === 'ready' ? network.document.models : [];
  return new Map(
    models.map(({ ref }) => [ref, s.nodes.countByIndex(BY_MODEL, `${networkKey} ${ref}`) - (own === ref ? 1 : 0)]),
  );
};

const ROLLOUT: Rollout = { mode: 'InPlace', maxUnavailable: 1, maxSurge: 0, pauseOnFailure: true };

const fleetOf = (s: NodeSources, node: ResultityNode): ResultityFleet | undefined => {
  const owner = controllerOf(node);
  return owner?.kind === KIND.fleet.kind ? s.fleets.get(joinKey(node.metadata.namespace, owner.name)) : undefined;
};

/** Of the fleet, or of the network for a single node. */
const rolloutPolicy = (s: NodeSources, node: ResultityNode, network: NetworkFacts): Rollout => {
  const fleet = fleetOf(s, node);
  return fleet?.spec.rollout ?? (network.at === 'missing' ? undefined : network.object.spec.rollout) ?? ROLLOUT;
};

const askTurn = (s: NodeSources, node: ResultityNode, policy: Rollout, images: readonly string[]): Turn => {
  const fleet = fleetOf(s, node);
  const group = s.nodes.byIndex(BY_GROUP, groupOf(node));
  const brake = brakeOn(group, s.kubernetesNodes);
  if (brake !== undefined) return { go: false, pull: false, why: `the brake is on: ${brake}` };
  const now = s.clock.monotonic();
  const others = group.filter((other) => other.metadata.name !== node.metadata.name);
  const surges = others.filter((other) => isSurge(other) && other.metadata.deletionTimestamp === undefined);
  const peers = others.map((other): Peer => {
    const at = keyOf(other);
    const { name = '', namespace } = other.metadata;
    const pod = s.pods.get(joinKey(namespace, podName(name)));
    const pull = s.pods.get(joinKey(namespace, pullName(name)));
    const idle = other.status?.phase === 'Paused' || other.status?.phase === 'Unplaced';
    const standsIn = surges.includes(other) && isTrue(other.status?.conditions, 'Ready');
    const refused = Object.values(rolledBackOf(other)).flatMap((back) => (back ? [back.refused] : []));
    return {
      name,
      updating: pod?.metadata?.annotations?.[ANNOTATION.rollout] !== undefined || s.turns.has(at, 'update', now),
      pulling: (pull !== undefined && pull.status?.phase !== 'Succeeded') || s.turns.has(at, 'pull', now),
      down: other.status?.podUID !== undefined && !idle && !isTrue(other.status.conditions, 'Serving'),
      refused,
      surge: !isSurge(other) ? undefined : standsIn ? 'ready' : 'not ready',
    };
  });
  return turnOf({
    peers,
    policy,
    serving: servedLately(
      node,
      s.pods.get(joinKey(node.metadata.namespace, podName(node.metadata.name ?? ''))),
      s.clock.now(),
    ),
    images,
    surge: isSurge(node),
    wait: fleet && surgeWait(fleet, surges, s.clock.now()),
  });
};

/** What Kueue says of a pod that it has not admitted yet. */
const queueOf = (workloads: Store<Workload>, pod: Pod | undefined): string | undefined => {
  const [workload] = pod?.metadata?.uid === undefined ? [] : workloads.byIndex(BY_POD, pod.metadata.uid);
  return workload?.status?.conditions?.find((c) => c.type === 'QuotaReserved' && c.status !== 'True')?.message;
};

const machineExists = async (client: KubeClient, name: string, signal: AbortSignal): Promise<boolean> => {
  try {
    await client.get(KIND.kubernetesNode, { name }, { signal });
    return true;
  } catch (error) {
    if (isNotFound(error)) return false;
    throw error;
  }
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
  const { metadata, spec } = node;
  const name = spec.identity.secretRef?.name ?? keySecretName(metadata.name ?? '', nodeIdOf(node) ?? '');
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
