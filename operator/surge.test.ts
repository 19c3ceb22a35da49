import { expect } from 'chai';
import type { ResultityFleet, ResultityNetwork, ResultityNode } from '../src/api/index.ts';
import { networkManifest, nodeManifest, type RunningOperator, startOperator } from '../test/support/operator-rig.ts';
import { NS, runtimeOf, TTL, World } from '../test/support/operator-world.ts';
import { MACHINE } from '../test/support/pod-player.ts';
import { until } from '../test/support/until.ts';
import { KIND } from './kinds.ts';
import type { SecretObject } from './pod-types.ts';

const GPU = 'nvidia.com/gpu';

/** A fleet of two whose update may surge by one, on a machine with so many GPUs. Watches how many nodes there are. */
class Fleet {
  readonly world: World;
  /** Most nodes at once, and how often one was made above the replicas. */
  most = 0;
  readonly surges = new Set<string>();
  /** A member was updated while none more than wanted was Ready. */
  early = false;
  readonly #over = new AbortController();
  #watch: Promise<void> | undefined;

  private constructor(world: World) {
    this.world = world;
  }
  static async start(gpus: number): Promise<Fleet> {
    const fleet = new Fleet(await World.start());
    const { user, network } = fleet.world;
    const at = { name: MACHINE };
    const allocatable = { [GPU]: String(gpus) };
    await user.patchMerge(KIND.kubernetesNode, at, { status: { allocatable } }, { subresource: 'status' });
    await user.create(KIND.network, networkManifest(network, NS) as unknown as ResultityNetwork);
    const { spec } = nodeManifest('x', NS);
    await user.create(KIND.fleet, {
      apiVersion: 'resultity.com/v1alpha1',
      kind: 'ResultityFleet',
      metadata: { name: 'f', namespace: NS },
      spec: {
        replicas: 2,
        rollout: { mode: 'InPlace', maxUnavailable: 0, maxSurge: 1, pauseOnFailure: true },
        template: {
          ...spec,
          placement: { ...spec.placement, gpu: { resourceName: GPU, accelerator: 'cpu', count: 1 } },
        },
      },
    } as unknown as ResultityFleet);
    fleet.#watch = (async () => {
      while (!fleet.#over.signal.aborted) {
        fleet.#look();
        await new Promise((resolve) => setTimeout(resolve, 2));
      }
    })();
    return fleet;
  }
  async stop(): Promise<void> {
    this.#over.abort();
    await this.#watch;
    await this.world.stop();
  }
  get nodes(): ResultityNode[] {
    return this.world.api.objects<ResultityNode>('resultitynodes');
  }
  get object(): ResultityFleet | undefined {
    return this.world.api.objects<ResultityFleet>('resultityfleets')[0];
  }
  condition(type: string) {
    return this.object?.status?.conditions?.find((c) => c.type === type);
  }
  isReady = (n: ResultityNode): boolean =>
    n.status?.conditions?.some((c) => c.type === 'Ready' && c.status === 'True') === true;
  /** All members run this image and nothing is under way. */
  settledOn(c: string): boolean {
    const { pods } = this.world;
    const images = pods.filter((p) => p.spec?.containers[0]?.image.includes(c.repeat(8))).length;
    return images === 2 && pods.length === 2 && this.nodes.length === 2 && this.nodes.every(this.isReady);
  }
  publish(c: string): void {
    this.world.network.kit.publish({ ttl: TTL, runtimes: [runtimeOf(c)] });
  }
  get secrets(): string[] {
    return this.world.api.objects<SecretObject>('secrets').map((s) => s.metadata?.name ?? '');
  }

  #look(): void {
    const extra = this.nodes.filter((n) => n.metadata.annotations?.['resultity.com/surge'] === 'true');
    this.most = Math.max(this.most, this.nodes.length);
    for (const n of extra) this.surges.add(n.metadata.uid ?? '');
    const begun = this.world.pods.some((p) => p.metadata?.annotations?.['resultity.com/rollout'] !== undefined);
    if (begun && this.surges.size === 0) this.early = true;
  }
}

describe('an update of a fleet with maxSurge', function () {
  this.timeout(120_000);
  let fleet: Fleet;
  let operator: RunningOperator | undefined;
  const begin = async (gpus: number, dieAfter?: number): Promise<void> => {
    fleet = await Fleet.start(gpus);
    operator = await startOperator(fleet.world.api.connection);
    await comes('serving', () => fleet.settledOn('a'), 20_000);
    if (dieAfter === undefined) return;
    await operator.stop();
    operator = await startOperator(fleet.world.api.connection, [], dieAfter);
  };
  afterEach(async () => {
    await operator?.stop();
    await fleet.stop();
  });
  const story = () =>
    JSON.stringify({
      fleet: fleet.object?.status,
      nodes: fleet.nodes.map((n) => [n.metadata, n.status?.phase, n.status?.conditions]),
    });

  const comes = (what: string, holds: () => boolean, ms: number): Promise<void> =>
    until(what, holds, ms).catch((cause: unknown) => {
      throw new Error(`${what}: ${story()} ${operator?.complaints.slice(-5).join(' ')}`, { cause });
    });

  it('makes one more on the spare GPU, updates nobody before it is there, and takes it away again with its key kept', async () => {
    await begin(3);
    const before = fleet.world.pods.map((p) => p.metadata?.uid).sort();
    fleet.publish('b');
    await comes('updated', () => fleet.settledOn('b') && fleet.surges.size === 1, 40_000);
    expect([fleet.most, fleet.early]).to.deep.equal([3, false]);
    expect(fleet.world.pods.map((p) => p.metadata?.uid).sort(), 'the same pods').to.deep.equal(before);
    const [identity] = fleet.object?.status?.identities ?? [];
    expect(identity?.name).to.equal('f-2');
    expect(fleet.secrets).to.have.length(3).and.include(identity?.secretName);
    fleet.publish('c');
    await comes('updated again', () => fleet.settledOn('c') && fleet.surges.size === 2, 40_000);
    expect(fleet.secrets, 'the one more had the key of the time before').to.have.length(3);
    await comes('settled', () => fleet.condition('Surge')?.reason === 'Settled', 10_000);
  });

  it('goes on without one where every GPU is in use, one after the other, and says so', async () => {
    await begin(2);
    const before = fleet.world.pods.map((p) => p.metadata?.uid).sort();
    fleet.publish('b');
    await comes('said', () => fleet.condition('Surge')?.reason === 'NoSpareGPU', 20_000);
    await comes('updated', () => fleet.settledOn('b'), 40_000);
    expect([fleet.most, fleet.surges.size, fleet.world.player.mostUpdating]).to.deep.equal([2, 0, 1]);
    expect(fleet.world.pods.map((p) => p.metadata?.uid).sort()).to.deep.equal(before);
  });

  for (const dieAfter of [2, 8, 16, 26])
    it(`leaves nothing in the middle when the operator dies after ${dieAfter} writes`, async () => {
      await begin(3, dieAfter);
      fleet.publish('b');
      await operator?.died;
      await operator?.stop();
      operator = await startOperator(fleet.world.api.connection);
      await comes('updated', () => fleet.settledOn('b'), 40_000);
      expect([fleet.most, fleet.surges.size, fleet.early]).to.deep.equal([3, 1, false]);
      expect(fleet.secrets).to.have.length(3);
    });
});
