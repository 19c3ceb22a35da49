import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { SignerKit } from '../../test/support/signer-kit.ts';
import { until } from '../../test/support/until.ts';
import { parseSnapshotDocument } from '../config/index.ts';
import type { CodedError } from '../lib/errors.ts';
import { createLogger } from '../lib/log.ts';
import { Metrics } from '../lib/metrics.ts';
import { type Desired, type LauncherFacts, LauncherLink } from '../runtime/index.ts';
import { EngineLoader } from './engine-loader.ts';
import type { EngineView, EngineWatch } from './engine-watch.ts';
import { agentMetrics } from './job-metrics.ts';
import { LoadTimes } from './load-times.ts';
import { type Plan, planOf } from './plan.ts';

const TARGETS = ['tcp:10.96.0.1:443', 'udp:192.0.2.1:53'];
const document = parseSnapshotDocument(new SignerKit().publish().bytes);

describe('an engine that is loaded and proved to be shut in', () => {
  let dir: string;
  let clock: FakeClock;
  /** What the launcher was told last. */
  let told: Desired;
  let outcome: string;
  let startedAt: number;
  /** Tries to start an engine that is not there; null: it is there. */
  let tries: number | null;
  let loader: EngineLoader;
  const signal = new AbortController().signal;
  const plan = planOf({
    ...{ accepted: document, effective: document, assigned: 'tiny:v1', running: undefined, served: undefined },
    ...{ held: false, failure: null, images: { runtime: 'dev' }, version: '0.1.0', engineArgs: {} },
  }) as Extract<Plan, { kind: 'serve' }>;

  /** A launcher that does at once what it is told, with a probe that meets `outcome` everywhere. */
  const viewNow = (): EngineView => ({
    runtime:
      tries === null
        ? { phase: 'ready', reason: 'EngineReady', message: '' }
        : { phase: 'crashed', reason: 'EngineMissing', message: 'no such file' },
    facts: {
      generation: told.generation,
      model: 'tiny:v1',
      pid: 7,
      startedAt,
      restarts: tries ?? 0,
      reason: null,
      marks: [{ phase: 'loading', at: startedAt }],
      sandbox: { tier: 'sandbox', landlockAbi: 6, kernel: '6.18' },
      probe: told.probe && {
        ...{ n: told.probe.n, tier: 'sandbox', at: clock.now() },
        results: told.probe.targets.map((target) => ({ target, outcome })),
      },
    } as unknown as LauncherFacts,
    ...{ metrics: null, tokensPerSecond: 0, wasReady: true, terminating: false },
  });
  const make = (): EngineLoader => {
    const link = new LauncherLink({ controlDir: dir, engineDir: dir }, clock.now());
    const desire = link.desire.bind(link);
    link.desire = async (want) => {
      const generation = await desire(want);
      told = { v: 1, generation, ...want };
      return generation;
    };
    return new EngineLoader({
      link,
      watch: {
        look: async () => viewNow(),
        get view() {
          return viewNow();
        },
      } as unknown as EngineWatch,
      engine: { models: async () => [{ id: 'tiny:v1', maxModelLen: null }] },
      isolation: 'Sandbox',
      probeTargets: async () => TARGETS,
      agentPort: () => 9440,
      clock,
      logger: createLogger('test', 'silent'),
      metrics: agentMetrics(new Metrics()),
      times: new LoadTimes(join(dir, 'load-times.json')),
      record: () => {},
      onChange: () => {},
    });
  };
  const load = () => loader.load(plan, '/models/x', () => {}, signal);
  const prove = (minTier: 'none' | 'sandbox' | 'sandbox+policy' = 'none'): Promise<string> =>
    loader.prove({ isolation: { minTier } }, signal).then(
      () => 'proved',
      (error: Error) => error.message,
    );

  beforeEach(async () => {
    dir = mkdtempSync(join(tmpdir(), 'loader-'));
    clock = new FakeClock();
    outcome = 'blocked';
    tries = null;
    startedAt = clock.now();
    loader = make();
    await load();
  });
  afterEach(() => rmSync(dir, { recursive: true, force: true }));

  it('is probed anew each time, and counts as not isolated from the first probe on that fails', async () => {
    expect(await prove('sandbox')).to.equal('proved');
    expect(loader.isolation).to.deep.include({ tier: 'sandbox' });
    const first = told.probe?.n;
    outcome = 'open';
    expect(await prove()).to.contain('tcp:10.96.0.1:443 open');
    expect(told.probe?.n).not.to.equal(first);
    expect(loader.isolation).to.deep.equal({ tier: 'none', provedAt: 0 });
    outcome = 'blocked';
    expect(await prove()).to.equal('proved');
  });

  it('is refused below the tier that the network demands', async () => {
    expect(await prove('sandbox+policy')).to.equal('the network demands sandbox+policy, this node proves sandbox');
  });

  it('is started again by another restart number, which the next agent keeps', async () => {
    expect(told.restart).to.equal(0);
    await loader.restart();
    expect(told.restart).to.equal(1);
    loader = make();
    await load();
    expect(told.restart).to.equal(1);
  });

  it('is given up, with the reason, when it could not be started three times more', async () => {
    loader = make();
    tries = 1;
    const given = load().then(
      () => 'loaded',
      (error: CodedError) => error.code,
    );
    let code = '';
    given.then((c) => {
      code = c;
    });
    for (; tries < 4; tries++) {
      await until('it waits', () => clock.waiting === 1);
      expect(code).to.equal('');
      await clock.advance(250);
    }
    await until('given up', () => code !== '' || clock.advance(250).then(() => false));
    expect(await given).to.equal('EngineMissing');
  });

  it('is expected when the last load of the same says so', async () => {
    expect(loader.readyBy).to.equal(null);
    await new LoadTimes(join(dir, 'load-times.json')).keep(
      `${plan.model.digest} ${JSON.stringify(Object.entries(plan.args).sort())}`,
      { load: 60 },
    );
    loader = make();
    const noted: (number | null)[] = [];
    startedAt = clock.now() + 1; // answers when it is there, not before
    const stop = new AbortController();
    const loading = loader.load({ ...plan, model: { ...plan.model, ref: 'other:v1' } }, '/m', () => {}, stop.signal);
    const ended = loading.catch(() => 'stopped');
    await until('an expectation', () => loader.readyBy !== null);
    noted.push(loader.readyBy);
    await until('it waits', () => clock.waiting === 1);
    stop.abort();
    expect(await ended).to.equal('stopped');
    expect(noted).to.deep.equal([clock.now() + 60_000]);
    expect(loader.readyBy).to.equal(null);
  });
});
