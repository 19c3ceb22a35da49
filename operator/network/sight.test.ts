import type { ResultityNetwork } from '../../src/api/index.ts';
import { startOperator } from '../../test/support/operator-rig.ts';
import { runtimeOf, TTL, World } from '../../test/support/operator-world.ts';
import { until } from '../../test/support/until.ts';

describe('how the network sees a node', function () {
  this.timeout(60_000);

  it('is asked soon after the node has registered, although nothing was due for a long time', async () => {
    const world = await World.start();
    const operator = await startOperator(world.api.connection, [], Number.POSITIVE_INFINITY, {
      restless: 200,
      settled: 3_600_000,
    });
    try {
      await world.create('network');
      const digest = (): string | undefined =>
        (world.api.objects('resultitynetworks')[0] as ResultityNetwork | undefined)?.status?.digest;
      await until('a first look', () => digest() !== undefined);
      const first = digest();
      world.network.kit.publish({ ttl: TTL, runtimes: [runtimeOf('b')] });
      await until('a second look, so that the first is over', () => digest() !== first);
      await world.create('node');
      await until('Ready', () => world.settled, 15_000);
    } finally {
      await operator.stop();
      await world.stop();
    }
  });
});
