import { expect } from 'chai';
import { ApiDouble } from '../../test/support/api-double.ts';
import { FakeClock, settle } from '../../test/support/fake-clock.ts';
import { until } from '../../test/support/until.ts';
import { KubeClient } from './client.ts';
import { type KubeObject, resource } from './types.ts';

const configMaps = resource({ group: '', version: 'v1', plural: 'configmaps', kind: 'ConfigMap' });
const map = (name: string): KubeObject => ({ metadata: { name, namespace: 'n' } });
const caught = (work: Promise<unknown>): Promise<unknown> =>
  work.then(
    () => undefined,
    (error: unknown) => error,
  );

describe('the gate of writes', () => {
  let double: ApiDouble;
  beforeEach(async () => {
    double = await ApiDouble.start();
  });
  afterEach(() => double.stop());

  it('asks again whether it may write before each sending, after Retry-After and after a wait for a connection', async () => {
    const clock = new FakeClock();
    const client = new KubeClient({ connection: double.connection, clock });
    let leads = true;
    client.gateWrites(() => leads);
    double.fault({ when: () => true, answer: { status: 429, retryAfter: 3 } });
    const late = caught(client.apply(configMaps, map('a')));
    await until('the first answer', () => double.requests.length === 1);
    leads = false;
    await clock.advance(4_000);
    expect(await late).to.have.property('code', 'kube_not_leader');
    expect(double.requests).to.have.length(1);

    leads = true;
    double.fault({ when: () => true, answer: 'hang', times: 8 });
    const stuck = Array.from({ length: 8 }, (_, i) => caught(client.create(configMaps, map(`hangs-${i}`))));
    await until('every connection is taken', () => double.requests.length === 9);
    const queued = caught(client.create(configMaps, map('queued')));
    await settle();
    leads = false;
    await clock.advance(15_000);
    for (const error of await Promise.all(stuck)) expect(error).to.have.property('code', 'kube_timeout');
    expect(await queued)
      .to.have.property('code')
      .that.is.oneOf(['kube_not_leader', 'kube_timeout']);
    expect(double.requests.map((r) => r.path).join()).to.not.contain('queued');
    expect(double.requests).to.have.length(9);
    expect(clock.waiting).to.equal(0);
    await client.close();
  });
});
