import { ANNOTATION } from '../../src/api/contract.ts';
import { getCondition, isTrue, type ResultityNetwork, type ResultityNode } from '../../src/api/index.ts';
import {
  Controller,
  changed,
  controllerOf,
  done,
  type EventRecorder,
  every,
  external,
  joinKey,
  type KubeMetrics,
  keyOf,
  maps,
  objects,
  owns,
  type ReconcileContext,
  requeueAfter,
  type Source,
} from '../../src/kube/index.ts';
import type { Logger } from '../../src/lib/index.ts';
import { KIND } from '../kinds.ts';
import { errorType, type OperatorMetrics } from '../metrics.ts';
import type { KubernetesNode } from '../pod-types.ts';
import { NodeApply } from './apply.ts';
import { decideNode } from './decide.ts';
import type { Refusal } from './facts.ts';
import { BY_NETWORK, flowOf, gatherNode, groupOf, type NodeSources } from './gather.ts';
import { NodeGauges } from './observed.ts';
import { isSurge, stageOf } from './surge.ts';
import { Turns } from './turns.ts';

export interface NodeControllerOptions extends Omit<NodeSources, 'refusals' | 'turns'> {
  readonly log: Logger;
  readonly kubeMetrics: KubeMetrics;
  readonly metrics: OperatorMetrics;
  readonly recorder: EventRecorder;
  readonly agentClusterRole: string;
  readonly concurrency: number;
  /** At least so long between two looks at one node; default 1 s, so that what changes together is written together. */
  readonly nodeIntervalMs?: number | undefined;
}

const NODE_INTERVAL_MS = 1_000;

/** How often nodes without a place are looked at again: a GPU that got free wakes nobody. */
const UNPLACED_MS = 30_000;

/** Everything is looked at again this often: what failed while the API server was away is done soon after. */
const RESYNC_MS = 60_000;
const UNTRIED_MS = 5_000;

/** The key of a node's network in caches and views. */
export const networkKeyOf = (node: ResultityNode): string =>
  joinKey(node.metadata.namespace, node.spec.networkRef.name);

/** gather → decide → apply, for each ResultityNode. */
export const nodeController = (o: NodeControllerOptions): Controller => {
  const refusals = new Map<string, Refusal>();
  const gauges = new NodeGauges(o.metrics);
  const turns = new Turns();
  const sources: NodeSources = { ...o, refusals, turns };
  const apply = new NodeApply({ ...o, refusals });
  const reconcile = async (key: string, context: ReconcileContext) => {
    const node = o.nodes.get(key);
    if (node === undefined) {
      refusals.delete(key);
      turns.forget(key);
      gauges.forget(key);
      return done;
    }
    try {
      let facts = await gatherNode(sources, key, node, context.signal);
      // A new process knows nothing yet of a network: what stands in the status is better than that.
      if (
        facts.network.at === 'notReady' &&
        facts.network.untried &&
        node.status?.conditions !== undefined &&
        node.metadata.deletionTimestamp === undefined
      )
        return requeueAfter(UNTRIED_MS);
      let decision = decideNode(facts);
      // In the same turn of the event loop as the look at the others.
      if (decision.begins !== undefined) turns.take(key, decision.begins, o.clock.monotonic());
      else turns.forget(key); // what it took before stands on its pod by now, or is over
      let ran = await apply.run(facts, decision, context);
      if (ran.identity !== undefined) {
        // What it was made for comes in the same turn: nothing needs to be seen or asked before.
        facts = await gatherNode(sources, key, ran.identity, context.signal, true);
        decision = decideNode(facts);
        ran = await apply.run(facts, decision, context);
      }
      gauges.show(key, node, decision.status);
      if (ran.again) return requeueAfter(0);
      return decision.againMs === undefined ? done : requeueAfter(Math.max(1, decision.againMs));
    } catch (error) {
      o.metrics.reconcileErrors.inc({ controller: 'node', error_type: errorType(error) });
      throw error;
    }
  };
  return new Controller({
    name: 'node',
    clock: o.clock,
    log: o.log,
    metrics: o.kubeMetrics,
    concurrency: o.concurrency,
    minIntervalMs: o.nodeIntervalMs ?? NODE_INTERVAL_MS,
    flowOf: (key) => {
      const node = o.nodes.get(key);
      return node === undefined ? '' : flowOf(node);
    },
    sources: nodeSources(o),
    reconcile,
  });
};

