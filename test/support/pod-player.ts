/** Plays kubelet and agent for the pods on an API double: binds, runs, pulls, restarts on image patches, obeys annotations. */
import { KIND } from '../../operator/kinds.ts';
import type { Container, Pod } from '../../operator/pod-types.ts';
import type { ResultityNode } from '../../src/api/index.ts';
import { isConflict, isNotFound, KubeClient } from '../../src/kube/index.ts';
import type { ApiDouble } from './api-double.ts';
import { activeAgent, type KitNetwork } from './operator-rig.ts';

const HERE = 'test/kubelet';
/** Where every pod goes. */
export const MACHINE = 'machine';

interface Played {
  /** Image of each container that runs, and how often it was started. */
  readonly images: Map<string, string>;
  readonly starts: Map<string, number>;
}

export class PodPlayer {
  /** Images whose container never becomes ready. */
  readonly broken = new Set<string>();
  /** The machine is cut off: nothing is done there and nothing told. */
  away = false;
  /** Most pods of one identity that were seen at once,. */
  mostPods = 0;
  /** Most pods that were taken out of work for an update at once. */
  mostUpdating = 0;
  readonly #api: ApiDouble;
  readonly #network: KitNetwork;
  readonly #client: KubeClient;
  readonly #played = new Map<string, Played>();
  readonly #wrote = new Map<string, string>();
  #over = false;
  #loop: Promise<void> | undefined;

  constructor(api: ApiDouble, network: KitNetwork) {
    this.#api = api;
    this.#network = network;
    this.#client = new KubeClient({ connection: api.connection, fieldManager: 'kubelet' });
  }

