import { expect } from 'chai';
import { FakeClock, settle } from '../../test/support/fake-clock.ts';
import { LoopTurns } from '../../test/support/loop-turns.ts';
import type { ListOptions, Page, WatchOptions } from './client.ts';
import { ApiError, KubeError } from './errors.ts';
import { type KubeObject, type ResourceType, resource } from './types.ts';
import { type WatchEvent, type WatcherOptions, watch } from './watcher.ts';

const things = resource({ group: 'example.com', version: 'v1', plural: 'things', kind: 'Thing' });
const thing = (name: string, version: number): KubeObject => ({ metadata: { name, resourceVersion: String(version) } });
const line = (type: string, object: object): string => JSON.stringify({ type, object });
const gone = new ApiError('gone', { status: 410, reason: 'Expired' });

type Script = (o: WatchOptions) => AsyncGenerator<string, void>;

/** A client whose answers are written down beforehand; a watch without a script stays open and silent. */
class Scripted {
  readonly clock = new FakeClock();
  readonly asked: string[] = [];
  readonly lists: (Page<KubeObject> | Error)[] = [];
  readonly watches: Script[] = [];
  async list<T extends KubeObject>(_: ResourceType<T>, o: ListOptions = {}): Promise<Page<T>> {
    this.asked.push(`list${o.continue ? ` ${o.continue}` : ''}`);
    const next = this.lists.shift() ?? { items: [], resourceVersion: '50', continue: undefined };
    if (next instanceof Error) throw next;
    return next as Page<T>;
  }
  async *watchLines(_: ResourceType, o: WatchOptions): AsyncGenerator<string, void> {
    this.asked.push(o.sendInitialEvents ? 'stream' : `watch ${o.resourceVersion}`);
    o.onOpen?.();
    yield* (this.watches.shift() ?? silent)(o);
  }
}
const silent: Script = async function* (o) {
  await new Promise((_, reject) => o.signal.addEventListener('abort', () => reject(o.signal.reason), { once: true }));
};
const lines = (...all: (string | Error)[]): Script =>
  async function* () {
    for (const one of all) {
      if (one instanceof Error) throw one;
      yield one;
    }
  };

const run = (client: Scripted, options: Partial<WatcherOptions> = {}) => {
  const stop = new AbortController();
  const seen: string[] = [];
  const events: WatchEvent<KubeObject>[] = [];
  const reading = (async () => {
    for await (const e of watch(client, things, { signal: stop.signal, random: () => 0.5, ...options })) {
      events.push(e);
      seen.push('object' in e ? `${e.type} ${e.object.metadata?.name}` : e.type);
    }
  })();
  const end = async (): Promise<void> => {
    stop.abort(new Error('test ends'));
    await reading;
    expect(client.clock.waiting).to.equal(0);
  };
  return { seen, events, end };
};

