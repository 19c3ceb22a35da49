import { Agent, request } from 'undici';
import { KIND } from '../../operator/kinds.ts';
import type { Pod } from '../../operator/pod-types.ts';
import { AGENT_SERVICE_ACCOUNT, FIELD_MANAGER } from '../../src/api/contract.ts';
import { isTrue, type ResultityNode } from '../../src/api/index.ts';
import {
  Controller,
  done,
  type KubeClient,
  kubeMetrics,
  type Manager,
  objects,
  pathOf,
  type Store,
} from '../../src/kube/index.ts';
import { CodedError, createLogger, Metrics, systemClock } from '../../src/lib/index.ts';
import { activeAgent, type KitNetwork } from '../../test/support/operator-rig.ts';

/** What the driver knows of the cluster. */
export interface Seen {
  readonly nodes: Store<ResultityNode>;
  readonly pods: Store<Pod>;
}

export interface AgentsOptions {
  readonly manager: Manager;
  /** The administrator's. */
  readonly client: KubeClient;
  readonly network: KitNetwork;
  /** Of the configuration that the agents have applied. */
  readonly digest: string;
  /** Write as the pod's own account by a token bound to it, so that RBAC and the admission policy judge each write. */
  readonly ownTokens: boolean;
  readonly signal: AbortSignal;
}

/**
 * Plays every agent: when a node's pod runs and the node names it, its status.agent says Active, once, by server-side
 * apply, and the network sees it.
 */
export const playAgents = (o: AgentsOptions): Seen => {
  const { manager, client, network } = o;
  const nodes = manager.cache(KIND.node, { streamingList: true });
  const pods = manager.cache(KIND.pod, {
    labelSelector: 'resultity.com/role=node',
    streamingList: true,
    transform: ({ metadata, spec, status }) =>
      ({
        metadata,
        spec: { nodeName: spec?.nodeName, serviceAccountName: spec?.serviceAccountName },
        status: { phase: status?.phase },
      }) as unknown as Pod,
  });
  const write = o.ownTokens ? ownWriter(client, o.signal) : adminWriter(client);
  const written = new Set<string>();
  manager.add(
    new Controller({
      name: 'agents',
      clock: systemClock,
      log: createLogger('agents', 'error'),
      metrics: kubeMetrics(new Metrics()),
      concurrency: 16,
      sources: [objects<Pod>(pods), objects<ResultityNode>(nodes)],
      reconcile: async (key) => {
        const [node, pod] = [nodes.get(key), pods.get(key)];
        const { nodeId, podUID } = node?.status ?? {};
        const uid = pod?.metadata?.uid;
        if (!node || !pod || !nodeId || pod.status?.phase !== 'Running' || podUID !== uid || written.has(key))
          return done;
        network.states.set(nodeId.toLowerCase(), { state: 'active', reasons: [] });
        await write(node, pod, { agent: activeAgent(nodeId, o.digest) });
        written.add(key);
        return done;
      },
    }),
  );
  return { nodes, pods };
};

type Write = (node: ResultityNode, pod: Pod, status: object) => Promise<void>;

const adminWriter =
  (client: KubeClient): Write =>
  async ({ metadata: { name = '', namespace = '' } }, _pod, status) => {
    await client.applyStatus(KIND.node, { metadata: { name, namespace }, status } as unknown as ResultityNode, {
      fieldManager: FIELD_MANAGER.agent,
    });
  };

/** As the kubelet does: a token bound to the pod, then one write with it. */
const ownWriter = (client: KubeClient, signal: AbortSignal): Write => {
  let calls: Promise<Agent> | undefined;
  const open = async (): Promise<Agent> => {
    const { ca } = await client.connection.tls();
    const agent = new Agent({ connections: 8, allowH2: false, connect: ca === undefined ? {} : { ca } });
    signal.addEventListener('abort', () => void agent.destroy(), { once: true });
    return agent;
  };
  return async (node, pod, status) => {
    const { name = '', namespace = '' } = node.metadata;
    const { name: podName = '', uid = '' } = pod.metadata ?? {};
    const grant = (await client.raw(
      'POST',
      `/api/v1/namespaces/${namespace}/serviceaccounts/${AGENT_SERVICE_ACCOUNT}/token`,
      {
        body: {
          apiVersion: 'authentication.k8s.io/v1',
          kind: 'TokenRequest',
          spec: { boundObjectRef: { apiVersion: 'v1', kind: 'Pod', name: podName, uid } },
        },
      },
    )) as { status: { token: string } };
    calls ??= open();
    const path = pathOf(KIND.node, { name, namespace, subresource: 'status' });
    const answer = await request(
      `${client.connection.server.replace(/\/$/, '')}${path}?fieldManager=${FIELD_MANAGER.agent}`,
      {
        method: 'PATCH',
        dispatcher: await calls,
        headers: {
          authorization: `Bearer ${grant.status.token}`,
          'content-type': 'application/apply-patch+yaml',
          'user-agent': 'resultity-agent',
        },
        body: JSON.stringify({
          apiVersion: 'resultity.com/v1alpha1',
          kind: KIND.node.kind,
          metadata: { name },
          status,
        }),
      },
    );
    const text = await answer.body.text();
    if (answer.statusCode !== 200)
      throw new CodedError(
        'internal',
        `the agent of ${name} may not write: ${answer.statusCode} ${text.slice(0, 300)}`,
      );
  };
};

/** How far the nodes are, in the order of their way. */
export const progressOf = ({ nodes, pods }: Seen): Record<string, number> => {
  const all = nodes.list();
  const podList = pods.list();
  const having = (type: string): number => all.filter((n) => isTrue(n.status?.conditions, type)).length;
  return {
    created: all.length,
    pod: podList.length,
    bound: podList.filter((p) => p.spec?.nodeName !== undefined).length,
    running: podList.filter((p) => p.status?.phase === 'Running').length,
    agent: all.filter((n) => n.status?.agent?.phase === 'Active').length,
    Registered: having('Registered'),
    Serving: having('Serving'),
    Ready: having('Ready'),
  };
};
