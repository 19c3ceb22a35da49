import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { type Standin, startStandin } from '../../test/standin/standin.ts';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { until } from '../../test/support/until.ts';
import { createLogger } from '../lib/log.ts';
import { EngineClient, type LauncherFacts, type LauncherLink } from '../runtime/index.ts';
import { EngineGuard } from './engine-guard.ts';
import { EngineWatch } from './engine-watch.ts';
import { IDLE_MS, type Look, Pulse, RestartPace, SILENT_MS, STILL_MS } from './wedge.ts';

const look = (over: Partial<Look>): Look => ({ at: 0, start: 1, up: true, busy: 1, progress: 5, ...over });

describe('the pulse of an engine', () => {
  /** One look a second; what is thought at the end. */
  const thought = (ms: number, over: (at: number) => Partial<Look>) => {
    const pulse = new Pulse();
    let last = pulse.see(look({ ...over(0) }));
    for (let at = 1_000; at <= ms; at += 1_000) last = pulse.see(look({ at, ...over(at) }));
    return last;
  };

  it('is doubted when requests are in it and nothing moves, and not a look before', () => {
    expect(thought(STILL_MS - 1_000, () => ({}))).to.equal('none');
    expect(thought(STILL_MS, () => ({}))).to.equal('ask');
  });
  it('is not doubted while a token or a step comes now and then, or nothing is asked of it', () => {
    expect(thought(600_000, (at) => ({ progress: Math.floor(at / (STILL_MS - 1_000)) }))).to.equal('none');
    expect(thought(IDLE_MS - 1_000, () => ({ busy: 0 }))).to.equal('none');
    expect(thought(600_000, () => ({ busy: undefined, progress: undefined }))).to.equal('none');
  });
  it('is asked now and then when nobody asks anything of it', () => {
    expect(thought(IDLE_MS, () => ({ busy: 0 }))).to.equal('idle');
    const pulse = new Pulse();
    let asked = 0;
    for (let at = 0; at < 3 * IDLE_MS; at += 1_000) {
      if (pulse.see(look({ at, busy: 0 })) !== 'idle') continue;
      asked++;
      pulse.answered();
    }
    expect(asked).to.equal(2);
  });
  it('is doubted although its requests give up before, one after the other', () => {
    expect(thought(3 * STILL_MS, (at) => ({ busy: (at / 1_000) % 20 < 15 ? 1 : 0 }))).to.equal('ask');
  });
  it('is over when the server of a live process is silent, and begins anew with another engine', () => {
    expect(thought(SILENT_MS, () => ({ up: false, busy: undefined, progress: undefined }))).to.equal('dead');
    expect(thought(SILENT_MS, (at) => ({ up: false, start: at < 50_000 ? 1 : 2 }))).to.equal('none');
  });
  it('is restarted at once the first time, then more and more slowly, until an hour went well', () => {
    const pace = new RestartPace();
    expect([0, 1, 2, 3, 4, 5, 6, 7].map((i) => pace.next(i * 700_000) / 1_000)).to.deep.equal([
      0, 30, 60, 120, 240, 480, 600, 600,
    ]);
    expect(pace.next(7 * 700_000 + 3_600_001)).to.equal(0);
  });
});