describe('watch', () => {
  it('lists all pages as one, then watches from the version of the list', async () => {
    const client = new Scripted();
    client.lists.push(
      { items: [thing('a', 1)], resourceVersion: '10', continue: 'more' },
      { items: [thing('b', 2)], resourceVersion: '10', continue: undefined },
    );
    const { seen, end } = run(client);
    await settle();
    expect(client.asked).to.deep.equal(['list', 'list more', 'watch 10']);
    expect(seen).to.deep.equal(['init', 'initApply a', 'initApply b', 'initDone']);
    await end();
  });

  it('resumes at the last version it saw, bookmarks included, after the stream breaks', async () => {
    const client = new Scripted();
    client.watches.push(
      lines(
        line('ADDED', thing('a', 60)),
        line('BOOKMARK', { metadata: { resourceVersion: '70' } }),
        new KubeError('kube_network', 'reset'),
      ),
    );
    const { seen, end } = run(client);
    await client.clock.advance(1_000);
    expect(client.asked).to.deep.equal(['list', 'watch 50', 'watch 70']);
    expect(seen).to.deep.equal(['init', 'initDone', 'apply a', 'bookmark', 'error']);
    await end();
  });

  for (const [how, script] of [
    ['by its status', lines(gone)],
    [
      'in the stream',
      lines(line('ADDED', thing('a', 60)), line('ERROR', { kind: 'Status', code: 410, reason: 'Expired' })),
    ],
  ] as const) {
    it(`lists anew when the version is too old, told ${how}`, async () => {
      const client = new Scripted();
      client.watches.push(script);
      const { end } = run(client);
      await client.clock.advance(1_000);
      expect(client.asked).to.deep.equal(['list', 'watch 50', 'list', 'watch 50']);
      await end();
    });
  }

  it('resumes after every other error in the stream: 500, 429, no JSON, no event', async () => {
    const client = new Scripted();
    client.watches.push(
      lines(line('ERROR', { kind: 'Status', code: 500 })),
      lines(line('ERROR', { kind: 'Status', code: 429 })),
      lines('{"type":'),
      lines('{"type":"NEW","object":{}}'),
      lines(new ApiError('no', { status: 403 })),
    );
    const { seen, end } = run(client);
    await client.clock.advance(60_000);
    expect(client.asked.filter((a) => a === 'list')).to.have.length(1);
    expect(client.asked.filter((a) => a === 'watch 50')).to.have.length(6);
    expect(seen.filter((e) => e === 'error')).to.have.length(5);
    await end();
  });

  it('begins the list anew when a page is refused, with a growing pause, and never gives up', async () => {
    const client = new Scripted();
    for (let i = 0; i < 12; i++) client.lists.push(new ApiError('busy', { status: 500 }));
    const { seen, events, end } = run(client);
    await client.clock.advance(600_000);
    const pauses = events.flatMap((e) => (e.type === 'error' ? [e.retryInMs] : []));
    expect(pauses.slice(0, 3)).to.deep.equal([600, 1_200, 2_400]);
    expect(Math.max(...pauses)).to.equal(22_500);
    expect(seen).to.include('initDone');
    await end();
  });

  it('waits at least as long as the server asked', async () => {
    const client = new Scripted();
    client.lists.push(new ApiError('busy', { status: 429, retryAfterMs: 20_000 }));
    const { events, end } = run(client);
    await settle();
    expect(events.at(-1)).to.include({ type: 'error', retryInMs: 20_000 });
    await end();
  });

  it('forgets its failures after two healthy minutes', async () => {
    const client = new Scripted();
    const healthy: Script = async function* () {
      yield line('BOOKMARK', { metadata: { resourceVersion: '51' } });
      await client.clock.sleep(119_000);
      yield line('BOOKMARK', { metadata: { resourceVersion: '52' } });
      await client.clock.sleep(2_000);
      throw new KubeError('kube_network', 'reset');
    };
    client.watches.push(lines(gone), lines(gone), lines(gone), healthy);
    const { events, end } = run(client);
    await client.clock.advance(200_000);
    const pauses = events.flatMap((e) => (e.type === 'error' ? [e.retryInMs] : []));
    expect(pauses).to.deep.equal([600, 1_200, 2_400, 600]);
    await end();
  });

  it('asks for watches of 290 s, give or take, so that many do not end together', async () => {
    const seconds: number[] = [];
    for (const random of [0, 0.5, 0.999]) {
      const client = new Scripted();
      client.watches.push(async function* (o) {
        seconds.push(o.timeoutSeconds);
        yield* silent(o);
      });
      const { end } = run(client, { random: () => random });
      await settle();
      await end();
    }
    expect(new Set(seconds).size).to.equal(3);
    expect(seconds[1]).to.equal(290);
    for (const s of seconds) expect(s).to.be.within(275, 305);
  });

  it('reads no further than its consumer has come', async () => {
    const client = new Scripted();
    let read = 0;
    client.watches.push(async function* () {
      for (let i = 0; i < 10; i++) {
        read += 1;
        yield line('ADDED', thing(`t${i}`, 60 + i));
      }
    });
    const stop = new AbortController();
    const events = watch(client, things, { signal: stop.signal });
    for (let e = await events.next(); !e.done && e.value.type !== 'apply'; e = await events.next());
    await settle();
    expect(read).to.equal(1);
    await events.next();
    expect(read).to.equal(2);
    stop.abort();
    await events.return();
    expect(client.clock.waiting).to.equal(0);
  });

  it('opens a watch again on which nothing came, and one that ended in order without a pause', async () => {
    const client = new Scripted();
    client.watches.push(silent, lines(line('ADDED', thing('a', 60))));
    const { events, end } = run(client, { idleMs: 90_000 });
    await client.clock.advance(95_000);
    expect(client.asked).to.deep.equal(['list', 'watch 50', 'watch 50', 'watch 60']);
    expect(events.filter((e) => e.type === 'error')).to.have.length(1);
    await end();
  });

  it('pauses when a watch is closed at once and empty, instead of spinning', async () => {
    const client = new Scripted();
    client.watches.push(...Array.from({ length: 50 }, () => lines()));
    const { end } = run(client);
    await client.clock.advance(10_000);
    expect(client.asked.length).to.be.lessThan(8);
    await end();
  });

  it('takes the list as a stream where it can, and pages where the server refuses', async () => {
    const client = new Scripted();
    const end1 = line('BOOKMARK', {
      metadata: { resourceVersion: '80', annotations: { 'k8s.io/initial-events-end': 'true' } },
    });
    client.watches.push(
      lines(line('ADDED', thing('a', 60)), end1, line('ADDED', thing('b', 81)), new KubeError('kube_network', 'reset')),
    );
    const one = run(client, { streamingList: true });
    await client.clock.advance(1_000);
    expect(client.asked).to.deep.equal(['stream', 'watch 81']);
    expect(one.seen.slice(0, 4)).to.deep.equal(['init', 'initApply a', 'initDone', 'apply b']);
    await one.end();
    const old = new Scripted();
    old.watches.push(lines(new ApiError('sendInitialEvents is forbidden', { status: 422, reason: 'Invalid' })));
    const two = run(old, { streamingList: true });
    await old.clock.advance(1_000);
    expect(old.asked).to.deep.equal(['stream', 'list', 'watch 50']);
    await two.end();
  });

  it('hands a page of 500 out in parts between which the loop turns', async () => {
    const client = new Scripted();
    const items = Array.from({ length: 500 }, (_, i) => thing(`t${i}`, i + 1));
    client.lists.push({ items, resourceVersion: '500', continue: undefined });
    const turns = new LoopTurns();
    const stop = new AbortController();
    let taken = 0;
    for await (const e of watch(client, things, { signal: stop.signal })) {
      if (e.type === 'initDone') break;
      if (e.type !== 'initApply') continue;
      taken += 1;
      turns.add();
    }
    stop.abort();
    expect(taken).to.equal(500);
    expect(turns.most()).to.be.at.most(200);
  });
});
