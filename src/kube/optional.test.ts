import { expect } from 'chai';
import pino from 'pino';
import { ApiDouble } from '../../test/support/api-double.ts';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { until } from '../../test/support/until.ts';
import { KubeClient } from './client.ts';
import { followOptional } from './optional.ts';
import { Store } from './store.ts';
import { resource } from './types.ts';

const things = resource({ group: 'example.com', version: 'v1', plural: 'things', kind: 'Thing' });
const API = 'example.com/v1/things';

describe('a cache of a kind whose API comes and goes', function () {
  this.timeout(60_000);
  it('is empty and synced without the API, filled with it, and empty again when it goes, without a restart', async () => {
    const double = await ApiDouble.start();
    const client = new KubeClient({ connection: double.connection });
    const clock = new FakeClock();
    const store = new Store(things);
    const stop = new AbortController();
    const names = () => store.list().map((o) => o.metadata?.name);
    double.optional.set(API, false);
    const log = pino({ level: 'silent' });
    const running = followOptional({ client, clock, log, type: things, store, options: {}, signal: stop.signal });
    try {
      await until('synced', () => store.synced());
      expect(names()).to.deep.equal([]);
      double.optional.set(API, true);
      await client.create(things, { metadata: { name: 'a', namespace: 'n' } });
      await clock.advance(30_000);
      await until('filled', () => names().length === 1);
      double.optional.set(API, false);
      double.cutWatches();
      await until('empty again', () => names().length === 0);
      double.optional.set(API, true);
      await clock.advance(30_000);
      await until('filled again', () => names().length === 1);
      double.fault({ when: (r) => r.watch, times: 1, answer: { status: 500 } });
      double.cutWatches();
      await client.create(things, { metadata: { name: 'b', namespace: 'n' } });
      await until('other errors are only errors', () => names().length === 2);
    } finally {
      stop.abort();
      await running;
      await client.close();
      await double.stop();
    }
  });
});
