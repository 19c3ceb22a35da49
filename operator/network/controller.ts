import { FIELD_MANAGER, KEY } from '../../src/api/contract.ts';
import { isTrue, type ResultityNetwork, type ResultityNetworkStatus, type ResultityNode } from '../../src/api/index.ts';
import type { Floor } from '../../src/config/index.ts';
import {
  Controller,
  done,
  type EventRecorder,
  every,
  external,
  fingerprint,
  isNotFound,
  joinKey,
  type KubeClient,
  type KubeMetrics,
  objects,
  ownerReference,
  type ReconcileContext,
  requeueAfter,
  type Store,
  specChanged,
  stableJson,
} from '../../src/kube/index.ts';
import type { Clock, Logger } from '../../src/lib/index.ts';
import type { Address } from '../../src/protocol/index.ts';
import { ConditionGauges } from '../condition-gauges.ts';
import { KIND } from '../kinds.ts';
import { errorType, type OperatorMetrics } from '../metrics.ts';
import { childLabels, trustName } from '../names.ts';
import { writeStatus } from '../status-writer.ts';
import { decideNetwork, type NetworkFacts } from './decide.ts';
import { askSight } from './fetch.ts';
import { NetworkSession } from './session.ts';
import type { NetworkViews } from './view.ts';

export interface NetworkControllerOptions {
  readonly client: KubeClient;
  readonly clock: Clock;
  readonly log: Logger;
  readonly kubeMetrics: KubeMetrics;
  readonly metrics: OperatorMetrics;
  readonly recorder: EventRecorder;
  readonly networks: Store<ResultityNetwork>;
  readonly nodes: Store<ResultityNode>;
  /** The nodes of a network, `namespace/name`. */
  readonly nodesOf: (network: string) => readonly ResultityNode[];
  readonly views: NetworkViews;
  readonly pollFloorMs: number;
  /** How often the network is asked about the nodes; while one is not active yet, and when all are. */
  readonly sightMs?: { readonly restless: number; readonly settled: number };
}

interface Known {
  readonly uid: string | undefined;
  readonly session: NetworkSession;
  trust: string;
  /** The poll with which it was last compared. */
  trustPoll: number;
  /** When the network was last asked about its nodes, and when it is asked next. */
  lastSight: number;
  nextSight: number;
  refusal: string;
  info: Parameters<OperatorMetrics['configInfo']['remove']>[0] | undefined;
}

/** So long after a node has registered, others that register with it are asked about in the same call. */
const SOON_MS = 1_000;

const networkKeyOf = ({ metadata, spec }: ResultityNode): string => joinKey(metadata.namespace, spec.networkRef.name);

