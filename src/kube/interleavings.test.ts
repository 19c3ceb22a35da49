import { expect } from 'chai';
import fc from 'fast-check';
import { pino } from 'pino';
import { checkHistory, type Happening } from '../../test/support/controller-history.ts';
import { FakeClock, settle } from '../../test/support/fake-clock.ts';
import type { ListOptions, Page, WatchOptions } from './client.ts';
import { Controller, done } from './controller.ts';
import { ApiError, KubeError } from './errors.ts';
import { Election, type ElectionOptions, type Lease } from './lease.ts';
import { objects } from './sources.ts';
import { Store } from './store.ts';
import { type KubeObject, keyOf, type ResourceType, resource } from './types.ts';
import { watch } from './watcher.ts';

const things = resource({ group: 'example.com', version: 'v1', plural: 'things', kind: 'Thing' });
const log = pino({ level: 'silent' });
const NAMES = ['a', 'b', 'c'] as const;
/** No idle timer: a silent watch is one on which nothing happens here. */
const HOW = { idleMs: Number.POSITIVE_INFINITY, random: () => 0.5 };
const RUNS = { numRuns: 60, seed: 26 };

/** The order in which answers and events arrive is the scheduler's; time stands still but for `clock`. */
class Server {
  readonly clock = new FakeClock();
  readonly live = new Map<string, KubeObject>();
  readonly #s: fc.Scheduler;
  readonly #log: { readonly rv: number; readonly type: string; readonly object: KubeObject }[] = [];
  #rv = 10;
  #oldest = 0;
  #cut = 0;
  #wake: (() => void)[] = [];