describe('an engine that answers /health and generates nothing', () => {
  let dir: string;
  let standin: Standin;
  let engine: EngineClient;
  let clock: FakeClock;
  let stop: AbortController;
  let facts: Partial<LauncherFacts>;
  let watch: EngineWatch;
  const seen = { restarts: 0, wedges: 0, told: [] as string[], phases: [] as string[] };
  const request = { messages: [{ role: 'user', content: 'What is the capital of France?' }] };

  beforeEach(async () => {
    dir = mkdtempSync(join(tmpdir(), 'guard-'));
    standin = await startStandin({ socketPath: join(dir, 's'), model: 'm:v1', slots: 2 });
    engine = new EngineClient({ socketPath: join(dir, 's') });
    clock = new FakeClock();
    stop = new AbortController();
    Object.assign(seen, { restarts: 0, wedges: 0, told: [], phases: [] });
    facts = {
      phase: 'ready',
      pid: 7,
      startedAt: 1,
      beat: clock.now(),
      restarts: 0,
      sandbox: { tier: 'none' } as never,
    };
    const link = { facts: async () => facts as LauncherFacts, terminating: async () => false };
    watch = new EngineWatch(link as unknown as LauncherLink, engine, clock);
    watch.onChange(() => void seen.phases.push(watch.view.runtime.phase));
    void new EngineGuard({
      watch,
      engine,
      restart: async () => {
        seen.restarts++;
        standin.setMode('ok');
        facts = { ...facts, startedAt: 2 };
      },
      question: () => ({ ref: 'm:v1', request }),
      firstTokenMs: () => 20_000,
      clock,
      logger: createLogger('test', 'silent'),
      metrics: { wedges: { inc: () => void seen.wedges++ } as never },
      record: () => {},
      onError: (code) => void seen.told.push(code),
    }).run(stop.signal);
  });
  afterEach(async () => {
    stop.abort();
    await clock.advance(0);
    await engine.close();
    await standin.close();
    rmSync(dir, { recursive: true, force: true });
  });
  /** Time with a look at the real socket each second. */
  const pass = async (seconds: number): Promise<void> => {
    for (let i = 0; i < seconds; i++) {
      await watch.look();
      await clock.advance(1_000);
    }
  };
  const job = (mode?: 'wedged' | 'stall') => {
    if (mode) standin.setMode(mode);
    const timeouts = { firstTokenMs: 1e9, gapMs: 1e9, totalMs: 1e9 };
    return engine.run(
      'chat.completions',
      { ...request, model: 'm:v1', stream: true },
      { stream: true, timeouts, clock },
    );
  };

  it('loses its jobs at once, is shown as wedged, and is started again alone', async () => {
    const lost = job('wedged');
    await until('the engine has it', () => standin.running() === 1);
    await pass(29);
    expect(seen).to.include({ restarts: 0, wedges: 0 });
    await pass(3);
    await until('the question', () => standin.running() === 2);
    await pass(21);
    await until('wedged', () => seen.restarts === 1);
    expect(await lost).to.include({ state: 'failed', reason: 'engine_crash' });
    expect(seen).to.deep.include({ wedges: 1, told: ['EngineWedged'] });
    expect(seen.phases).to.include('wedged');
    await watch.look();
    expect(watch.view.runtime.phase).to.equal('ready');
    expect((await job()).state).to.equal('done');
  });

  it('is found and started again although nobody asks anything of it', async () => {
    standin.setMode('wedged');
    await pass(IDLE_MS / 1_000 + 3);
    await until('the question', () => standin.running() === 1);
    expect(seen).to.include({ restarts: 0, wedges: 0 });
    await pass(21);
    await until('started again', () => seen.restarts === 1);
    expect(seen).to.deep.include({ wedges: 1, told: ['EngineWedged'] });
  });

  it('goes on when it moves while a question waits', async () => {
    standin.setMode('wedged');
    await pass(IDLE_MS / 1_000 + 3);
    await until('the question', () => standin.running() === 1);
    const real = engine.metrics.bind(engine);
    engine.metrics = async () => ({ ...(await real()), iterations: 77 });
    await pass(25);
    await until('the question is over', () => standin.running() === 0);
    await pass(2);
    expect(seen).to.include({ restarts: 0, wedges: 0 });
  });

  it('goes on when it gives the one token: only a stream of it stands still', async () => {
    const stream = job('stall');
    await until('the engine has it', () => standin.running() === 1);
    for (let i = 0; i < 5; i++) {
      await pass(20);
      await until('no question is open', () => standin.running() === 1);
    }
    expect(seen).to.include({ restarts: 0, wedges: 0 });
    expect(standin.calls.filter((c) => c.end === 'done').length).to.be.at.least(1);
    engine.cut();
    expect(await stream).to.include({ reason: 'engine_crash' });
  });
});