/** Fetch and verify, keep durable, tell the nodes; and ask the network how it sees them. */
export const networkController = (o: NetworkControllerOptions): Controller => {
  const known = new Map<string, Known>();
  const conditions = new ConditionGauges(o.metrics.networkCondition);
  const sightMs = o.sightMs ?? { restless: 5_000, settled: 30_000 };

  const forget = async (key: string): Promise<void> => {
    const old = known.get(key);
    known.delete(key);
    o.views.forget(key);
    conditions.forget(key);
    if (old?.info) o.metrics.configInfo.remove(old.info);
    await old?.session.close();
  };

  const write = async (
    network: ResultityNetwork,
    status: ResultityNetworkStatus,
    context: ReconcileContext | undefined,
  ): Promise<void> => {
    const { namespace = '', name = '' } = network.metadata;
    conditions.show(joinKey(namespace, name), { namespace, network: name }, status.conditions ?? []);
    const written = await writeStatus(o, o.networks, network, network.status, status, context?.signal);
    if (written) context?.wrote(o.networks, written);
  };

  const open = (key: string, network: ResultityNetwork): Known => ({
    uid: network.metadata.uid,
    session: new NetworkSession(network, {
      client: o.client,
      clock: o.clock,
      pollFloorMs: o.pollFloorMs,
      onFloor: async ({ epoch, version, digest }: Floor) => {
        const live = o.networks.get(key) ?? network;
        if (
          digest === null ||
          (live.status?.epoch === epoch && live.status.version === version && live.status.digest === digest)
        )
          return;
        await write(live, { ...live.status, epoch, version, digest, shortDigest: digest.slice(7, 19) }, undefined);
      },
    }),
    trust: '',
    trustPoll: -1,
    lastSight: Number.NEGATIVE_INFINITY,
    nextSight: Number.NEGATIVE_INFINITY,
    refusal: '',
    info: undefined,
  });

  /** For the pods of this network: from where they trust, and whom they may call. */
  const writeTrust = async (
    network: ResultityNetwork,
    facts: NetworkFacts,
    at: Known,
    signal: AbortSignal,
  ): Promise<void> => {
    if (facts.pinned.kind !== 'text') return;
    const { name = '', namespace } = network.metadata;
    const intent = {
      metadata: {
        name: trustName(name),
        ...(namespace === undefined ? {} : { namespace }),
        labels: childLabels('trust', { network: name }),
        ownerReferences: [ownerReference(KIND.network, network)],
      },
      data: { [KEY.root]: facts.pinned.text, ...(facts.ca.kind === 'text' ? { [KEY.ca]: facts.ca.text } : {}) },
    };
    const wanted = fingerprint(intent);
    // Asked with each poll only: somebody may have removed or changed it.
    if (at.trust === wanted && at.trustPoll === at.session.polls) return;
    const live = await o.client
      .get(KIND.configMap, { name: intent.metadata.name, namespace }, { signal })
      .catch((error: unknown) => {
        if (isNotFound(error)) return undefined;
        throw error;
      });
    if (stableJson(live?.data ?? {}) !== stableJson(intent.data))
      await o.client.apply(KIND.configMap, intent, { fieldManager: FIELD_MANAGER.operator, signal });
    at.trustPoll = at.session.polls;
    at.trust = wanted;
  };

  const look = async (key: string, network: ResultityNetwork, context: ReconcileContext): Promise<number> => {
    let at = known.get(key);
    if (at === undefined || at.uid !== network.metadata.uid) {
      await forget(key);
      at = open(key, network);
      known.set(key, at);
    }
    const { session } = at;
    const facts = await session.look(network, context.signal);
    const decision = decideNetwork(facts);
    await writeTrust(network, facts, at, context.signal);
    await write(network, decision.status, context);
    await session.putInForce(decision.inForce, network.spec.updates);
    for (const event of decision.events) o.recorder.record(KIND.network, network, event);
    tell(key, network, facts, decision.inForce, at);
    o.views.setTried(key);
    await see(key, network, at, context.signal);
    return Math.min(session.dueInMs, Math.max(0, at.nextSight - o.clock.monotonic()));
  };

  const tell = (
    key: string,
    network: ResultityNetwork,
    facts: NetworkFacts,
    inForce: NetworkFacts['inForce'],
    at: Known,
  ): void => {
    const { namespace = '', name = '' } = network.metadata;
    const refusal = facts.outcome.kind === 'refused' ? `${facts.outcome.code} ${facts.outcome.message}` : '';
    if (facts.outcome.kind === 'refused' && refusal !== at.refusal) {
      o.metrics.configRefusals.inc({ namespace, network: name, code: facts.outcome.code });
      o.log.warn(
        { controller: 'network', key, code: facts.outcome.code, error: facts.outcome.message },
        'configuration refused',
      );
    }
    at.refusal = refusal;
    if (inForce === undefined) return;
    const { digest, epoch, version, document, root } = inForce;
    if (o.views.get(key)?.digest !== digest)
      o.log.info({ controller: 'network', key, digest, version, root: root.version }, 'configuration in force');
    const info = { namespace, network: name, digest, version: String(version), root: String(root.version) };
    if (at.info) o.metrics.configInfo.remove(at.info);
    o.metrics.configInfo.set(info, 1);
    at.info = info;
    o.views.set(key, {
      name: root.document.network,
      environment: root.document.environment,
      digest,
      epoch,
      version,
      document,
    });
  };

  const see = async (key: string, network: ResultityNetwork, at: Known, signal: AbortSignal): Promise<void> => {
    const { dispatcher } = at.session;
    if (dispatcher === undefined || o.clock.monotonic() < at.nextSight) return;
    const nodes = o.nodesOf(key);
    const ids = new Set<Address>();
    for (const node of nodes) {
      const id = (node.status?.nodeId ?? node.status?.agent?.nodeId)?.toLowerCase();
      if (id !== undefined && node.status?.podUID !== undefined) ids.add(id as Address);
    }
    if (ids.size > 0) {
      const answer = await askSight(network.spec.endpoint, dispatcher, [...ids], signal);
      o.views.setSight(key, { ...answer, asked: ids });
    }
    const restless = nodes.some((n) => !isTrue(n.status?.conditions, 'Ready'));
    at.lastSight = o.clock.monotonic();
    at.nextSight = at.lastSight + (restless ? sightMs.restless : sightMs.settled);
  };

  /** A node that has just registered is asked about soon, although all was settled until now: true when that moves the look. */
  const hasten = (node: ResultityNode): boolean => {
    const { conditions } = node.status ?? {};
    const at = known.get(networkKeyOf(node));
    if (at === undefined || !isTrue(conditions, 'Registered') || isTrue(conditions, 'NetworkVisible')) return false;
    const soon = Math.max(at.lastSight + sightMs.restless, o.clock.monotonic() + Math.min(SOON_MS, sightMs.restless));
    if (soon >= at.nextSight) return false;
    at.nextSight = soon;
    return true;
  };

  return new Controller({
    name: 'network',
    clock: o.clock,
    log: o.log,
    metrics: o.kubeMetrics,
    concurrency: 2,
    sources: [
      objects(o.networks, specChanged),
      every(o.clock, 30_000, () => o.networks.keys()),
      external((enqueue) =>
        o.nodes.subscribe((change) => {
          if (change.type !== 'deleted' && hasten(change.object))
            enqueue(networkKeyOf(change.object), 'node registered');
        }),
      ),
    ],
    reconcile: async (key, context) => {
      const network = o.networks.get(key);
      if (network === undefined || network.metadata.deletionTimestamp !== undefined) {
        await forget(key);
        return done;
      }
      try {
        return requeueAfter(Math.max(100, await look(key, network, context)));
      } catch (error) {
        o.metrics.reconcileErrors.inc({ controller: 'network', error_type: errorType(error) });
        throw error;
      }
    },
  });
};
