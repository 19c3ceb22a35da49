import { expect } from 'chai';
import { pino } from 'pino';
import {
  Applier,
  type Connection,
  Controller,
  done,
  Election,
  EventRecorder,
  events,
  isAlreadyExists,
  isConflict,
  isGone,
  isNotFound,
  KubeClient,
  type KubeObject,
  kubeMetrics,
  Manager,
  objects,
  ownerReference,
  owns,
  type ResourceType,
  resource,
  Store,
  versionOf,
  type WatchEvent,
  watch,
  withFinalizer,
} from '../../src/kube/index.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { Metrics } from '../../src/lib/metrics.ts';
import { until } from '../support/until.ts';

interface ConfigMap extends KubeObject {
  readonly data?: Readonly<Record<string, string>>;
}
interface Pod extends KubeObject {
  readonly spec?: { readonly containers: readonly { readonly name: string; readonly image: string }[] };
  readonly status?: {
    readonly conditions?: readonly { readonly type: string; readonly status: string }[];
    readonly message?: string;
  };
}
const configMaps = resource<ConfigMap>({ group: '', version: 'v1', plural: 'configmaps', kind: 'ConfigMap' });
const pods = resource<Pod>({ group: '', version: 'v1', plural: 'pods', kind: 'Pod' });
const namespaces = resource({ group: '', version: 'v1', plural: 'namespaces', kind: 'Namespace', namespaced: false });

export interface Subject {
  readonly connection: Connection;
  /** Brings about a type for which version 1 is too old to watch from. */
  readonly aged: () => Promise<ResourceType>;
  readonly stop: () => Promise<void>;
}

