import { expect } from 'chai';
import { ApiDouble } from '../../test/support/api-double.ts';
import { FakeClock, settle } from '../../test/support/fake-clock.ts';
import { LoopTurns } from '../../test/support/loop-turns.ts';
import { until } from '../../test/support/until.ts';
import { systemClock } from '../lib/clock.ts';
import { Metrics } from '../lib/metrics.ts';
import { Secret } from '../lib/secret.ts';
import { KubeClient, type KubeClientOptions, LINES_AT_ONCE } from './client.ts';
import { ApiError } from './errors.ts';
import { leases } from './lease.ts';
import { kubeMetrics } from './metrics.ts';
import { type KubeObject, resource } from './types.ts';

interface ConfigMap extends KubeObject {
  readonly data?: Readonly<Record<string, string>>;
}
const configMaps = resource<ConfigMap>({ group: '', version: 'v1', plural: 'configmaps', kind: 'ConfigMap' });
const map = (name: string): ConfigMap => ({ metadata: { name, namespace: 'n' }, data: { a: '1' } });
const caught = async (work: Promise<unknown>): Promise<unknown> =>
  work.then(
    () => undefined,
    (error) => error,
  );

describe('KubeClient', () => {
  let double: ApiDouble;
  let clients: KubeClient[] = [];
  const connect = (options: Partial<KubeClientOptions> = {}): KubeClient => {
    const client = new KubeClient({ connection: double.connection, ...options });
    clients.push(client);
    return client;
  };
  beforeEach(async () => {
    double = await ApiDouble.start();
  });
  afterEach(async () => {
    await Promise.all(clients.map((c) => c.close()));
    clients = [];
    await double.stop();
  });

  it('needs no new connection in steady state, and never more than eight', async () => {
    const client = connect();
    const burst = (): Promise<unknown> =>
      Promise.all(Array.from({ length: 50 }, (_, i) => client.apply(configMaps, map(`m${i}`))));
    await burst();
    const opened = double.connections;
    expect(opened).to.be.at.most(8);
    for (let i = 0; i < 50; i++) await client.apply(configMaps, map('a'));
    await burst();
    expect(double.connections).to.equal(opened);
  });

  it('waits as 429 and 503 ask, tries again, and counts each answer', async () => {
    const clock = new FakeClock();
    const metrics = kubeMetrics(new Metrics());
    const client = connect({ clock, metrics });
    double.fault({ when: () => true, answer: { status: 429, retryAfter: 3 } });
    double.fault({ when: () => true, answer: { status: 503, retryAfter: 2 } });
    const applied = client.apply(configMaps, map('a'));
    await until('the first answer', () => double.requests.length === 1);
    await settle();
    await clock.advance(2_900);
    expect(double.requests).to.have.length(1);
    await until('the third request', async () => {
      await clock.advance(500);
      return double.requests.length === 3;
    });
    expect((await applied).data).to.deep.equal({ a: '1' });
    const codes = (await metrics.requests.get()).values.map((v) => v.labels.code);
    expect(codes).to.have.members(['429', '503', '201']);
    expect(clock.waiting).to.equal(0);
  });

  it('gives the refusal at once when the server names no time, with status, reason and causes', async () => {
    const client = connect();
    double.fault({ when: () => true, answer: { status: 503, reason: 'ServiceUnavailable' } });
    const error = await caught(client.get(configMaps, { namespace: 'n', name: 'a' }));
    expect(error)
      .to.be.instanceOf(ApiError)
      .and.to.include({ status: 503, reason: 'ServiceUnavailable', code: 'kube_api' });
    expect(double.requests).to.have.length(1);
  });

  it('repeats a broken call only where that is safe', async () => {
    const client = connect();
    double.fault({ when: () => true, answer: 'reset' });
    await client.apply(configMaps, map('a'));
    expect(double.requests).to.have.length(2);
    double.fault({ when: () => true, answer: 'reset' });
    expect(await caught(client.create(configMaps, map('b')))).to.have.property('code', 'kube_network');
    expect(double.requests).to.have.length(3);
  });

  it('ends a call that gets no answer by its deadline, and one whose caller left', async () => {
    const clock = new FakeClock();
    const client = connect({ clock });
    double.fault({ when: () => true, answer: 'hang', times: 2 });
    const slow = caught(client.get(configMaps, { namespace: 'n', name: 'a' }));
    await until('the request', () => double.requests.length === 1);
    await clock.advance(10_000);
    expect(await slow).to.have.property('code', 'kube_timeout');
    const leave = new AbortController();
    const left = caught(client.get(configMaps, { namespace: 'n', name: 'a' }, { signal: leave.signal }));
    await until('the request', () => double.requests.length === 2);
    leave.abort(new Error('leaving'));
    expect(await left).to.have.property('message', 'leaving');
    expect(clock.waiting).to.equal(0);
  });

  it('asks for a fresh token once when it is refused', async () => {
    const asked: boolean[] = [];
    const client = connect({
      connection: {
        ...double.connection,
        authorization: async (fresh) => {
          asked.push(fresh);
          return new Secret('Bearer t');
        },
      },
    });
    double.fault({ when: () => true, answer: { status: 401, reason: 'Unauthorized' } });
    await client.apply(configMaps, map('a'));
    expect(asked).to.deep.equal([false, true]);
    double.fault({ when: () => true, answer: { status: 401, reason: 'Unauthorized' }, times: 2 });
    expect(await caught(client.apply(configMaps, map('a')))).to.have.property('status', 401);
  });

  it('slows down at its rate, but never the lease lane', async () => {
    const clock = new FakeClock();
    const client = connect({ clock, qps: 1, burst: 1 });
    await client.apply(configMaps, map('a'));
    const second = client.apply(configMaps, map('b'));
    await client.create(leases, { metadata: { namespace: 'n', name: 'l' } }, { lane: 'lease' });
    expect(double.objects('configmaps')).to.have.length(1);
    await clock.advance(1_000);
    await second;
    expect(double.objects('configmaps')).to.have.length(2);
  });

  it('sends no write while the gate is shut, but leases and reads', async () => {
    const client = connect();
    client.gateWrites(() => false);
    for (const write of [
      client.apply(configMaps, map('a')),
      client.create(configMaps, map('a')),
      client.delete(configMaps, { namespace: 'n', name: 'a' }),
      client.patchMerge(configMaps, { namespace: 'n', name: 'a' }, {}),
      client.raw('POST', '/api/v1/namespaces/n/configmaps', { body: {} }),
    ]) {
      expect(await caught(write)).to.have.property('code', 'kube_not_leader');
    }
    await client.create(leases, { metadata: { namespace: 'n', name: 'l' } }, { lane: 'lease' });
    await client.list(configMaps);
    expect(double.writes()).to.deep.equal([]);
  });

  it('reads a line that comes in many pieces, and tells when a stream breaks', async () => {
    const client = connect({ clock: systemClock });
    const stop = new AbortController();
    const got: string[] = [];
    const reading = caught(
      (async () => {
        for await (const line of client.watchLines(configMaps, { signal: stop.signal, timeoutSeconds: 60 }))
          got.push(line);
      })(),
    );
    await until('the watch', () => double.openWatches === 1);
    double.say(`{"a":"${'ü'.repeat(200_000)}"}`);
    await until('the line', () => got.length === 1);
    expect(JSON.parse(got[0]!).a).to.have.length(200_000);
    double.cutWatches();
    expect(await reading).to.have.property('code', 'kube_network');
    stop.abort();
  });

  it('hands the lines of a list of 40 MB out in parts between which the loop turns', async function () {
    this.timeout(60_000);
    const client = connect();
    const stop = new AbortController();
    const turns = new LoopTurns();
    const line = JSON.stringify({ type: 'ADDED', object: { text: 'x'.repeat(4_000) } });
    let read = 0;
    const reading = caught(
      (async () => {
        for await (const got of client.watchLines(configMaps, { signal: stop.signal, timeoutSeconds: 60 })) {
          turns.add(got.length);
          read += 1;
        }
      })(),
    );
    await until('the watch', () => double.openWatches === 1);
    for (let i = 0; i < 10; i++) double.say(Array.from({ length: 1_000 }, () => line).join('\n'));
    await until('all lines', () => read === 10_000, 50_000);
    stop.abort();
    await reading;
    expect(turns.most()).to.be.at.most(2 * LINES_AT_ONCE);
  });
});
