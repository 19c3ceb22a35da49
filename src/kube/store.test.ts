import { expect } from 'chai';
import { LoopTurns } from '../../test/support/loop-turns.ts';
import { Metrics } from '../lib/metrics.ts';
import { kubeMetrics } from './metrics.ts';
import { type Change, Store } from './store.ts';
import { type KubeObject, resource } from './types.ts';

interface Thing extends KubeObject {
  readonly spec?: { readonly colour: string };
}
const things = resource<Thing>({ group: 'example.com', version: 'v1', plural: 'things', kind: 'Thing' });
const thing = (name: string, version: number, colour = 'red', uid = `uid-${name}`): Thing => ({
  metadata: { namespace: 'n', name, uid, resourceVersion: String(version), managedFields: [{}] },
  spec: { colour },
});
const make = (): { store: Store<Thing>; told: string[] } => {
  const store = new Store<Thing>(things, { indexers: { colour: (o) => [o.spec?.colour ?? ''] } });
  const told: string[] = [];
  store.subscribe((c: Change<Thing>) =>
    told.push(`${c.type} ${c.object.metadata?.name} ${c.object.metadata?.resourceVersion}`),
  );
  return { store, told };
};
const list = (store: Store<Thing>, version: number, ...objects: Thing[]): void => {
  store.handle({ type: 'init' });
  for (const object of objects) store.handle({ type: 'initApply', object });
  store.handle({ type: 'initDone', resourceVersion: String(version) });
};

describe('Store', () => {
  it('shows nothing of a list before its end, and then all of it', () => {
    const { store } = make();
    store.handle({ type: 'init' });
    store.handle({ type: 'initApply', object: thing('a', 1) });
    expect([store.size, store.synced()]).to.deep.equal([0, false]);
    store.handle({ type: 'initApply', object: thing('b', 2) });
    store.handle({ type: 'initDone', resourceVersion: '5' });
    expect([store.keys(), store.synced(), store.version]).to.deep.equal([['n/a', 'n/b'], true, 5n]);
  });

  it('tells a later list as differences: gone, new, changed, and nothing for the rest', () => {
    const { store, told } = make();
    list(store, 5, thing('same', 1), thing('gone', 2), thing('changed', 3), thing('replaced', 4));
    told.length = 0;
    list(
      store,
      9,
      thing('same', 1),
      thing('changed', 8, 'blue'),
      thing('new', 7),
      thing('replaced', 9, 'red', 'other'),
    );
    expect(told).to.deep.equal([
      'deleted gone 2',
      'deleted replaced 4',
      'updated changed 8',
      'added new 7',
      'added replaced 9',
    ]);
    expect(store.byIndex('colour', 'blue').map((o) => o.metadata?.name)).to.deep.equal(['changed']);
  });

  it('drops a half list when a new one begins, keeping what it showed', () => {
    const { store } = make();
    list(store, 1, thing('a', 1));
    store.handle({ type: 'init' });
    store.handle({ type: 'initApply', object: thing('b', 2) });
    list(store, 3, thing('c', 3));
    expect(store.keys()).to.deep.equal(['n/c']);
  });

  it('tells an object of a new UID under an old name as deleted and added', () => {
    const { store, told } = make();
    list(store, 1, thing('a', 1));
    told.length = 0;
    store.handle({ type: 'apply', object: thing('a', 4, 'red', 'second') });
    expect(told).to.deep.equal(['deleted a 1', 'added a 4']);
  });

  it('keeps frozen objects without managedFields, and indexes that follow them', () => {
    const { store } = make();
    list(store, 1, thing('a', 1));
    const kept = store.get('n/a');
    expect(kept?.metadata).not.to.have.property('managedFields');
    expect(() => Object.assign(kept?.spec ?? {}, { colour: 'green' })).to.throw(TypeError);
    store.handle({ type: 'apply', object: thing('a', 2, 'blue') });
    expect([store.byIndex('colour', 'red').length, store.byIndex('colour', 'blue').length]).to.deep.equal([0, 1]);
    expect([store.countByIndex('colour', 'red'), store.countByIndex('colour', 'blue')]).to.deep.equal([0, 1]);
    store.handle({ type: 'delete', object: thing('a', 3, 'blue') });
    expect([store.size, store.byIndex('colour', 'blue').length, store.version]).to.deep.equal([0, 0, 3n]);
  });

  it('shows a list of 10 000 at once, and tells it in slices between which the loop turns', async () => {
    const { store, told } = make();
    const turns = new LoopTurns();
    store.subscribe(() => turns.add());
    store.handle({ type: 'init' });
    for (let i = 0; i < 10_000; i++) store.handle({ type: 'initApply', object: thing(`t${i}`, i + 1) });
    let advanced = 0;
    store.onAdvance(() => advanced++);
    const telling = store.handle({ type: 'initDone', resourceVersion: '10000' });
    expect([store.size, store.synced(), told.length < 10_000, advanced]).to.deep.equal([10_000, true, true, 0]);
    await telling;
    expect([told.length, new Set(told).size, advanced]).to.deep.equal([10_000, 10_000, 1]);
    expect(turns.most()).to.be.at.most(400);
  });

  it('tells what comes next after all of a list, also to who does not wait', async () => {
    const { store, told } = make();
    list(store, 1_000, ...Array.from({ length: 1_000 }, (_, i) => thing(`t${i}`, i + 1)));
    store.handle({ type: 'apply', object: thing('t0', 1_001, 'blue') });
    expect(told).to.have.length(1_001);
    expect([told[999], told[1_000]]).to.deep.equal(['added t999 1000', 'updated t0 1001']);
    await new Promise((resolve) => setImmediate(resolve));
    expect(told).to.have.length(1_001);
  });

  it('knows about how much memory its objects take, through lists, changes and deletions', async () => {
    const metrics = kubeMetrics(new Metrics());
    const store = new Store<Thing>(things, { metrics });
    list(store, 2, thing('a', 1), thing('b', 2));
    const two = store.bytes;
    store.handle({ type: 'apply', object: thing('b', 3, 'x'.repeat(1_003)) });
    expect(store.bytes).to.equal(two + 1_000);
    expect((await metrics.cacheBytes.get()).values.map((v) => v.value)).to.deep.equal([two + 1_000]);
    list(store, 4, thing('a', 1));
    expect(store.bytes).to.equal(two / 2);
    store.handle({ type: 'delete', object: thing('a', 5) });
    expect(store.bytes).to.equal(0);
  });

  it('goes on when a subscriber throws', () => {
    const errors: unknown[] = [];
    const store = new Store<Thing>(things, { onError: (e) => errors.push(e) });
    store.subscribe(() => {
      throw new Error('mine');
    });
    list(store, 1, thing('a', 1));
    expect([store.size, errors.length]).to.deep.equal([1, 1]);
  });
});
