import { expect } from 'chai';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { JOB_MODEL, JobsRig } from '../../test/support/jobs-rig.ts';
import { until } from '../../test/support/until.ts';

const SHORT = { stream: false };
const LONG = {
  request: { model: JOB_MODEL, messages: [{ role: 'user', content: 'Tell me all that you know. '.repeat(20) }] },
};

describe('jobs in time: order, deadlines, timeouts, leases', function () {
  this.timeout(60_000);
  let rig: JobsRig;
  afterEach(() => rig.close());

  it('start by priority, then by arrival', async () => {
    rig = await JobsRig.start({ slots: 1, queue: 8, tokenMs: 10 });
    rig.offer({ jobId: 'first', ...SHORT });
    for (const [jobId, priority] of [
      ['low', 1],
      ['mid', 5],
      ['high', 9],
      ['mid-later', 5],
    ] as const)
      rig.offer({ jobId, priority, ...SHORT });
    await until('all are done', () => rig.resultFrames().length === 5);
    const order = rig.standin.calls.map((c) => c.request?.split('.')[0]);
    expect(order).to.deep.equal(['first', 'high', 'mid', 'mid-later', 'low']);
  });

  it('are turned down above slots and queue, and taken again when one ended', async () => {
    rig = await JobsRig.start({ slots: 1, queue: 1, tokenMs: 10 });
    for (const jobId of ['a', 'b', 'c']) rig.offer({ jobId, ...SHORT });
    expect(rig.of('job.reject')).to.have.length(1);
    expect(rig.of('job.reject')[0]).to.include({ jobId: 'c', code: 'at_capacity' });
    await until('both are done', () => rig.resultFrames().length === 2);
    rig.offer({ jobId: 'c', ...SHORT });
    await until('the third too', () => rig.resultFrames().length === 3);
  });

  it('end as timeout_total when their deadline passes while they wait, without asking the engine', async () => {
    rig = await JobsRig.start({ slots: 1, tokenMs: 25 });
    rig.offer({ jobId: 'runs', ...LONG });
    rig.offer({ jobId: 'waits', deadline: Date.now() + 300 });
    await until('it is lost', () => rig.of('job.lost').length === 1);
    expect(rig.of('job.lost')[0]).to.include({ jobId: 'waits', reason: 'timeout_total' });
    await until('the other is done', () => rig.resultFrames().length === 1);
    expect(rig.standin.calls.map((c) => c.request)).to.deep.equal(['runs.1']);
  });

  it('end so too when the engine gets free a moment after their deadline', async () => {
    const clock = new FakeClock();
    rig = await JobsRig.start({ clock, slots: 1, tokenMs: 5 });
    rig.offer({ jobId: 'runs', deadline: clock.now() + 600_000, ...LONG, ...SHORT });
    rig.offer({ jobId: 'waits', deadline: clock.now() + 100 });
    await clock.advance(101);
    await until('the first is done', () => rig.resultFrames().length === 1);
    await until('the other is lost', () => rig.of('job.lost').length === 1);
    expect(rig.of('job.lost')[0]).to.include({ jobId: 'waits', reason: 'timeout_total' });
    expect(rig.standin.calls.map((c) => c.request)).to.deep.equal(['runs.1']);
  });

  for (const [reason, mode, timeouts] of [
    ['timeout_first', 'slow-first-token', { firstTokenMs: 150, gapMs: 20_000, totalMs: 20_000 }],
    ['timeout_gap', 'stall', { firstTokenMs: 20_000, gapMs: 150, totalMs: 20_000 }],
    ['timeout_total', 'stall', { firstTokenMs: 20_000, gapMs: 20_000, totalMs: 150 }],
  ] as const)
    it(`end as ${reason} by the configuration's clock, and the engine is freed`, async () => {
      rig = await JobsRig.start({ mode, timeouts });
      rig.offer({ jobId: 'slow' });
      await until('it is lost', () => rig.of('job.lost').length === 1);
      expect(rig.of('job.lost')[0]).to.include({ jobId: 'slow', reason });
      await until('the engine is free', () => rig.standin.running() === 0);
      rig.standin.setMode('ok');
      rig.offer({ jobId: 'next', ...SHORT });
      await until('the next is done', () => rig.resultFrames().length === 1);
    });

  it('keep their lease by job.progress at least every 10 s, queued ones too', async () => {
    const clock = new FakeClock();
    rig = await JobsRig.start({
      clock,
      slots: 1,
      mode: 'wedged',
      timeouts: { firstTokenMs: 9e5, gapMs: 9e5, totalMs: 9e5 },
    });
    const deadline = clock.now() + 600_000;
    rig.offer({ jobId: 'runs', deadline });
    rig.offer({ jobId: 'waits', deadline });
    for (let at = 10; at <= 60; at += 10) {
      const before = rig.of('job.progress').length;
      await clock.advance(10_000);
      const fresh = rig.of('job.progress').slice(before);
      expect(fresh.map((p) => `${p.jobId} ${p.phase}`)).to.include.members(['runs prefill', 'waits queued']);
    }
  });
});
