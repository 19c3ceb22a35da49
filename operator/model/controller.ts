import { FIELD_MANAGER } from '../../src/api/contract.ts';
import type { ApprovedModel, ResultityNetwork, ResultityNode } from '../../src/api/index.ts';
import {
  Applier,
  Controller,
  done,
  every,
  external,
  isNotFound,
  joinKey,
  type KubeClient,
  type KubeMetrics,
  maps,
  objects,
  ownerReference,
  type ReconcileContext,
  type Store,
} from '../../src/kube/index.ts';
import type { Clock, Logger } from '../../src/lib/index.ts';
import { KIND } from '../kinds.ts';
import { errorType, type OperatorMetrics } from '../metrics.ts';
import { childLabels } from '../names.ts';
import type { NetworkViews } from '../network/index.ts';
import { writeStatus } from '../status-writer.ts';
import { decideMirrors } from './decide.ts';

export interface ModelControllerOptions {
  readonly client: KubeClient;
  readonly clock: Clock;
  readonly log: Logger;
  readonly kubeMetrics: KubeMetrics;
  readonly metrics: OperatorMetrics;
  readonly networks: Store<ResultityNetwork>;
  readonly models: Store<ApprovedModel>;
  readonly nodes: Store<ResultityNode>;
  readonly nodesOf: (network: string) => readonly ResultityNode[];
  readonly views: NetworkViews;
}

/** Counts of nodes follow the nodes with this delay at most. */
const DEBOUNCE_MS = 10_000;

/** The mirrors of one network at a time; the key is the network's. */
export const modelController = (o: ModelControllerOptions): Controller => {
  const applier = new Applier({ client: o.client, fieldManager: FIELD_MANAGER.operator, metrics: o.kubeMetrics });
  const dirty = new Set<string>();

  const mirror = async (key: string, { namespace = '', name, signal, wrote, log }: ReconcileContext): Promise<void> => {
    const network = o.networks.get(key);
    // A new process knows nothing yet: what stands is better than that, and the first look at the network wakes this key.
    if (network !== undefined && !o.views.tried(key)) return;
    const document = o.views.get(key)?.document;
    const facts = {
      now: o.clock.now(),
      network: name,
      networkUid: network?.metadata.deletionTimestamp === undefined ? network?.metadata.uid : undefined,
      document: network === undefined ? undefined : document,
      models: o.models.list().filter((m) => m.metadata.namespace === namespace && m.spec.networkRef.name === name),
      nodes: o.nodesOf(key),
    };
    const decision = decideMirrors(facts);
    for (const { name: model, spec } of decision.wanted) {
      if (network === undefined) break;
      const intent = {
        metadata: {
          name: model,
          namespace,
          labels: childLabels('model', { network: name, model: `${spec.name}:${spec.version}` }),
          ownerReferences: [ownerReference(KIND.network, network)],
        },
        spec,
      } as ApprovedModel;
      const { object, sent } = await applier.apply(o.models, intent, { signal });
      if (sent) wrote(o.models, object);
    }
    for (const gone of decision.remove) {
      log.info({ model: gone }, 'model left the snapshot');
      await o.client.delete(KIND.model, { name: gone, namespace }, { signal }).catch((error: unknown) => {
        if (!isNotFound(error)) throw error;
      });
      applier.forget(KIND.model, joinKey(namespace, gone));
    }
    for (const { model, status } of decision.statuses) {
      const written = await writeStatus(o, o.models, model, model.status, status, signal);
      if (written) wrote(o.models, written);
    }
    gauge(
      o.metrics,
      namespace,
      name,
      document?.models.map((m) => m.state),
    );
  };

  return new Controller({
    name: 'model',
    clock: o.clock,
    log: o.log,
    metrics: o.kubeMetrics,
    sources: [
      objects(o.networks, (c) => c.type !== 'updated'),
      maps<ApprovedModel>(o.models, (m) => [joinKey(m.metadata.namespace, m.spec.networkRef.name)]),
      external((enqueue) =>
        o.views.subscribe(({ network, nodes }) => nodes === undefined && enqueue(network, 'configuration')),
      ),
      external(() =>
        o.nodes.subscribe(
          (change) => void dirty.add(joinKey(change.object.metadata.namespace, change.object.spec.networkRef.name)),
        ),
      ),
      every(o.clock, DEBOUNCE_MS, () => {
        const keys = [...dirty];
        dirty.clear();
        return keys;
      }),
    ],
    reconcile: async (key, context) => {
      try {
        await mirror(key, context);
        return done;
      } catch (error) {
        o.metrics.reconcileErrors.inc({ controller: 'model', error_type: errorType(error) });
        throw error;
      }
    },
  });
};

const gauge = (
  metrics: OperatorMetrics,
  namespace: string,
  network: string,
  states: readonly string[] | undefined,
): void => {
  for (const state of ['active', 'inactive', 'archived']) {
    const labels = { namespace, network, state };
    if (states === undefined) metrics.models.remove(labels);
    else metrics.models.set(labels, states.filter((s) => s === state).length);
  }
};
