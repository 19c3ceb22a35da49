import { expect } from 'chai';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { createLogger } from '../lib/log.ts';
import { Metrics } from '../lib/metrics.ts';
import type { Heartbeat, Hello } from '../protocol/index.ts';
import { Heartbeats } from './heartbeat.ts';
import { agentMetrics } from './job-metrics.ts';

const rigOf = (jobs: Hello['jobs'] = [], enabled = true) => {
  const clock = new FakeClock();
  const state = { open: false, enabled };
  const sent: number[] = [];
  const posted: string[] = [];
  const answers: { named: Hello['jobs'] }[] = [];
  const stop = new AbortController();
  const metrics = new Metrics();
  const heartbeats = new Heartbeats({
    clock,
    logger: createLogger('test', 'silent'),
    metrics: agentMetrics(metrics),
    body: () => ({ bootId: 'boot' }) as Heartbeat,
    send: () => state.open && sent.push(clock.monotonic()) > 0,
    http: {
      post: async (_path, body) => {
        posted.push(body);
        return { serverTime: clock.now(), config: null, jobs: [] };
      },
    },
    jobs: () => jobs,
    onAnswer: (answer) => void answers.push(answer),
    enabled: () => state.enabled,
  });
  return { clock, state, sent, posted, answers, stop, metrics, heartbeats, done: heartbeats.run(stop.signal) };
};

describe('heartbeats', () => {
  it('go every interval over the socket, over HTTP while there is none, and not at all before admission', async () => {
    const rig = rigOf([], false);
    rig.heartbeats.intervalMs = 1_000;
    await rig.clock.advance(15_500);
    expect(rig.posted).to.deep.equal([]);
    rig.state.enabled = true;
    rig.heartbeats.now();
    await rig.clock.advance(3_500);
    expect(rig.posted).to.have.length(4);
    rig.state.open = true;
    await rig.clock.advance(3_000);
    expect(rig.posted).to.have.length(4);
    expect(rig.sent).to.have.length.within(2, 4);
    rig.stop.abort();
    await rig.done;
    expect(rig.clock.waiting).to.equal(0);
  });
  it('are as old on /metrics as they are when it is asked, not when they went out', async () => {
    const rig = rigOf();
    rig.heartbeats.intervalMs = 60_000;
    rig.state.open = true;
    rig.heartbeats.now();
    await rig.clock.advance(100);
    const age = async () => Number(/^resultity_agent_heartbeat_age_seconds (.*)$/m.exec(await rig.metrics.text())?.[1]);
    const [before] = [await age()];
    await rig.clock.advance(30_000);
    expect((await age()) - before).to.equal(30);
    rig.stop.abort();
    await rig.done;
  });
  it('make one of several reasons at once', async () => {
    const rig = rigOf();
    rig.state.open = true;
    await rig.clock.advance(100);
    const before = rig.sent.length;
    for (let i = 0; i < 5; i++) rig.heartbeats.now();
    await rig.clock.advance(100);
    expect(rig.sent.length).to.equal(before + 1);
    rig.stop.abort();
    await rig.done;
  });
  it('name over HTTP the jobs that fit into 64 KiB, and only those are judged by the answer', async () => {
    const result = { attempt: 1, state: 'result' as const, deltas: 7 };
    const jobs = Array.from({ length: 1_024 }, (_, i) => ({ jobId: `01JDVECTOR${i}`.padEnd(128, 'x'), ...result }));
    const rig = rigOf(jobs);
    await rig.clock.advance(100);
    const [body = ''] = rig.posted;
    expect(Buffer.byteLength(body)).to.be.within(64_000, 65_536);
    const named = JSON.parse(body).jobs;
    expect(named).to.deep.equal(jobs.slice(0, named.length));
    expect(rig.answers[0]?.named).to.deep.equal(named);
    rig.stop.abort();
    await rig.done;
  });
});
