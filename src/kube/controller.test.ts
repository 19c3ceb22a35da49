import { expect } from 'chai';
import { pino } from 'pino';
import { FakeClock, settle } from '../../test/support/fake-clock.ts';
import { LoopTurns } from '../../test/support/loop-turns.ts';
import { until } from '../../test/support/until.ts';
import { Metrics } from '../lib/metrics.ts';
import { Controller, type ControllerOptions, done, requeueAfter, terminal } from './controller.ts';
import { kubeMetrics } from './metrics.ts';
import { and, type Enqueue, every, external, maps, not, objects, owns, specChanged } from './sources.ts';
import { Store } from './store.ts';
import { type KubeObject, keyOf, resource } from './types.ts';

const things = resource({ group: 'example.com', version: 'v1', plural: 'things', kind: 'Thing' });
const parts = resource({ group: '', version: 'v1', plural: 'parts', kind: 'Part' });
const thing = (name: string, version: number, generation = 1): KubeObject => ({
  metadata: { namespace: 'n', name, uid: name, resourceVersion: String(version), generation },
});
const log = pino({ level: 'silent' });

const make = (options: Partial<ControllerOptions> & Pick<ControllerOptions, 'reconcile'>) => {
  const clock = new FakeClock();
  const metrics = kubeMetrics(new Metrics());
  const store = new Store(things);
  store.handle({ type: 'init' });
  store.handle({ type: 'initDone', resourceVersion: '1' });
  const controller = new Controller({ name: 'c', clock, log, metrics, sources: [objects(store)], ...options });
  const stop = new AbortController();
  const kill = new AbortController();
  controller.listen(stop.signal);
  const working = controller.work(stop.signal, kill.signal);
  const end = async (): Promise<void> => {
    stop.abort();
    await working;
    await settle();
    expect(clock.waiting).to.equal(0);
  };
  const count = async (result: string): Promise<number> =>
    (await metrics.reconciles.get()).values.find((v) => v.labels.result === result)?.value ?? 0;
  return { clock, metrics, store, controller, stop, kill, working, end, count };
};

describe('Controller', () => {
  it('tries a reconcile that threw again with growing pauses, counts each, and starts anew after a success', async () => {
    const attempts: number[] = [];
    const t = make({
      reconcile: async (_, { attempt }) => {
        attempts.push(attempt);
        if (attempts.length < 4) throw new Error('no');
        return done;
      },
    });
    t.store.handle({ type: 'apply', object: thing('a', 2) });
    await t.clock.advance(1_000);
    t.store.handle({ type: 'apply', object: thing('a', 3) });
    await t.clock.advance(1_000);
    expect(attempts).to.deep.equal([1, 2, 3, 4, 1]);
    expect([await t.count('error'), await t.count('success')]).to.deep.equal([3, 2]);
    await t.end();
  });

  it('looks again after the time asked for, and never after a terminal error', async () => {
    const seen: string[] = [];
    const t = make({
      reconcile: async (key, { reason }) => {
        seen.push(`${key} ${reason}`);
        return key === 'n/a' ? requeueAfter(10_000) : terminal(new Error('bad spec'));
      },
    });
    t.store.handle({ type: 'apply', object: thing('a', 2) });
    t.store.handle({ type: 'apply', object: thing('b', 3) });
    await t.clock.advance(25_000);
    expect(seen).to.deep.equal(['n/a Thing added', 'n/b Thing added', 'n/a timer', 'n/a timer']);
    await t.end();
  });

  it('waits with a key until the cache has seen what it wrote', async () => {
    const versions: (string | undefined)[] = [];
    const t = make({
      reconcile: async (key, { wrote }) => {
        versions.push(t.store.get(key)?.metadata?.resourceVersion);
        if (versions.length === 1) wrote(t.store, thing('a', 9));
        return done;
      },
    });
    t.store.handle({ type: 'apply', object: thing('a', 2) });
    await t.clock.advance(10);
    t.store.handle({ type: 'apply', object: thing('a', 5) });
    await t.clock.advance(5_000);
    expect(versions).to.deep.equal(['2']);
    expect((await t.metrics.staleSkips.get()).values[0]?.value).to.be.greaterThan(0);
    t.store.handle({ type: 'apply', object: thing('a', 9) });
    await t.clock.advance(1_000);
    expect(new Set(versions)).to.deep.equal(new Set(['2', '9']));
    await t.end();
  });

  it('holds no other key up while one waits for its cache, and comes back to it at once', async () => {
    const order: string[] = [];
    const t = make({
      concurrency: 1,
      reconcile: async (key, { wrote }) => {
        order.push(key);
        if (order.length === 1) wrote(t.store, thing('a', 9));
        return done;
      },
    });
    t.store.handle({ type: 'apply', object: thing('a', 2) });
    await t.clock.advance(0);
    t.store.handle({ type: 'apply', object: thing('a', 3) });
    t.store.handle({ type: 'apply', object: thing('b', 4) });
    await t.clock.advance(0);
    expect(order).to.deep.equal(['n/a', 'n/b']);
    t.store.handle({ type: 'bookmark', resourceVersion: '9' });
    await t.clock.advance(0);
    expect(order).to.deep.equal(['n/a', 'n/b', 'n/a']);
    await t.end();
  });

  it('ends the signal of a reconcile that runs too long, and finishes what is in hand when it stops', async () => {
    const ends: string[] = [];
    const t = make({
      timeoutMs: 1_000,
      reconcile: async (key, { signal }) => {
        await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
        ends.push(key);
        throw signal.reason;
      },
    });
    t.store.handle({ type: 'apply', object: thing('a', 2) });
    await t.clock.advance(1_000);
    expect(ends).to.deep.equal(['n/a']);
    expect((await t.metrics.reconcileTimeouts.get()).values[0]?.value).to.equal(1);
    await t.clock.advance(100);
    t.stop.abort();
    await settle();
    t.kill.abort(new Error('killed'));
    await t.working;
    expect(ends).to.deep.equal(['n/a', 'n/a']);
  });

  it('lets the loop turn in a resync that finds nothing to write', async () => {
    const turns = new LoopTurns();
    const t = make({
      concurrency: 3,
      reconcile: async () => {
        turns.add();
        return done;
      },
    });
    for (let i = 0; i < 1_000; i++) t.controller.queue.add(`n/a${i}`, { priority: 'resync' });
    await until('all of them', async () => (await t.count('success')) === 1_000);
    expect(turns.most()).to.be.at.most(8);
    await t.end();
  });

  it('runs different keys side by side up to its concurrency', async () => {
    let now = 0;
    let most = 0;
    const t = make({
      concurrency: 3,
      reconcile: async () => {
        most = Math.max(most, ++now);
        await t.clock.sleep(10);
        now -= 1;
        return done;
      },
    });
    for (let i = 0; i < 9; i++) t.store.handle({ type: 'apply', object: thing(`a${i}`, i + 2) });
    await t.clock.advance(100);
    expect([most, await t.count('success')]).to.deep.equal([3, 9]);
    await t.end();
  });
});

