import { ANNOTATION, FIELD_MANAGER } from '../../src/api/contract.ts';
import type { ResultityFleet, ResultityNode, ResultityNodeSpec } from '../../src/api/index.ts';
import {
  Applier,
  Controller,
  changed,
  controllerOf,
  done,
  isConflict,
  isNotFound,
  joinKey,
  type KubeClient,
  type KubeMetrics,
  objects,
  ownerReference,
  owns,
  type ReconcileContext,
  requeueAfter,
  type Store,
  specChanged,
} from '../../src/kube/index.ts';
import type { Clock, Logger } from '../../src/lib/index.ts';
import { ConditionGauges } from '../condition-gauges.ts';
import type { Inventory } from '../inventory.ts';
import { KIND } from '../kinds.ts';
import { errorType, type OperatorMetrics } from '../metrics.ts';
import { childLabels } from '../names.ts';
import type { NetworkViews } from '../network/index.ts';
import type { Pod } from '../pod-types.ts';
import { writeStatus } from '../status-writer.ts';
import { Budgets } from './budget.ts';
import { decideFleet } from './decide.ts';
import { spareFor } from './spare.ts';
import type { Spare } from './surge.ts';

/** Fleets' nodes by the uid of their fleet. */
export const BY_FLEET = 'fleet';
export const fleetUidOf = (node: ResultityNode): readonly string[] => {
  const owner = controllerOf(node);
  return owner?.kind === KIND.fleet.kind ? [owner.uid] : [];
};

export interface FleetControllerOptions {
  readonly client: KubeClient;
  readonly clock: Clock;
  readonly log: Logger;
  readonly kubeMetrics: KubeMetrics;
  readonly metrics: OperatorMetrics;
  readonly fleets: Store<ResultityFleet>;
  readonly nodes: Store<ResultityNode>;
  readonly pods: Store<Pod>;
  readonly views: NetworkViews;
  /** undefined where Kubernetes nodes may not be looked at: then no fleet surges. */
  readonly inventory: Inventory | undefined;
}

/** So many nodes are written in one turn; the rest in the next one, after the other fleets'. */
const BATCH = 25;
/** Fleets at the same time: one that the API server keeps waiting holds up no other. */
const WORKERS = 4;

/** When a node that should go was written meanwhile: the cache shows it by then. */
const SEEN_AGAIN_MS = 200;

/** Keeps as many nodes as a fleet asks for; the nodes do the rest. */
export const fleetController = (o: FleetControllerOptions): Controller => {
  const conditions = new ConditionGauges(o.metrics.fleetCondition);
  const budgets = new Budgets(o.client, o.clock);
  const applier = new Applier({ client: o.client, fieldManager: FIELD_MANAGER.operator, metrics: o.kubeMetrics });

  const keep = async (
    fleet: ResultityFleet,
    { namespace = '', name, signal, wrote, log }: ReconcileContext,
  ): Promise<number | undefined> => {
    const nodes = o.nodes.byIndex(BY_FLEET, fleet.metadata.uid ?? '');
    const spare = (spec: ResultityNodeSpec): Spare | undefined =>
      spareFor({
        spec,
        document: o.views.get(joinKey(namespace, spec.networkRef.name))?.document,
        members: nodes,
        offers: o.inventory?.offers(spec.placement.gpu?.resourceName),
        pods: o.pods.list(),
      });
    const decision = decideFleet({ now: o.clock.now(), fleet, nodes, spare });
    let left = BATCH;
    for (const { name: member, spec, surge } of decision.wanted) {
      if (left === 0) break;
      const annotations: Record<string, string> = surge ? { [ANNOTATION.surge]: 'true' } : {};
      const intent = {
        metadata: {
          name: member,
          namespace,
          labels: childLabels('node', { node: member, network: spec.networkRef.name, fleet: name }),
          ...(surge ? { annotations } : {}),
          ownerReferences: [ownerReference(KIND.fleet, fleet)],
        },
        spec,
      } as ResultityNode;
      const { object, sent } = await applier.apply(o.nodes, intent, { signal });
      if (sent) wrote(o.nodes, object);
      left -= sent ? 1 : 0;
    }
    // first the identities of those that go are on record
    conditions.show(joinKey(namespace, name), { namespace, fleet: name }, decision.status.conditions ?? []);
    const written = await writeStatus(o, o.fleets, fleet, fleet.status, decision.status, signal);
    if (written) wrote(o.fleets, written);
    await budgets.keep(fleet, decision.minAvailable, signal);
    const removed = decision.remove.slice(0, left);
    for (const member of removed) {
      const { resourceVersion } = nodes.find((n) => n.metadata.name === member)?.metadata ?? {};
      log.info({ node: member }, 'scaling down');
      try {
        await o.client.delete(KIND.node, { name: member, namespace }, { resourceVersion, signal });
      } catch (error) {
        if (isConflict(error)) return SEEN_AGAIN_MS;
        if (!isNotFound(error)) throw error;
      }
      applier.forget(KIND.node, joinKey(namespace, member));
    }
    return left === removed.length ? 0 : decision.againMs;
  };

  return new Controller({
    name: 'fleet',
    clock: o.clock,
    log: o.log,
    metrics: o.kubeMetrics,
    concurrency: WORKERS,
    sources: [
      objects(o.fleets, specChanged),
      owns<ResultityNode>(
        o.nodes,
        KIND.fleet,
        changed((n) => [
          n.metadata.deletionTimestamp,
          n.metadata.generation,
          n.status?.conditions?.map((c) => [c.type, c.status, c.reason]),
        ]),
      ),
    ],
    reconcile: async (key, context) => {
      const fleet = o.fleets.get(key);
      // A deleted fleet's nodes are taken by the garbage collector, each through its own drain.
      if (fleet === undefined) {
        conditions.forget(key);
        budgets.forget(key);
      }
      if (fleet === undefined || fleet.metadata.deletionTimestamp !== undefined) return done;
      try {
        const againMs = await keep(fleet, context);
        return againMs === undefined ? done : requeueAfter(againMs);
      } catch (error) {
        o.metrics.reconcileErrors.inc({ controller: 'fleet', error_type: errorType(error) });
        throw error;
      }
    },
  });
};
