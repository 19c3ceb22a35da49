import { expect } from 'chai';
import type { ResultityNetwork, ResultityNode } from '../src/api/index.ts';
import { KubeClient } from '../src/kube/index.ts';
import { ApiDouble } from '../test/support/api-double.ts';
import {
  KitNetwork,
  networkManifest,
  nodeManifest,
  type RunningOperator,
  startOperator,
} from '../test/support/operator-rig.ts';
import { PodPlayer } from '../test/support/pod-player.ts';
import { until } from '../test/support/until.ts';
import { KIND } from './kinds.ts';
import type { Pod, SecretObject } from './pod-types.ts';

const NS = 'nodes';
const TTL = { heartbeatMs: 15_000, missedHeartbeats: 3, pollMs: 250, retryMs: 250, cacheMs: 1000 };
const at = { name: 'gpu-a', namespace: NS };
const runtime = (c: string): object => ({
  engine: 'vllm',
  version: '0.33.0',
  image: `registry.example/vllm@sha256:${c.repeat(64)}`,
  accelerator: 'cpu',
});

/** One world: API double, network, kubelet and agent. Operators come and go. */
class World {
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
    network.kit.publish({ ttl: TTL, runtimes: [runtime('a')] });
    return new World(await ApiDouble.start(), network);
  }
  async stop(): Promise<void> {
    await this.player.stop();
    await this.user.close();
    await this.network.stop();
    await this.api.stop();
  }
  async create(): Promise<void> {
    await this.user.create(KIND.network, networkManifest(this.network, NS) as unknown as ResultityNetwork);
    await this.user.create(KIND.node, nodeManifest('gpu-a', NS) as unknown as ResultityNode);
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

interface Scene {
  readonly name: string;
  /** What stands before: nothing, or a node that serves. */
  readonly before: 'nothing' | 'serving';
  readonly change: (world: World) => Promise<unknown>;
  readonly done: (world: World) => boolean;
}

const image = (world: World): string => world.pods[0]?.spec?.containers[0]?.image ?? '';
const scenes: Scene[] = [
  { name: 'a node is created', before: 'nothing', change: (w) => w.create(), done: (w) => w.settled },
  {
    name: 'the runtime image changes',
    before: 'serving',
    change: async (w) => w.network.kit.publish({ ttl: TTL, runtimes: [runtime('b')] }),
    done: (w) => w.settled && image(w).includes('bbbb'),
  },
  {
    name: 'the runtime image changes to a broken one',
    before: 'serving',
    change: async (w) => {
      w.player.broken.add((runtime('b') as { image: string }).image);
      w.network.kit.publish({ ttl: TTL, runtimes: [runtime('b')] });
    },
    done: (w) =>
      w.settled &&
      image(w).includes('aaaa') &&
      w.node?.metadata.annotations?.['resultity.com/rolled-back'] !== undefined,
  },
  {
    name: 'the agent image changes',
    before: 'serving',
    change: async (w) => {
      const agent = w.network.kit.document().agent as object;
      w.network.kit.publish({
        ttl: TTL,
        runtimes: [runtime('a')],
        agent: { ...agent, image: `registry.example/resultity@sha256:${'9'.repeat(64)}` },
      });
    },
    done: (w) => w.settled && w.pods[0]?.spec?.initContainers?.[0]?.image.includes('9999') === true,
  },
  {
    name: 'the node moves to other machines',
    before: 'serving',
    change: (w) => w.user.patchMerge(KIND.node, at, { spec: { placement: { nodeSelector: { zone: 'b' } } } }),
    done: (w) => w.settled && (w.pods[0]?.spec?.nodeSelector as { zone?: string } | undefined)?.zone === 'b',
  },
  {
    name: 'the node is deleted',
    before: 'serving',
    change: (w) => w.user.delete(KIND.node, at),
    done: (w) => w.node === undefined && w.pods.length === 0,
  },
];

/** The whole scene; the operator dies after `dieAfter` writes of it and another takes over. Gives the writes it took in all. */
const play = async (scene: Scene, dieAfter: number): Promise<{ writes: number; outcome: object }> => {
  const world = await World.start();
  const running: RunningOperator[] = [];
  const operator = async (dies = Number.POSITIVE_INFINITY): Promise<RunningOperator> => {
    const started = await startOperator(world.api.connection, [], dies);
    running.push(started);
    return started;
  };
  const stop = async (): Promise<void> => {
    for (const o of running.splice(0)) await o.stop();
  };
  try {
    if (scene.before === 'serving') {
      await world.create();
      await operator();
      await until('serving', () => world.settled, 15_000);
      await stop();
    }
    const mortal = await operator(dieAfter);
    await scene.change(world);
    let dead = false;
    void mortal.died.then(() => {
      dead = true;
    });
    await until('done or dead', () => dead || scene.done(world), 20_000);
    const writes = mortal.writes();
    await stop();
    await operator();
    await until(`done by the heir, died after ${dieAfter}`, () => scene.done(world), 20_000);
    return { writes, outcome: world.outcome };
  } catch (error) {
    process.stderr.write(
      `${JSON.stringify(world.node?.status, null, 1)}\n${running.map((o) => o.complaints.slice(-5).join('\n')).join('\n')}\n`,
    );
    throw error;
  } finally {
    await stop();
    await world.stop();
  }
};

describe('an operator that dies after any of its writes', function () {
  this.timeout(600_000);
  for (const scene of scenes)
    it(`leaves nothing that its heir cannot finish the same way: ${scene.name}`, async () => {
      const whole = await play(scene, Number.POSITIVE_INFINITY);
      expect(whole.writes).to.be.greaterThan(1);
      expect(whole.outcome).to.include({ mostPods: 1 });
      // Several worlds at a time: they mostly wait for their operators' clocks.
      const deaths = Array.from({ length: whole.writes - 1 }, (_, i) => i + 1);
      for (let from = 0; from < deaths.length; from += 4)
        await Promise.all(
          deaths.slice(from, from + 4).map(async (n) => {
            const { outcome } = await play(scene, n);
            expect(outcome, `died after write ${n} of ${whole.writes}`).to.deep.equal(whole.outcome);
          }),
        );
    });
});