  start(): this {
    this.#loop = (async () => {
      while (!this.#over) {
        await this.#round();
        await new Promise((resolve) => setTimeout(resolve, 10));
      }
    })();
    return this;
  }
  async stop(): Promise<void> {
    this.#over = true;
    await this.#loop;
    await this.#client.close();
  }

  async #round(): Promise<void> {
    const pods = this.#api.objects<Pod>('pods');
    const alive = pods.filter((p) => p.metadata?.labels?.['resultity.com/role'] === 'node');
    const updating = alive.filter((p) => p.metadata?.annotations?.['resultity.com/rollout'] !== undefined);
    this.mostUpdating = Math.max(this.mostUpdating, updating.length);
    const byNode = Map.groupBy(alive, (p) => p.metadata?.labels?.['resultity.com/node']);
    for (const all of byNode.values()) this.mostPods = Math.max(this.mostPods, all.length);
    for (const pod of pods) {
      try {
        await this.#play(pod);
      } catch (error) {
        if (!isConflict(error) && !isNotFound(error)) throw error; // the operator wrote in between: next round
      }
    }
  }

  async #play(pod: Pod): Promise<void> {
    const { name = '', namespace, uid = '', finalizers = [] } = pod.metadata ?? {};
    const at = { name, namespace };
    if (this.away && !this.#forced(uid)) return;
    if (pod.metadata?.deletionTimestamp !== undefined) {
      this.#played.delete(uid);
      await this.#client.patchMerge(KIND.pod, at, { metadata: { uid, finalizers: null } });
      return;
    }
    if (pod.metadata?.labels?.['resultity.com/role'] === 'pull') {
      if (pod.status?.phase !== 'Succeeded')
        await this.#client.patchMerge(
          KIND.pod,
          at,
          { metadata: { uid }, status: { phase: 'Succeeded' } },
          { subresource: 'status' },
        );
      return;
    }
    if (pod.spec?.nodeName === undefined || !finalizers.includes(HERE)) {
      await this.#client.patchMerge(KIND.pod, at, {
        metadata: { uid, finalizers: [HERE] },
        spec: { nodeName: MACHINE },
      });
      return;
    }
    const played = this.#played.get(uid) ?? { images: new Map(), starts: new Map() };
    this.#played.set(uid, played);
    const status = (c: Container) => {
      if (played.images.get(c.name) !== c.image) played.starts.set(c.name, (played.starts.get(c.name) ?? 0) + 1);
      played.images.set(c.name, c.image);
      const bad = this.broken.has(c.image);
      return {
        name: c.name,
        image: c.image,
        containerID: `x://${uid}-${c.name}-${played.starts.get(c.name)}`,
        ready: !bad,
        started: !bad,
        restartCount: (played.starts.get(c.name) ?? 1) - 1,
        state: bad ? { waiting: { reason: 'CrashLoopBackOff' } } : { running: { startedAt: '2026-11-21T10:00:00Z' } },
        ...(bad ? { lastState: { terminated: { exitCode: 1 } } } : {}),
      };
    };
    await this.#write(
      `pod ${uid}`,
      {
        phase: 'Running',
        podIP: '10.0.0.9',
        conditions: [{ type: 'PodScheduled', status: 'True' }],
        initContainerStatuses: (pod.spec.initContainers ?? []).map(status),
        containerStatuses: pod.spec.containers.map(status),
      },
      (body) => this.#client.patchMerge(KIND.pod, at, { metadata: { uid }, status: body }, { subresource: 'status' }),
    );
    await this.#agent(pod, played);
  }

  /** The finalizer stands for the kubelet's part of a deletion; with grace 0 the server does not wait for it. */
  #forced(uid: string): boolean {
    return this.#api.requests.some(({ method, body }) => {
      const options = body as { gracePeriodSeconds?: number; preconditions?: { uid?: string } } | undefined;
      return method === 'DELETE' && options?.gracePeriodSeconds === 0 && options.preconditions?.uid === uid;
    });
  }

  async #agent(pod: Pod, played: Played): Promise<void> {
    const { namespace, annotations = {} } = pod.metadata ?? {};
    const node = this.#api
      .objects<ResultityNode>('resultitynodes')
      .find((n) => n.metadata.name === pod.metadata?.labels?.['resultity.com/node']);
    const { podUID } = node?.status ?? {};
    // An imported key is known by what the agent says: here the Secret's name tells it.
    const nodeId = node?.status?.nodeId ?? /0x[0-9a-f]{40}$/.exec(node?.spec.identity.secretRef?.name ?? '')?.[0];
    if (node === undefined || nodeId === undefined || podUID !== pod.metadata?.uid) return;
    if (this.broken.has(played.images.get('agent') ?? '')) return;
    this.#network.states.set(nodeId, { state: 'active', reasons: [] });
    const broken = this.broken.has(played.images.get('runtime') ?? '');
    const active = activeAgent(nodeId, annotations['resultity.com/desired-digest'] ?? '');
    const phase =
      annotations['resultity.com/handover'] === 'true'
        ? 'Handover'
        : annotations['resultity.com/drain'] === 'true'
          ? 'Drained'
          : 'Active';
    const agent = {
      ...active,
      phase,
      image: annotations['resultity.com/agent-image'] ?? played.images.get('agent'),
      models: [{ model: 'tiny:v1', state: broken ? 'failed' : 'active', ...(broken ? { reason: 'EngineDead' } : {}) }],
    };
    // What stands there counts, not what was written: the operator may have taken it away.
    if (JSON.stringify(node.status?.agent) !== JSON.stringify(agent)) this.#wrote.delete(`agent ${podUID}`);
    await this.#write(`agent ${podUID}`, agent, (body) =>
      this.#client.applyStatus(
        KIND.node,
        { metadata: { name: node.metadata.name, namespace }, status: { agent: body } } as unknown as ResultityNode,
        { fieldManager: 'resultity-agent' },
      ),
    );
  }

  async #write(key: string, body: object, send: (body: object) => Promise<unknown>): Promise<void> {
    const text = JSON.stringify(body);
    if (this.#wrote.get(key) === text) return;
    await send(body);
    this.#wrote.set(key, text);
  }
}
