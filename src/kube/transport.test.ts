import { expect } from 'chai';
import { ApiDouble } from '../../test/support/api-double.ts';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { until } from '../../test/support/until.ts';
import { KubeClient } from './client.ts';
import { resource } from './types.ts';

const configMaps = resource({ group: '', version: 'v1', plural: 'configmaps', kind: 'ConfigMap' });

describe('Transport', () => {
  it('takes up a new CA within a minute, without breaking what is in flight', async () => {
    const double = await ApiDouble.start();
    const clock = new FakeClock();
    let ca = 'one';
    const client = new KubeClient({ connection: { ...double.connection, tls: async () => ({ ca }) }, clock });
    const apply = (name: string): Promise<unknown> => client.apply(configMaps, { metadata: { name, namespace: 'n' } });
    const stop = new AbortController();
    const got: string[] = [];
    const reading = (async () => {
      for await (const line of client.watchLines(configMaps, { signal: stop.signal, timeoutSeconds: 600 }))
        got.push(line);
    })().catch(() => undefined);
    try {
      await until('the watch', () => double.openWatches === 1);
      await Promise.all(Array.from({ length: 16 }, (_, i) => apply(`m${i}`)));
      const opened = double.connections;
      await clock.advance(60_000);
      await apply('same-ca');
      expect(double.connections).to.equal(opened);
      ca = 'two';
      await apply('within-the-minute');
      expect(double.connections).to.equal(opened);
      await clock.advance(60_000);
      await apply('new-ca');
      expect(double.connections).to.be.greaterThan(opened);
      await until('it on the old watch', () => got.some((line) => line.includes('new-ca')));
    } finally {
      stop.abort();
      await reading;
      await client.close();
      await double.stop();
    }
  });
});
