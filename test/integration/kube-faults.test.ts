import { expect } from 'chai';
import { pino } from 'pino';
import {
  Applier,
  Controller,
  done,
  Election,
  fixedConnection,
  KubeClient,
  type KubeObject,
  Manager,
  objects,
  resource,
  specChanged,
} from '../../src/kube/index.ts';
import { type Clock, systemClock } from '../../src/lib/clock.ts';
import { FaultProxy, seeded, type Toxic } from '../chaos/index.ts';
import { ApiDouble } from '../support/api-double.ts';
import { checkHistory, type Happening } from '../support/controller-history.ts';
import { until } from '../support/until.ts';

interface ConfigMap extends KubeObject {
  readonly data?: Readonly<Record<string, string>>;
}
const configMaps = resource<ConfigMap>({ group: '', version: 'v1', plural: 'configmaps', kind: 'ConfigMap' });
const widgets = resource<KubeObject & { spec?: { colour: string } }>({
  group: 'example.com',
  version: 'v1',
  plural: 'widgets',
  kind: 'Widget',
});
const log = pino({ level: 'silent' });
/** Back-offs and lease times pass twenty times as fast, for all alike. */
const clock: Clock = {
  now: () => Date.now(),
  monotonic: () => systemClock.monotonic() * 20,
  sleep: (ms, signal) => systemClock.sleep(ms / 20, signal),
};
const WIDGETS = 12;

/** One operator behind a proxy of its own: keeps a ConfigMap beside each Widget, and writes down what happens. */
const start = async (double: ApiDouble, by: string, history: Happening[]) => {
  const proxy = new FaultProxy(Number(new URL(double.url).port), seeded(5, by));
  const port = await proxy.listen();
  const client = new KubeClient({
    connection: fixedConnection(`http://127.0.0.1:${port}`),
    clock,
    fieldManager: by,
    qps: 0,
  });
  // Long enough that a machine which stands still for some seconds loses no lease: nobody would take over here.
  const times = { leaseMs: 300_000, renewDeadlineMs: 200_000 };
  const election = new Election({ client, clock, log, namespace: 'n', name: 'l', identity: by, ...times });
  const manager = new Manager({ client, clock, log, election });
  const parents = manager.cache(widgets, { idleMs: 40_000 });
  const children = manager.cache(configMaps, { idleMs: 40_000 });
  const applier = new Applier({ client, fieldManager: by });
  manager.add(
    new Controller({
      name: 'widgets',
      clock,
      log,
      concurrency: 3,
      sources: [objects(parents, specChanged), objects(children)],
      reconcile: async (key, { signal, wrote }) => {
        history.push({ type: 'began', key, by });
        let generation = 0;
        try {
          const widget = parents.get(key);
          const { name = '', namespace = '' } = widget?.metadata ?? {};
          if (widget) {
            const intent = { metadata: { name, namespace }, data: { colour: widget.spec?.colour ?? '' } };
            const { object, sent } = await applier.apply(children, intent, { signal });
            if (sent) wrote(children, object);
          }
          generation = widget?.metadata?.generation ?? 0;
          return done;
        } finally {
          history.push({ type: 'ended', key, by, generation });
        }
      },
    }),
  );
  const stop = new AbortController();
  const ended = manager.run(stop.signal).then(
    () => undefined,
    (error: unknown) => error,
  );
  const end = async (): Promise<void> => {
    proxy.toxics = [];
    stop.abort();
    await ended;
    await client.close();
    await proxy.close();
  };
  return { by, proxy, election, manager, end, ended };
};

type Operator = Awaited<ReturnType<typeof start>>;

/** What is done to the way between a manager and its API server. */
const FAULTS: readonly (readonly [string, (o: Operator, double: ApiDouble) => Promise<void> | void])[] = [
  [
    'connections are reset, again and again',
    async (o) => {
      for (let i = 0; i < 5; i++) {
        o.proxy.reset();
        await systemClock.sleep(30);
      }
    },
  ],
  [
    'answers come sliced, slow and late',
    async (o) => {
      const toxics: Toxic[] = [
        { kind: 'slice', bytes: 97, gapMs: 1 },
        { kind: 'latency', ms: 10, jitterMs: 20 },
      ];
      o.proxy.toxics = toxics;
      await systemClock.sleep(300);
      o.proxy.toxics = [];
    },
  ],
  [
    'each connection breaks after 3 000 bytes',
    async (o) => {
      o.proxy.toxics = [{ kind: 'limit', bytes: 3_000 }];
      o.proxy.reset();
      await systemClock.sleep(300);
      o.proxy.toxics = [];
    },
  ],
  [
    'the line goes silent and nobody is told',
    async (o) => {
      o.proxy.halfOpen('upstream');
      await systemClock.sleep(100);
    },
  ],
  [
    'the server is overloaded: 429, then 503, then 500',
    async (_, double) => {
      for (const status of [429, 503, 500])
        double.fault({
          when: (r) => !r.path.includes('/leases') && r.query.get('fieldManager') !== 'user',
          times: 8,
          answer: { status, retryAfter: 1 },
        });
      double.cutWatches();
      await systemClock.sleep(300);
    },
  ],
  [
    'watches are cut while versions are compacted away',
    async (_, double) => {
      for (let i = 0; i < 4; i++) {
        double.compact();
        double.cutWatches();
        await systemClock.sleep(50);
      }
    },
  ],
];

describe('src/kube behind a line that breaks', function () {
  this.timeout(60_000);
  let double: ApiDouble;
  let user: KubeClient;
  beforeEach(async () => {
    double = await ApiDouble.start();
    user = new KubeClient({ connection: double.connection, fieldManager: 'user', qps: 0 });
  });
  afterEach(async () => {
    await user.close();
    await double.stop();
  });

  const colours = (): Record<string, string> =>
    Object.fromEntries(
      double.objects<ConfigMap>('configmaps').map((m) => [m.metadata?.name ?? '', m.data?.colour ?? '']),
    );
  const paint = async (history: Happening[], colour: string): Promise<void> => {
    for (let i = 0; i < WIDGETS; i++) {
      const made = await user.apply(widgets, { metadata: { namespace: 'n', name: `w${i}` }, spec: { colour } });
      history.push({ type: 'changed', key: `n/w${i}`, generation: made.metadata?.generation ?? 0 });
    }
  };
  const painted = (colour: string) => (): boolean => {
    const all = Object.values(colours());
    return all.length === WIDGETS && all.every((c) => c === colour);
  };

  for (const [what, strike] of FAULTS)
    it(`${what}: every change arrives, no key runs twice, one writes at a time`, async () => {
      const history: Happening[] = [];
      const operators = [await start(double, 'one', history)];
      try {
        await until('one leads', () => operators[0]?.election.leads() === true);
        await paint(history, 'red');
        await until('red', painted('red'), 15_000);
        operators.push(await start(double, 'two', history));
        await until('two is warm', () => operators[1]?.manager.ready() === undefined, 15_000);
        const struck = operators.map((o) => strike(o, double));
        await paint(history, 'green');
        await paint(history, 'blue');
        await Promise.all(struck);
        await until('blue', painted('blue'), 30_000);
        await until('a clean history', () => checkHistory(history).length === 0, 30_000);
        const leading = operators.filter((o) => o.election.leads()).map((o) => o.by);
        expect(leading.length, leading.join()).to.be.at.most(1);
      } catch (error) {
        process.stderr.write(`${JSON.stringify({ colours: colours(), broken: checkHistory(history) })}\n`);
        throw error;
      } finally {
        for (const o of operators) await o.end();
      }
      expect(checkHistory(history)).to.deep.equal([]);
    });
});
