import { expect } from 'chai';
import type { ResultityFleet, ResultityNode } from '../../src/api/index.ts';
import { nodeManifest, type RunningOperator, startOperator } from '../../test/support/operator-rig.ts';
import { NS, World } from '../../test/support/operator-world.ts';
import { until } from '../../test/support/until.ts';
import { KIND } from '../kinds.ts';

const fleet = (name: string, replicas: number) =>
  ({
    apiVersion: 'resultity.com/v1alpha1',
    kind: 'ResultityFleet',
    metadata: { name, namespace: NS },
    spec: {
      replicas,
      rollout: { mode: 'InPlace', maxUnavailable: 1, maxSurge: 0, pauseOnFailure: true },
      template: { ...nodeManifest('x', NS).spec, identity: { retain: true } },
    },
  }) as unknown as ResultityFleet;

const BIG = 150;

describe('a large fleet', function () {
  this.timeout(120_000);
  let world: World;
  let operator: RunningOperator;
  const nodes = () => world.api.objects<ResultityNode>('resultitynodes');
  const of = (name: string) => nodes().filter((n) => n.metadata.name?.startsWith(`${name}-`)).length;
  /** What was written first of a node or of its pod, by name, in the order of the writes. */
  const order = (method: string, plural: string): string[] =>
    world.api.requests
      .filter((r) => r.method === method)
      .flatMap((r) => new RegExp(`/${plural}/([^/?]+)(?:\\?|$)`).exec(r.path)?.[1] ?? []);

  beforeEach(async () => {
    world = await World.start();
    operator = await startOperator(world.api.connection);
  });
  afterEach(async () => {
    await operator.stop();
    await world.stop();
  });

  it('lets other fleets and single nodes in while it is scaled up and down', async () => {
    await world.user.create(KIND.fleet, fleet('big', BIG));
    await until('it has begun', () => of('big') > 0);
    await world.user.create(KIND.fleet, fleet('small', 2));
    await world.user.create(KIND.node, nodeManifest('single', NS) as unknown as ResultityNode);
    await until('all are there', () => of('big') === BIG && of('small') === 2, 60_000);
    const made = order('PATCH', 'resultitynodes').filter((name, i, all) => all.indexOf(name) === i);
    const place = (name: string): number => made.indexOf(name);
    // Begun at once, before its members are all there: a turn of the big one is 25 writes.
    for (const name of ['small-0', 'small-1', 'single']) expect(place(name), name).to.be.within(1, BIG - 26);
    const deletions = () => order('DELETE', 'resultitynodes');
    await world.user.patchMerge(KIND.fleet, { name: 'big', namespace: NS }, { spec: { replicas: 0 } });
    await until('it goes', () => deletions().length > 0);
    await world.user.patchMerge(KIND.fleet, { name: 'small', namespace: NS }, { spec: { replicas: 1 } });
    await until('all went', () => of('big') === 0 && of('small') === 1, 60_000);
    expect(deletions().indexOf('small-1')).to.be.within(1, BIG - 26);
    expect(new Set(deletions()).size, 'nobody was deleted twice or in vain').to.equal(BIG + 1);
  });
});
