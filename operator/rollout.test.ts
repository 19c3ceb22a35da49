import { expect } from 'chai';
import type { ResultityNode } from '../src/api/index.ts';
import { nodeManifest, type RunningOperator, startOperator } from '../test/support/operator-rig.ts';
import { NS, runtimeOf, TTL, World } from '../test/support/operator-world.ts';
import { until } from '../test/support/until.ts';
import { KIND } from './kinds.ts';

const NODES = ['gpu-a', 'gpu-b', 'gpu-c', 'gpu-d'];

describe('an update of several nodes', function () {
  this.timeout(60_000);
  let world: World;
  let operator: RunningOperator;
  const nodes = () => world.api.objects<ResultityNode>('resultitynodes');
  const reasons = () => nodes().map((n) => n.status?.conditions?.find((c) => c.type === 'Progressing')?.reason ?? '');
  const messages = () => nodes().map((n) => n.status?.conditions?.find((c) => c.type === 'Progressing')?.message ?? '');
  const ready = () =>
    nodes().filter((n) => n.status?.conditions?.some((c) => c.type === 'Ready' && c.status === 'True')).length;
  const nodePods = () => world.pods.filter((p) => p.metadata?.labels?.['resultity.com/role'] === 'node');
  const onImage = (c: string) => nodePods().filter((p) => p.spec?.containers[0]?.image.includes(c.repeat(8))).length;

  beforeEach(async () => {
    world = await World.start();
    await world.create();
    for (const name of NODES.slice(1))
      await world.user.create(KIND.node, nodeManifest(name, NS) as unknown as ResultityNode);
    operator = await startOperator(world.api.connection);
    await until('all ready', () => ready() === NODES.length && onImage('a') === NODES.length, 20_000);
  });
  afterEach(async () => {
    await operator.stop();
    await world.stop();
  });

  it('takes one node after the other, keeps every pod, and leaves no pull pod', async () => {
    const uids = world.pods.map((p) => p.metadata?.uid).sort();
    world.network.kit.publish({ ttl: TTL, runtimes: [runtimeOf('b')] });
    await until('all updated', () => onImage('b') === NODES.length && ready() === NODES.length, 30_000);
    await until('no pull pod is left', () => world.pods.length === NODES.length);
    expect(world.player).to.include({ mostUpdating: 1, mostPods: 1 });
    expect(world.pods.map((p) => p.metadata?.uid).sort()).to.deep.equal(uids);
    expect(reasons()).to.deep.equal(NODES.map(() => 'Settled'));
  });

  it('stops at the first that was patched back, and says so on the others', async () => {
    world.player.broken.add(runtimeOf('b').image);
    world.network.kit.publish({ ttl: TTL, runtimes: [runtimeOf('b')] });
    await until(
      'one back, the others held',
      () =>
        reasons().sort().join() === ['RolledBack', 'UpdateHeld', 'UpdateHeld', 'UpdateHeld'].join() && ready() === 4,
      30_000,
    );
    expect(world.player.mostUpdating).to.equal(1);
    expect(onImage('a')).to.equal(NODES.length);
    expect(messages().filter((m) => m.includes('pauseOnFailure'))).to.have.length(3);
    world.network.kit.publish({ ttl: TTL, runtimes: [runtimeOf('c')] });
    await until('a good one goes through', () => onImage('c') === NODES.length && ready() === 4, 30_000);
  });
});
