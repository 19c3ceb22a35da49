import { expect } from 'chai';
import { pino } from 'pino';
import { ApiDouble } from '../../test/support/api-double.ts';
import { until } from '../../test/support/until.ts';
import { type Clock, systemClock } from '../lib/clock.ts';
import { Applier } from './apply.ts';
import { KubeClient } from './client.ts';
import { Controller, done } from './controller.ts';
import { Election } from './lease.ts';
import { Manager } from './manager.ts';
import { objects } from './sources.ts';
import { type KubeObject, resource } from './types.ts';

interface ConfigMap extends KubeObject {
  readonly data?: Readonly<Record<string, string>>;
}
const configMaps = resource<ConfigMap>({ group: '', version: 'v1', plural: 'configmaps', kind: 'ConfigMap' });
const secrets = resource({ group: '', version: 'v1', plural: 'secrets', kind: 'Secret' });
const map = (name: string, data: Record<string, string> = {}): ConfigMap => ({
  metadata: { name, namespace: 'n' },
  data,
});
const log = pino({ level: 'silent' });
/** Back-offs pass twenty times as fast; what is measured stays true. */
const clock: Clock = { ...systemClock, sleep: (ms, signal) => systemClock.sleep(ms / 20, signal) };

describe('Manager', () => {
  let double: ApiDouble;
  let user: KubeClient;
  const opened: KubeClient[] = [];
  const connect = (): KubeClient => {
    const client = new KubeClient({ connection: double.connection, clock });
    opened.push(client);
    return client;
  };
  beforeEach(async () => {
    double = await ApiDouble.start();
    user = connect();
  });
  afterEach(async () => {
    await Promise.all(opened.splice(0).map((c) => c.close()));
    await double.stop();
  });

  it('starts servers, then caches, then workers, and stops them the other way round', async () => {
    const order: string[] = [];
    const client = connect();
    const manager = new Manager({ client, clock, log });
    manager.addServer(async () => {
      order.push(`serving, ${manager.ready()}`);
      return { close: async () => void order.push('served') };
    });
    const maps = manager.cache(configMaps);
    manager.add(
      new Controller({
        name: 'c',
        clock,
        log,
        sources: [objects(maps)],
        reconcile: async (key) => {
          order.push(`working on ${key}, synced ${maps.synced()}`);
          await new Promise((resolve) => setTimeout(resolve, 20));
          order.push('worked');
          return done;
        },
      }),
    );
    await user.create(configMaps, map('a'));
    const stop = new AbortController();
    const running = manager.run(stop.signal);
    await until('work', () => order.length === 2);
    expect(manager.ready()).to.equal(undefined);
    stop.abort();
    await running;
    expect(order).to.deep.equal([
      'serving, caches not synced: configmaps',
      'working on n/a, synced true',
      'worked',
      'served',
    ]);
    expect(manager.ready()).to.equal('the manager is stopped');
    await until('no watch is left', () => double.openWatches === 0);
  });

  it('is not ready while a cache cannot be read, and becomes so by itself', async () => {
    double.fault({ when: (r) => r.path.endsWith('/secrets'), answer: { status: 403, reason: 'Forbidden' } });
    const manager = new Manager({ client: connect(), clock, log });
    manager.cache(configMaps);
    manager.cache(secrets);
    const stop = new AbortController();
    const running = manager.run(stop.signal);
    await until('the refusal', () => double.requests.some((r) => r.path.endsWith('/secrets')));
    expect(manager.ready()).to.include('secrets');
    await until('readiness', () => manager.ready() === undefined);
    stop.abort();
    await running;
  });

  it('goes on from a cut watch and from a compacted one without losing or repeating a change', async () => {
    const manager = new Manager({ client: connect(), clock, log });
    const maps = manager.cache(configMaps);
    const told: string[] = [];
    maps.subscribe((c) => told.push(`${c.type} ${c.object.metadata?.name}`));
    const stop = new AbortController();
    const running = manager.run(stop.signal);
    await until('the watch', () => double.openWatches === 1);
    await user.create(configMaps, map('a'));
    await until('a', () => told.length === 1);
    double.cutWatches();
    await user.create(configMaps, map('b'));
    await until('b', () => told.length === 2);
    const lists = (): number => double.requests.filter((r) => r.method === 'GET' && !r.watch).length;
    expect(lists()).to.equal(1);
    double.cutWatches();
    await user.delete(configMaps, { namespace: 'n', name: 'a' });
    double.compact();
    await user.create(configMaps, map('c'));
    await until('c', () => told.includes('added c'));
    expect(lists()).to.equal(2);
    expect(told).to.deep.equal(['added a', 'added b', 'deleted a', 'added c']);
    stop.abort();
    await running;
  });

  it('stands by warm, takes over when the leader goes, and only ever one of the two writes', async () => {
    const start = (identity: string) => {
      const client = connect();
      const election = new Election({ client, clock, log, namespace: 'n', name: 'l', identity, retryMs: 50 });
      const manager = new Manager({ client, clock, log, election });
      const maps = manager.cache(configMaps);
      const done1: string[] = [];
      const controller = new Controller({
        name: 'c',
        clock,
        log,
        sources: [objects(maps)],
        reconcile: async (key) => {
          done1.push(key);
          return done;
        },
      });
      manager.add(controller);
      const stop = new AbortController();
      return { manager, election, client, stop, done: done1, running: manager.run(stop.signal) };
    };
    await user.create(configMaps, map('a'));
    const one = start('one');
    await until('one leads', () => one.done.length === 1);
    const two = start('two');
    await until('two is warm', () => two.manager.ready() === undefined && two.election.holder() === 'one');
    expect(two.done).to.deep.equal([]);
    const refused = await two.client.create(configMaps, map('x')).catch((e) => e);
    expect(refused).to.have.property('code', 'kube_not_leader');
    one.stop.abort();
    await one.running;
    await until('two leads', () => two.done.includes('n/a'));
    two.stop.abort();
    await two.running;
  });

  it('ends with an error when the lease is taken away, and writes nothing from then on', async () => {
    const client = connect();
    const election = new Election({
      client,
      clock,
      log,
      namespace: 'n',
      name: 'l',
      identity: 'one',
      retryMs: 30,
      renewDeadlineMs: 500,
    });
    const manager = new Manager({ client, clock, log, election });
    const running = manager.run(new AbortController().signal).then(
      () => undefined,
      (error) => error,
    );
    await until('leading', () => election.leads());
    double.fault({ when: (r) => r.path.includes('/leases/'), times: 1_000, answer: { status: 500 } });
    expect(await running).to.have.property('code', 'kube_stopped');
    expect(await client.create(configMaps, map('x')).catch((e) => e)).to.have.property('code', 'kube_not_leader');
    expect(double.writes()).to.deep.equal([]);
  });

  it('stops with the reason when a part fails', async () => {
    const manager = new Manager({ client: connect(), clock, log });
    manager.addRunnable({ name: 'part', run: () => Promise.reject(new Error('broken')) });
    const error = await manager.run(new AbortController().signal).catch((e) => e);
    expect(error).to.have.property('code', 'kube_stopped');
    expect(error.cause).to.have.property('message', 'broken');
  });

  it('lets work in hand go on for its time after the stop, then ends it, and says what does not end', async () => {
    const ends: string[] = [];
    const complaints: string[] = [];
    const telling = pino({ level: 'error' }, { write: (line: string) => void complaints.push(line) });
    const manager = new Manager({ client: connect(), clock, log: telling, drainMs: 2_000 });
    const maps = manager.cache(configMaps);
    const never = new AbortController();
    manager.add(
      new Controller({
        name: 'c',
        clock,
        log,
        concurrency: 2,
        sources: [objects(maps)],
        reconcile: async (key, { signal }) => {
          const until = key === 'n/deaf' ? never.signal : signal;
          await new Promise((resolve) => until.addEventListener('abort', resolve, { once: true }));
          ends.push(key);
          return done;
        },
      }),
    );
    await user.create(configMaps, map('deaf'));
    await user.create(configMaps, map('hears'));
    const stop = new AbortController();
    const running = manager.run(stop.signal);
    await until('both in hand', () => (manager.status().queues as { c: { running: number } }).c.running === 2);
    stop.abort();
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(ends).to.deep.equal([]);
    await running;
    expect(ends).to.deep.equal(['n/hears']);
    expect(complaints.join()).to.include('work that does not end was left').and.to.include('"c"');
    never.abort();
  });

  it('sends no apply that would change nothing, and mends what others change', async () => {
    const client = connect();
    const manager = new Manager({ client, clock, log });
    const maps = manager.cache(configMaps);
    const applier = new Applier({ client, fieldManager: 'm' });
    const stop = new AbortController();
    const running = manager.run(stop.signal);
    const seen = (value: string) => until(`x=${value}`, () => maps.get('n/a')?.data?.x === value);
    const sent = async (): Promise<boolean> => (await applier.apply(maps, map('a', { x: '1' }))).sent;
    expect(await sent()).to.equal(true);
    await seen('1');
    expect([await sent(), await sent()]).to.deep.equal([false, false]);
    await user.patchMerge(configMaps, { namespace: 'n', name: 'a' }, { data: { x: '2' } });
    await seen('2');
    expect(await sent()).to.equal(true);
    await seen('1');
    expect((await applier.apply(maps, map('a', { x: '1', y: '1' }))).sent).to.equal(true);
    applier.forget(configMaps, 'n/a');
    expect(applier.remembered).to.equal(0);
    stop.abort();
    await running;
  });
});