describe('Sources', () => {
  const heard = async (
    source: (store: Store) => ReturnType<typeof objects>,
    act: (store: Store) => void,
  ): Promise<string[]> => {
    const store = new Store(parts);
    const keys: string[] = [];
    const stop = new AbortController();
    source(store).start((key, reason, priority) => keys.push(`${key} ${reason} ${priority ?? 'live'}`), stop.signal);
    act(store);
    stop.abort();
    store.handle({ type: 'apply', object: thing('after', 99) });
    return keys;
  };

  it('calls the first list resync and later changes live', async () => {
    const keys = await heard(objects, (s) => {
      s.handle({ type: 'init' });
      s.handle({ type: 'initApply', object: thing('a', 1) });
      s.handle({ type: 'initDone', resourceVersion: '1' });
      s.handle({ type: 'apply', object: thing('b', 2) });
      s.handle({ type: 'delete', object: thing('b', 3) });
    });
    expect(keys).to.deep.equal(['n/a Part added resync', 'n/b Part added live', 'n/b Part deleted live']);
  });

  it('wakes the controlling owner of a child, and old and new owner of one that moved', async () => {
    const part = (owner: string, version: number, kind = 'Thing'): KubeObject => ({
      metadata: {
        ...thing('p', version).metadata,
        ownerReferences: [
          { apiVersion: 'v1', kind: 'Other', name: 'other', uid: 'o' },
          { apiVersion: 'example.com/v1', kind, name: owner, uid: owner, controller: true },
        ],
      },
    });
    const keys = await heard(
      (s) => owns(s, things),
      (s) => {
        s.handle({ type: 'apply', object: part('a', 1) });
        s.handle({ type: 'apply', object: part('b', 2) });
        s.handle({ type: 'delete', object: part('b', 3) });
        s.handle({ type: 'apply', object: part('x', 4, 'Foreign') });
      },
    );
    expect(keys.map((k) => k.split(' ')[0])).to.deep.equal(['n/a', 'n/b', 'n/a', 'n/b']);
  });

  it('lets predicates hold back what does not matter', async () => {
    const named = (name: string) => (c: { object: KubeObject }) => c.object.metadata?.name === name;
    const keys = await heard(
      (s) => maps(s, (o) => [keyOf(o)], and(specChanged, not(named('quiet')))),
      (s) => {
        s.handle({ type: 'apply', object: thing('a', 1) });
        s.handle({ type: 'apply', object: thing('a', 2) });
        s.handle({ type: 'apply', object: thing('a', 3, 2) });
        s.handle({ type: 'apply', object: thing('quiet', 4) });
      },
    );
    expect(keys).to.deep.equal(['n/a Part added live', 'n/a Part updated live']);
  });

  it('makes keys due by whatever else there is, until it is stopped', async () => {
    const stop = new AbortController();
    const keys: string[] = [];
    let tell: Enqueue = () => {};
    let left = false;
    const source = external((enqueue) => {
      tell = enqueue;
      return () => {
        left = true;
      };
    });
    source.start((key, reason) => keys.push(`${key} ${reason}`), stop.signal);
    tell('n/a', 'a poll');
    stop.abort();
    expect([keys, left]).to.deep.equal([['n/a a poll'], true]);
  });

  it('makes keys due by time', async () => {
    const clock = new FakeClock();
    const keys: string[] = [];
    const stop = new AbortController();
    every(clock, 1_000, () => ['x']).start((key) => keys.push(key), stop.signal);
    await clock.advance(2_500);
    stop.abort();
    await settle();
    expect([keys, clock.waiting]).to.deep.equal([['x', 'x'], 0]);
  });
});
