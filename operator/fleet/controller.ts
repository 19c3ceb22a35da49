import { FIELD_MANAGER } from '../../src/api/contract.ts';
import type { ResultityFleet, ResultityNode } from '../../src/api/index.ts';
import {
  Applier,
  Controller,
  changed,
  controllerOf,
  done,
  isNotFound,
  joinKey,
  type KubeClient,
  type KubeMetrics,
  objects,
  ownerReference,
  owns,
  type ReconcileContext,
  type Store,
  specChanged,
} from '../../src/kube/index.ts';
import type { Clock, Logger } from '../../src/lib/index.ts';
import { ConditionGauges } from '../condition-gauges.ts';
import { KIND } from '../kinds.ts';
import { errorType, type OperatorMetrics } from '../metrics.ts';
import { childLabels } from '../names.ts';
import { writeStatus } from '../status-writer.ts';
import { Budgets } from './budget.ts';
import { decideFleet } from './decide.ts';

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
}

/** Keeps as many nodes as a fleet asks for; the nodes do the rest. */
export const fleetController = (o: FleetControllerOptions): Controller => {
  const conditions = new ConditionGauges(o.metrics.fleetCondition);
  const budgets = new Budgets(o.client, o.clock);
  const applier = new Applier({ client: o.client, fieldManager: FIELD_MANAGER.operator, metrics: o.kubeMetrics });

  const keep = async (
    fleet: ResultityFleet,
    { namespace = '', name, signal, wrote, log }: ReconcileContext,
  ): Promise<void> => {
    const nodes = o.nodes.byIndex(BY_FLEET, fleet.metadata.uid ?? '');
    const decision = decideFleet({ now: o.clock.now(), fleet, nodes });
    for (const { name: member, spec } of decision.wanted) {
      const intent = {
        metadata: {
          name: member,
          namespace,
          labels: childLabels('node', { node: member, network: spec.networkRef.name, fleet: name }),
          ownerReferences: [ownerReference(KIND.fleet, fleet)],
        },
        spec,
      } as ResultityNode;
      const { object, sent } = await applier.apply(o.nodes, intent, { signal });
      if (sent) wrote(o.nodes, object);
    }
    // first the identities of those that go are on record
    conditions.show(joinKey(namespace, name), { namespace, fleet: name }, decision.status.conditions ?? []);
    const written = await writeStatus(o, o.fleets, fleet, fleet.status, decision.status, signal);
    if (written) wrote(o.fleets, written);
    await budgets.keep(fleet, decision.minAvailable, signal);
    for (const member of decision.remove) {
      log.info({ node: member }, 'scaling down');
      await o.client.delete(KIND.node, { name: member, namespace }, { signal }).catch((error: unknown) => {
        if (!isNotFound(error)) throw error;
      });
      applier.forget(KIND.node, joinKey(namespace, member));
    }
  };

  return new Controller({
    name: 'fleet',
    clock: o.clock,
    log: o.log,
    metrics: o.kubeMetrics,
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
        await keep(fleet, context);
        return done;
      } catch (error) {
        o.metrics.reconcileErrors.inc({ controller: 'fleet', error_type: errorType(error) });
        throw error;
      }
    },
  });
};