/** Nodes whose update waits, by their group: when another one of it goes on, they are looked at again. */
export const BY_HELD = 'held';
export const heldOf = (node: ResultityNode): readonly string[] =>
  ['UpdateHeld', 'SurgePending'].includes(progressOf(node) ?? '') ? [groupOf(node)] : [];
const progressOf = (node: ResultityNode): string | undefined =>
  getCondition(node.status?.conditions, 'Progressing')?.reason;

/** Nodes by the machine that their pod is on. */
export const BY_MACHINE = 'machine';
export const machineNameOf = (node: ResultityNode): readonly string[] =>
  node.status?.kubernetesNode === undefined ? [] : [node.status.kubernetesNode];

const nodeSources = (o: NodeControllerOptions): Source[] => {
  const ofNetwork = (key: string): ResultityNode[] => o.nodes.byIndex(BY_NETWORK, key);
  const unplaced = (): string[] =>
    o.nodes
      .list()
      .filter((n) => n.status?.kubernetesNode === undefined)
      .map(keyOf);
  return [
    objects(
      o.nodes,
      changed((n) => [
        n.metadata.generation,
        n.metadata.deletionTimestamp,
        n.metadata.annotations,
        n.metadata.finalizers,
        n.status?.agent,
        n.status?.nodeId,
      ]),
    ),
    owns(o.pods, KIND.node),
    maps(o.workloads, ({ metadata }) =>
      (metadata?.ownerReferences ?? []).flatMap(({ name }) => {
        const owner = controllerOf(o.pods.get(joinKey(metadata?.namespace, name)) ?? {});
        return owner?.kind === KIND.node.kind ? [joinKey(metadata?.namespace, owner.name)] : [];
      }),
    ),
    maps(
      o.nodes,
      (n) => o.nodes.byIndex(BY_HELD, groupOf(n)).map(keyOf),
      changed((n) => [
        progressOf(n),
        isTrue(n.status?.conditions, 'Serving'),
        n.metadata.annotations?.[ANNOTATION.rolledBack],
        isSurge(n) && [n.metadata.deletionTimestamp, stageOf(n, o.clock.now())],
      ]),
    ),
    maps(
      o.fleets,
      (f) => o.nodes.byIndex(BY_HELD, f.metadata.uid ?? '').map(keyOf),
      changed((f) => [
        f.spec.rollout,
        getCondition(f.status?.conditions, 'Surge')?.reason,
        isTrue(f.status?.conditions, 'FleetBrake'),
      ]),
    ),
    maps<ResultityNetwork>(
      o.networks,
      (n) => ofNetwork(keyOf(n)).map(keyOf),
      changed((n) => [n.spec, n.status?.conditions?.find((c) => c.type === 'Ready')?.message]),
    ),
    external((enqueue) =>
      o.views.subscribe(({ network, nodes }) => {
        for (const node of ofNetwork(network)) {
          const id = (node.status?.nodeId ?? node.status?.agent?.nodeId ?? '').toLowerCase();
          if (nodes === undefined || (nodes as ReadonlySet<string>).has(id)) enqueue(keyOf(node), 'network view');
        }
      }),
    ),
    ...(o.kubernetesNodes === undefined
      ? []
      : [
          maps<KubernetesNode>(
            o.kubernetesNodes,
            unplaced,
            changed((n) => [n.metadata?.labels, n.spec, n.status?.allocatable]),
          ),
          maps<KubernetesNode>(
            o.kubernetesNodes,
            (n) => o.nodes.byIndex(BY_MACHINE, n.metadata?.name ?? '').map(keyOf),
            changed((n) => [n.spec?.taints, n.status?.allocatable]),
          ),
        ]),
    every(o.clock, UNPLACED_MS, unplaced),
    every(o.clock, RESYNC_MS, () => o.nodes.keys()),
  ];
};