  constructor(s: fc.Scheduler) {
    this.#s = s;
  }
  #say(type: string, name: string, generation: number): KubeObject {
    this.#rv += 1;
    const metadata = { name, uid: `u-${name}`, resourceVersion: String(this.#rv), generation };
    this.#log.push({ rv: this.#rv, type, object: { metadata } });
    for (const wake of this.#wake.splice(0)) wake();
    return { metadata };
  }
  put(name: string): number {
    const generation = (this.live.get(name)?.metadata?.generation ?? this.#rv) + 1;
    this.live.set(name, this.#say(this.live.has(name) ? 'MODIFIED' : 'ADDED', name, generation));
    return generation;
  }
  drop(name: string): boolean {
    const old = this.live.get(name);
    if (!old) return false;
    this.live.delete(name);
    this.#say('DELETED', name, old.metadata?.generation ?? 0);
    return true;
  }
  cut(): void {
    this.#cut += 1;
    for (const wake of this.#wake.splice(0)) wake();
  }
  compact(): void {
    this.#oldest = this.#rv + 1;
    this.#rv += 1;
    this.cut();
  }
  async list<T extends KubeObject>(_: ResourceType<T>, o: ListOptions = {}): Promise<Page<T>> {
    const [from, rv] = (o.continue ?? `0@${this.#rv}`).split('@').map(Number) as [number, number];
    // A page shows the state as of the first one; here the token carries it.
    const state = this.#pages.get(rv) ?? [...this.live.values()];
    this.#pages.set(rv, state);
    await this.#s.schedule(Promise.resolve(), `page ${from}`);
    if (rv < this.#oldest) throw new ApiError('too old', { status: 410 });
    const more = from + 1 < state.length;
    const items = state.slice(from, from + 1) as unknown as T[];
    return { items, resourceVersion: String(rv), continue: more ? `${from + 1}@${rv}` : undefined };
  }
  readonly #pages = new Map<number, KubeObject[]>();
  async *watchLines(_: ResourceType, o: WatchOptions): AsyncGenerator<string, void> {
    await this.#s.schedule(Promise.resolve(), `open at ${o.resourceVersion}`);
    let at = Number(o.resourceVersion);
    if (at < this.#oldest) throw new ApiError('too old', { status: 410 });
    o.onOpen?.();
    const cut = this.#cut;
    for (;;) {
      const next = this.#log.find((e) => e.rv > at);
      if (next) {
        await this.#s.schedule(Promise.resolve(), `event ${next.rv}`);
        if (this.#cut !== cut) throw new KubeError('kube_network', 'cut');
        at = next.rv;
        yield JSON.stringify({ type: next.type, object: next.object });
      } else if (this.#cut !== cut) throw new KubeError('kube_network', 'cut');
      else
        await new Promise<void>((resolve, reject) => {
          this.#wake.push(resolve);
          o.signal.addEventListener('abort', () => reject(o.signal.reason), { once: true });
        });
    }
  }
}

const change = fc.oneof(
  { weight: 4, arbitrary: fc.record({ op: fc.constant('put' as const), name: fc.constantFrom(...NAMES) }) },
  fc.record({ op: fc.constant('drop' as const), name: fc.constantFrom(...NAMES) }),
  fc.record({ op: fc.constantFrom('cut' as const, 'compact' as const) }),
);

/** Lets everything that is scheduled happen in the scheduler's order, and time pass in between, until nothing is left. */
const playOut = async (s: fc.Scheduler, clock: FakeClock): Promise<void> => {
  for (let quiet = 0; quiet < 3; ) {
    await settle(2);
    if (s.count() > 0) {
      quiet = 0;
      await s.waitOne();
    } else {
      quiet += 1;
      await clock.advance(40_000);
    }
  }
};

describe('in whatever order things happen', function () {
  this.timeout(60_000);

  it('property: a cache ends up as the server, and its changes add up to what it shows', async () => {
    await fc.assert(
      fc.asyncProperty(fc.scheduler(), fc.array(change, { maxLength: 14 }), async (s, changes) => {
        const server = new Server(s);
        const store = new Store(things);
        const told = new Map<string, number>();
        const wrong: string[] = [];
        store.subscribe((c) => {
          const key = keyOf(c.object);
          const generation = c.object.metadata?.generation ?? 0;
          if ((c.type === 'added') === told.has(key)) wrong.push(`${c.type} ${key}`);
          if (c.type === 'updated' && generation < (told.get(key) ?? 0)) wrong.push(`${key} went back`);
          if (c.type === 'deleted') told.delete(key);
          else told.set(key, generation);
        });
        const stop = new AbortController();
        server.put('a');
        server.put('b');
        const reading = (async () => {
          for await (const e of watch(server, things, { signal: stop.signal, ...HOW, pageSize: 1 })) store.handle(e);
        })();
        s.scheduleSequence(
          changes.map((c) => async () => {
            if (c.op === 'put') server.put(c.name);
            else if (c.op === 'drop') server.drop(c.name);
            else server[c.op]();
          }),
        );
        await playOut(s, server.clock);
        const generations = (all: Iterable<KubeObject>): object =>
          Object.fromEntries([...all].map((o) => [keyOf(o), o.metadata?.generation]).sort());
        expect(wrong).to.deep.equal([]);
        expect(generations(store.list())).to.deep.equal(generations(server.live.values()));
        expect(Object.fromEntries([...told].sort())).to.deep.equal(generations(server.live.values()));
        stop.abort(new Error('over'));
        await reading;
      }),
      RUNS,
    );
  });

  it('property: a controller reconciles the last generation of every key, never one key twice at once', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.scheduler(),
        fc.array(change, { maxLength: 12 }),
        fc.integer({ min: 1, max: 3 }),
        async (s, changes, concurrency) => {
          const server = new Server(s);
          const { clock } = server;
          const store = new Store(things);
          const history: Happening[] = [];
          const stop = new AbortController();
          let turns = 0;
          const controller = new Controller({
            name: 'c',
            clock,
            log,
            concurrency,
            sources: [objects(store)],
            reconcile: async (key) => {
              history.push({ type: 'began', key, by: 'c' });
              const generation = store.get(key)?.metadata?.generation ?? 0;
              await s.schedule(Promise.resolve(), `reconcile ${key}`);
              turns += 1;
              const fails = turns % 4 === 0;
              history.push({ type: 'ended', key, by: 'c', generation: fails ? 0 : generation });
              if (fails) throw new Error('every fourth fails');
              return done;
            },
          });
          controller.listen(stop.signal);
          const working = controller.work(stop.signal, stop.signal);
          const reading = (async () => {
            for await (const e of watch(server, things, { signal: stop.signal, ...HOW, pageSize: 2 })) store.handle(e);
          })();
          s.scheduleSequence(
            changes.map((c) => async () => {
              if (c.op === 'put') history.push({ type: 'changed', key: c.name, generation: server.put(c.name) });
              else if (c.op === 'drop') {
                if (server.drop(c.name)) history.push({ type: 'gone', key: c.name });
              } else server[c.op]();
            }),
          );
          await playOut(s, clock);
          expect(checkHistory(history)).to.deep.equal([]);
          stop.abort(new Error('over'));
          await Promise.all([working, reading]);
        },
      ),
      RUNS,
    );
  });

  it('property: of candidates whose calls overtake each other, arrive late or only half, never two lead', async () => {
    const step = fc.oneof(
      fc.record({ op: fc.constant('pass' as const), ms: fc.integer({ min: 100, max: 12_000 }) }),
      fc.record({ op: fc.constantFrom('cut' as const, 'mend' as const), who: fc.constantFrom(...NAMES) }),
    );
    await fc.assert(
      fc.asyncProperty(fc.scheduler(), fc.array(step, { minLength: 4, maxLength: 20 }), async (s, steps) => {
        const clock = new FakeClock();
        const cut = new Set<string>();
        const history: Happening[] = [];
        let lease: Lease | undefined;
        let version = 0;
        const candidate = (by: string): Election => {
          const way = async (what: string): Promise<void> => {
            await s.schedule(Promise.resolve(), `${by} ${what}`);
            if (cut.has(by)) throw new KubeError('kube_network', 'cut off');
          };
          const put = async (next: Lease): Promise<Lease> => {
            lease = { ...next, metadata: { ...next.metadata, uid: 'u', resourceVersion: String(++version) } };
            const answer = lease;
            await way('answer'); // the server has it, whether or not the candidate learns of it
            return answer;
          };
          const client = {
            get: async () => {
              await way('get');
              if (!lease) throw new ApiError('none', { status: 404 });
              return lease;
            },
            create: async (_: unknown, next: Lease) => {
              await way('create');
              if (lease) throw new ApiError('taken', { status: 409, reason: 'AlreadyExists' });
              return put(next);
            },
            update: async (_: unknown, next: Lease) => {
              await way('update');
              if (next.metadata?.resourceVersion !== lease?.metadata?.resourceVersion)
                throw new ApiError('old', { status: 409, reason: 'Conflict' });
              return put(next);
            },
          } as unknown as ElectionOptions['client'];
          return new Election({ client, clock, log, namespace: 'n', name: 'l', identity: by, random: () => 0 });
        };
        const stop = new AbortController();
        const all = NAMES.map((by) => ({ by, election: candidate(by), led: false }));
        const ends = all.map(async ({ election }) => {
          if (await election.acquire(stop.signal)) await election.hold(stop.signal);
        });
        const look = (): void => {
          for (const c of all) {
            const leads = c.election.leads();
            if (leads !== c.led && !leads) history.push({ type: 'lost', by: c.by });
          }
          for (const c of all) {
            const leads = c.election.leads();
            if (leads && !c.led) history.push({ type: 'leads', by: c.by });
            c.led = leads;
          }
        };
        for (const one of steps) {
          if (one.op === 'pass')
            for (let passed = 0; passed < one.ms; passed += 200) {
              if (s.count() > 0) await s.waitOne();
              look();
              await clock.advance(200);
              look();
            }
          else if (one.op === 'cut') cut.add(one.who);
          else cut.delete(one.who);
        }
        expect(checkHistory(history)).to.deep.equal([]);
        stop.abort(new Error('over'));
        while (s.count() > 0) await s.waitOne();
        await playOut(s, clock);
        await Promise.all(ends);
      }),
      { ...RUNS, numRuns: 40 },
    );
  });
});
