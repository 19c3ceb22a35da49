/** A small world around operators in process, on the API double. */
import { KIND } from '../../operator/kinds.ts';
import type { Pod, SecretObject } from '../../operator/pod-types.ts';
import type { ResultityNetwork, ResultityNode } from '../../src/api/index.ts';
import { KubeClient } from '../../src/kube/index.ts';
import { ApiDouble } from './api-double.ts';
import { KitNetwork, networkManifest, nodeManifest } from './operator-rig.ts';
import { MACHINE, PodPlayer } from './pod-player.ts';

export const NS = 'nodes';
/** Times so short that a test need not wait. */
export const TTL = { heartbeatMs: 15_000, missedHeartbeats: 3, pollMs: 250, retryMs: 250, cacheMs: 1000 };
/** The one node of the world. */
export const NODE = { name: 'gpu-a', namespace: NS };
/** A runtime of the snapshot, its image told apart by one digit. */
export const runtimeOf = (c: string) => ({
  engine: 'vllm',
  version: '0.33.0',
  image: `registry.example/vllm@sha256:${c.repeat(64)}`,
  accelerator: 'cpu',
});

/** API double, network, machine, kubelet and agent. Operators come and go. */
export class World {
  readonly api: ApiDouble;
  readonly network: KitNetwork;
  readonly player: PodPlayer;
  readonly user: KubeClient;

  private constructor(api: ApiDouble, network: KitNetwork) {
    this.api = api;
    this.network = network;
    this.player = new PodPlayer(api, network).start();
    this.user = new KubeClient({ connection: api.connection, fieldManager: 'user' });
  }
  static async start(): Promise<World> {
    const network = await KitNetwork.start();
    network.kit.publish({ ttl: TTL, runtimes: [runtimeOf('a')] });
    const world = new World(await ApiDouble.start(), network);
    await world.user.create(KIND.kubernetesNode, { metadata: { name: MACHINE }, spec: {} });
    return world;
  }
  /** Taints of the one machine. */
  taint(...keys: string[]): Promise<unknown> {
    const taints = keys.map((key) => ({ key, effect: 'NoExecute' }));
    return this.user.patchMerge(KIND.kubernetesNode, { name: MACHINE }, { spec: { taints } });
  }
  condition(type: string) {
    return this.node?.status?.conditions?.find((c) => c.type === type);
  }
  async stop(): Promise<void> {
    await this.player.stop();
    await this.user.close();
    await this.network.stop();
    await this.api.stop();
  }
  async create(what: 'network' | 'node' | 'both' = 'both'): Promise<void> {
    if (what !== 'node')
      await this.user.create(KIND.network, networkManifest(this.network, NS) as unknown as ResultityNetwork);
    if (what !== 'network') await this.user.create(KIND.node, nodeManifest('gpu-a', NS) as unknown as ResultityNode);
  }
  get node(): ResultityNode | undefined {
    return this.api.objects<ResultityNode>('resultitynodes')[0];
  }
  get pods(): Pod[] {
    return this.api.objects<Pod>('pods');
  }
  get settled(): boolean {
    const ready = this.node?.status?.conditions?.find((c) => c.type === 'Ready')?.status;
    const { annotations = {} } = this.pods[0]?.metadata ?? {};
    const busy = ['resultity.com/drain', 'resultity.com/handover', 'resultity.com/rollout'].some((k) => annotations[k]);
    return ready === 'True' && this.pods.length === 1 && !busy;
  }
  /** What must come out the same, wherever an operator died. */
  get outcome(): object {
    const [pod] = this.pods;
    const { phase, assignedModel, nodeId } = this.node?.status ?? {};
    return {
      phase,
      assignedModel,
      images: [...(pod?.spec?.initContainers ?? []), ...(pod?.spec?.containers ?? [])].map((c) => c.image),
      zone: pod?.spec?.nodeSelector,
      pods: this.pods.length,
      sameKey: this.api.objects<SecretObject>('secrets').map((s) => s.metadata?.name === `gpu-a-${nodeId}`),
      mostPods: this.player.mostPods,
      rolledBack: this.node?.metadata.annotations?.['resultity.com/rolled-back'],
    };
  }
}
