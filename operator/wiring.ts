import { LABEL } from '../src/api/contract.ts';
import type { ResultityNode } from '../src/api/index.ts';
import { EventRecorder, type KubeClient, type KubeMetrics, type Manager } from '../src/kube/index.ts';
import type { Clock, Logger, Secret } from '../src/lib/index.ts';
import type { Flags } from './flags.ts';
import { BY_FLEET, fleetController, fleetUidOf } from './fleet/index.ts';
import { Inventory, slimNode, slimPod } from './inventory.ts';
import { KIND } from './kinds.ts';
import type { OperatorMetrics } from './metrics.ts';
import { modelController } from './model/index.ts';
import { NetworkViews, networkController } from './network/index.ts';
import {
  BY_GROUP,
  BY_HELD,
  BY_MACHINE,
  BY_MODEL,
  BY_NETWORK,
  BY_POD,
  groupOf,
  heldOf,
  machineNameOf,
  modelOf,
  networkKeyOf,
  nodeController,
  podUidsOf,
} from './node/index.ts';

export interface Parts {
  readonly manager: Manager;
  readonly client: KubeClient;
  readonly clock: Clock;
  readonly log: Logger;
  readonly kubeMetrics: KubeMetrics;
  readonly metrics: OperatorMetrics;
  readonly flags: Flags;
  /** The pod's name, for events. */
  readonly instance: string;
  /** Tests give their own. */
  readonly newKey?: () => Secret;
  readonly nodeIntervalMs?: number;
  readonly sightMs?: { readonly restless: number; readonly settled: number };
}

/** Caches, views and the four controllers on one manager. Gives the recorder, to be closed at the end. */
export const wire = (parts: Parts): EventRecorder => {
  const { manager, client, clock, log, kubeMetrics, flags } = parts;
  // Streamed first lists need no second copy of all objects, here or in the server; where it does not know them, pages.
  const streamingList = true;
  const where = {
    streamingList,
    ...(flags['watch-namespace'] === '' ? {} : { namespace: flags['watch-namespace'] }),
  };
  const networks = manager.cache(KIND.network, where);
  const models = manager.cache(KIND.model, where);
  const fleets = manager.cache(KIND.fleet, where);
  const nodes = manager.cache(KIND.node, {
    ...where,
    indexers: {
      [BY_NETWORK]: (n) => [networkKeyOf(n)],
      [BY_FLEET]: fleetUidOf,
      [BY_MODEL]: modelOf,
      [BY_GROUP]: (n) => [groupOf(n)],
      [BY_HELD]: heldOf,
      [BY_MACHINE]: machineNameOf,
    },
  });
  const pods = manager.cache(KIND.pod, {
    ...where,
    transform: slimPod((pod) => ['node', 'pull'].includes(pod.metadata?.labels?.[LABEL.role] ?? '')),
  });
  const workloads = manager.optionalCache(KIND.workload, {
    ...where,
    indexers: { [BY_POD]: podUidsOf },
  });
  const kubernetesNodes = flags['watch-nodes']
    ? manager.cache(KIND.kubernetesNode, { streamingList, transform: slimNode })
    : undefined;
  const inventory = kubernetesNodes === undefined ? undefined : new Inventory(kubernetesNodes, pods);
  const views = new NetworkViews();
  const nodesOf = (network: string): readonly ResultityNode[] => nodes.byIndex(BY_NETWORK, network);
  const recorder = new EventRecorder({
    client,
    clock,
    log,
    metrics: kubeMetrics,
    controller: 'resultity.com/operator',
    instance: parts.instance,
  });
  const common = { ...parts, recorder, networks, nodes, views, nodesOf };
  manager.add(networkController({ ...common, pollFloorMs: flags['poll-floor-ms'] }));
  manager.add(modelController({ ...common, models }));
  manager.add(
    nodeController({
      ...common,
      pods,
      workloads,
      fleets,
      kubernetesNodes,
      inventory,
      agentClusterRole: flags['agent-cluster-role'],
      concurrency: flags.concurrency,
      settings: {
        agentImage: flags['agent-image'],
        allowedRepositories: flags['allowed-repositories'],
        agentLogLevel: flags['agent-log-level'],
      },
    }),
  );
  manager.add(fleetController({ ...common, fleets, pods, inventory }));
  return recorder;
};