/** What src/kube assumes of an API server and promises on top of it; run on the double and on the real one. */
export const kubeContract = (name: string, start: () => Promise<Subject>): void => {
  describe(`src/kube against ${name}`, function () {
    this.timeout(120_000);
    let subject: Subject;
    let client: KubeClient;
    let namespace = '';
    let count = 0;
    const log = pino({ level: 'silent' });
    before(async () => {
      subject = await start();
      client = new KubeClient({ connection: subject.connection, fieldManager: 'contract' });
    });
    after(async () => {
      await client?.close();
      await subject?.stop();
    });
    beforeEach(async () => {
      namespace = `t${++count}`;
      await client.create(namespaces, { metadata: { name: namespace } });
    });
    const map = (mapName: string, data: Record<string, string> = {}, more: object = {}): ConfigMap => ({
      metadata: { name: mapName, namespace, ...more },
      data,
    });
    const caught = async (work: Promise<unknown>): Promise<unknown> =>
      work.then(
        () => undefined,
        (error) => error,
      );

    it('creates, reads and deletes, and tells what is not there', async () => {
      const made = await client.create(configMaps, map('a', { x: '1' }));
      expect(made.metadata?.uid).to.be.a('string');
      expect((await client.get(configMaps, { namespace, name: 'a' })).data).to.deep.equal({ x: '1' });
      await client.delete(configMaps, { namespace, name: 'a' });
      expect(isNotFound(await caught(client.get(configMaps, { namespace, name: 'a' })))).to.equal(true);
    });

    it('refuses a taken name, in a dry run too, which stores nothing', async () => {
      await client.dryRunCreate(configMaps, map('a'));
      await client.create(configMaps, map('a'));
      expect(isAlreadyExists(await caught(client.create(configMaps, map('a'))))).to.equal(true);
      expect(isAlreadyExists(await caught(client.dryRunCreate(configMaps, map('a'))))).to.equal(true);
    });

    it('lists in pages that together are the whole', async () => {
      for (let i = 0; i < 7; i++) await client.create(configMaps, map(`m${i}`, {}, { labels: { set: 'pages' } }));
      const first = await client.list(configMaps, { namespace, labelSelector: 'set=pages', limit: 3 });
      expect([first.items.length, first.continue !== undefined]).to.deep.equal([3, true]);
      const names: (string | undefined)[] = [];
      for await (const m of client.listAll(configMaps, { namespace, labelSelector: 'set=pages', limit: 3 }))
        names.push(m.metadata?.name);
      expect(names.sort()).to.deep.equal(['m0', 'm1', 'm2', 'm3', 'm4', 'm5', 'm6']);
    });

    it('refuses an update of a version that is not the newest', async () => {
      const old = await client.create(configMaps, map('a', { x: '1' }));
      await client.update(configMaps, { ...old, data: { x: '2' } });
      expect(isConflict(await caught(client.update(configMaps, { ...old, data: { x: '3' } })))).to.equal(true);
    });

    it('applies: creates, changes nothing the second time, removes what is no longer wanted', async () => {
      const first = await client.apply(configMaps, map('a', { x: '1', y: '1' }));
      const second = await client.apply(configMaps, map('a', { x: '1', y: '1' }));
      expect(second.metadata?.resourceVersion).to.equal(first.metadata?.resourceVersion);
      const third = await client.apply(configMaps, map('a', { x: '1' }));
      expect(third.data).to.deep.equal({ x: '1' });
    });

    it('applies beside another manager: a conflict without force, a takeover with it', async () => {
      await client.apply(configMaps, map('a', { x: '1', y: '1' }), { fieldManager: 'one' });
      await client.apply(configMaps, map('a', { z: '1' }), { fieldManager: 'two', force: false });
      expect(
        isConflict(await caught(client.apply(configMaps, map('a', { x: '2' }), { fieldManager: 'two', force: false }))),
      ).to.equal(true);
      const won = await client.apply(configMaps, map('a', { x: '2' }), { fieldManager: 'two', force: true });
      expect(won.data).to.deep.equal({ x: '2', y: '1' });
    });

    it('applies status without touching the rest, conditions by their type', async () => {
      const pod = { metadata: { name: 'p', namespace }, spec: { containers: [{ name: 'c', image: 'none' }] } };
      const made = await client.apply(pods, pod);
      const condition = (type: string): Pod => ({
        metadata: { name: 'p', namespace },
        status: { conditions: [{ type, status: 'True' }] },
      });
      await client.applyStatus(pods, condition('example.com/a'), { fieldManager: 'one' });
      const both = await client.applyStatus(pods, condition('example.com/b'), { fieldManager: 'two' });
      expect(both.status?.conditions?.map((c) => c.type)).to.include.members(['example.com/a', 'example.com/b']);
      expect(both.metadata?.generation ?? 1).to.equal(made.metadata?.generation ?? 1);
      expect(both.spec?.containers.map((c) => c.name)).to.deep.equal(['c']);
    });

    it('deletes only the object that was meant', async () => {
      await client.create(configMaps, map('a'));
      const wrong = client.delete(
        configMaps,
        { namespace, name: 'a' },
        { uid: '00000000-0000-0000-0000-000000000000' },
      );
      expect(isConflict(await caught(wrong))).to.equal(true);
      await client.get(configMaps, { namespace, name: 'a' });
    });

    it('keeps a finalized object until its cleanup has succeeded', async () => {
      const steps = (clean: boolean) => ({ apply: async () => 'applied', cleanup: async () => clean });
      const run = async (clean: boolean) =>
        withFinalizer(
          client,
          configMaps,
          await client.get(configMaps, { namespace, name: 'a' }),
          'example.com/f',
          steps(clean),
        );
      await client.create(configMaps, map('a'));
      expect((await run(true)).type).to.equal('applied');
      await client.delete(configMaps, { namespace, name: 'a' });
      expect((await run(false)).type).to.equal('cleaning');
      expect((await run(true)).type).to.equal('cleaned');
      expect(isNotFound(await caught(client.get(configMaps, { namespace, name: 'a' })))).to.equal(true);
    });

    it('patches metadata by merge and by JSON patch', async () => {
      await client.create(configMaps, map('a', {}, { annotations: { keep: 'k' } }));
      await client.patchMerge(configMaps, { namespace, name: 'a' }, { metadata: { annotations: { add: 'a' } } });
      const after = await client.patchJson(configMaps, { namespace, name: 'a' }, [
        { op: 'test', path: '/metadata/annotations/add', value: 'a' },
        { op: 'remove', path: '/metadata/annotations/keep' },
      ]);
      expect(after.metadata?.annotations).to.deep.equal({ add: 'a' });
    });

    for (const streamingList of [false, true]) {
      it(`watches: the list ${streamingList ? 'as a stream' : 'in pages'}, then each change, and leaving the selection as deletion`, async () => {
        await client.create(configMaps, map('a', {}, { labels: { on: 'yes' } }));
        const stop = new AbortController();
        const seen: string[] = [];
        const text = (e: WatchEvent<ConfigMap>): string =>
          'object' in e ? `${e.type} ${e.object.metadata?.name}` : e.type;
        const reading = (async () => {
          for await (const e of watch(client, configMaps, {
            namespace,
            labelSelector: 'on=yes',
            signal: stop.signal,
            streamingList,
          })) {
            if (e.type !== 'bookmark') seen.push(text(e));
          }
        })();
        await until('the list', () => seen.includes('initDone'));
        await client.create(configMaps, map('b', {}, { labels: { on: 'yes' } }));
        await client.create(configMaps, map('c', {}, { labels: { on: 'no' } }));
        await client.patchMerge(configMaps, { namespace, name: 'a' }, { metadata: { labels: { on: 'no' } } });
        await client.delete(configMaps, { namespace, name: 'b' });
        await until('the deletion', () => seen.includes('delete b'));
        stop.abort();
        await reading;
        // a server that streams no lists (1.33, unless told to) refuses, and the list begins anew in pages
        const began = seen.lastIndexOf('init');
        expect(seen.slice(0, began).filter((what) => what !== 'init')).to.deep.equal([]);
        expect(seen.slice(began)).to.deep.equal(['init', 'initApply a', 'initDone', 'apply b', 'delete a', 'delete b']);
      });
    }

    it('calls a version that is too old gone, in the answer or in the stream', async () => {
      const type = await subject.aged();
      const stop = new AbortController();
      let gone = false;
      try {
        for await (const line of client.watchLines(type, {
          resourceVersion: '1',
          timeoutSeconds: 20,
          signal: stop.signal,
        })) {
          const event = JSON.parse(line) as { type: string; object: { code?: number } };
          gone = event.type === 'ERROR' && event.object.code === 410;
          break;
        }
      } catch (error) {
        gone = isGone(error);
      }
      stop.abort();
      expect(gone).to.equal(true);
    });

    it('gives a deletion the version at which it happened', async () => {
      const made = await client.create(configMaps, map('a'));
      const stop = new AbortController();
      const store = new Store(configMaps);
      const versions: bigint[] = [];
      const reading = (async () => {
        for await (const e of watch(client, configMaps, { namespace, signal: stop.signal })) {
          store.handle(e);
          if (e.type === 'delete') versions.push(versionOf(e.object));
        }
      })();
      await until('the list', () => store.synced());
      await client.delete(configMaps, { namespace, name: 'a' });
      await until('the deletion', () => versions.length > 0);
      stop.abort();
      await reading;
      expect(versions[0]! > versionOf(made)).to.equal(true);
      expect(store.version >= versions[0]!).to.equal(true);
    });

    it('elects one leader, and hands over at once when it is released', async () => {
      const candidate = (identity: string): Election =>
        new Election({ client, clock: systemClock, log, namespace, name: 'leader', identity, retryMs: 200 });
      const [one, two] = [candidate('one'), candidate('two')];
      const stop = new AbortController();
      expect(await one.acquire(stop.signal)).to.equal(true);
      const second = two.acquire(stop.signal);
      await until('standby', () => two.holder() === 'one');
      expect([one.leads(), two.leads()]).to.deep.equal([true, false]);
      await one.release();
      expect(await second).to.equal(true);
      expect([one.leads(), two.leads()]).to.deep.equal([false, true]);
      await two.release();
    });

    it('records an event once and folds its repetitions into a series', async () => {
      const made = await client.create(configMaps, map('a'));
      const recorder = new EventRecorder({
        client,
        clock: systemClock,
        log,
        controller: 'example.com/contract',
        instance: 'here',
        foldMs: 100,
      });
      for (let i = 0; i < 3; i++)
        recorder.record(configMaps, made, { type: 'Normal', reason: 'Tested', note: 'once more' });
      await recorder.close();
      const { items } = await client.list(events, { namespace });
      expect(items.map((e) => [e.reason, e.note, e.series?.count])).to.deep.equal([['Tested', 'once more', 3]]);
    });

    it('runs a whole controller: children follow their owners, drift is mended, a steady state writes nothing', async () => {
      const registry = new Metrics();
      const metrics = kubeMetrics(registry);
      const own = new KubeClient({ connection: subject.connection, metrics, fieldManager: 'widgets' });
      const election = new Election({
        client: own,
        clock: systemClock,
        log,
        namespace,
        name: 'widgets',
        identity: 'me',
      });
      const manager = new Manager({ client: own, clock: systemClock, log, metrics, election });
      const widgets = manager.cache(configMaps, { namespace, labelSelector: 'kind=widget' });
      const children = manager.cache(configMaps, { namespace, labelSelector: 'kind=child' });
      const applier = new Applier({ client: own, fieldManager: 'widgets', metrics });
      let passes = 0;
      const controller = new Controller({
        name: 'widget',
        clock: systemClock,
        log,
        metrics,
        concurrency: 2,
        sources: [objects(widgets), owns(children, configMaps)],
        reconcile: async (key, { wrote, signal }) => {
          passes += 1;
          const widget = widgets.get(key);
          if (!widget) return done;
          const intent = {
            metadata: {
              name: `${widget.metadata?.name}-child`,
              namespace,
              labels: { kind: 'child' },
              ownerReferences: [ownerReference(configMaps, widget)],
            },
            data: { colour: widget.data?.colour ?? '' },
          };
          const { object, sent } = await applier.apply(children, intent, { signal });
          if (sent) wrote(children, object);
          return done;
        },
      });
      manager.add(controller);
      const stop = new AbortController();
      const running = manager.run(stop.signal);
      const child = (): ConfigMap | undefined => children.get(`${namespace}/a-child`);
      await client.create(configMaps, map('a', { colour: 'red' }, { labels: { kind: 'widget' } }));
      await until('the child', () => child()?.data?.colour === 'red');
      await client.patchMerge(configMaps, { namespace, name: 'a' }, { data: { colour: 'blue' } });
      await until('the new colour', () => child()?.data?.colour === 'blue');
      const drift = await client.patchMerge(configMaps, { namespace, name: 'a-child' }, { data: { colour: 'drift' } });
      await until('the drift', () => children.version >= versionOf(drift));
      await until('the mending', () => child()?.data?.colour === 'blue');
      const first = child()?.metadata?.uid;
      await client.delete(configMaps, { namespace, name: 'a-child' });
      await until('the child again', () => child() !== undefined && child()?.metadata?.uid !== first);
      await until('rest', () => controller.queue.idle && controller.queue.delayed === 0);
      expect(manager.ready()).to.equal(undefined);
      const sentBefore = (await metrics.applies.get()).values.find((v) => v.labels.outcome === 'sent')?.value;
      const passesBefore = passes;
      await client.patchMerge(configMaps, { namespace, name: 'a' }, { metadata: { annotations: { touched: 'yes' } } });
      await until('another pass', () => passes > passesBefore);
      expect((await metrics.applies.get()).values.find((v) => v.labels.outcome === 'sent')?.value).to.equal(sentBefore);
      stop.abort();
      await running;
      expect(await caught(own.create(configMaps, map('late')))).to.have.property('code', 'kube_not_leader');
      await own.close();
    });
  });
};
