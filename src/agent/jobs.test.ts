import { spawnSync } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, rmSync, writeFileSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { JOB_MODEL, JobsRig } from '../../test/support/jobs-rig.ts';
import { until } from '../../test/support/until.ts';
import type { JobOffer } from '../protocol/index.ts';
import { JOURNAL_RESERVE } from './journal.ts';

/** An answer of many tokens, so that a test has the time to interrupt it. */
const LONG = {
  request: { model: JOB_MODEL, messages: [{ role: 'user', content: 'Tell me all that you know. '.repeat(20) }] },
};

describe('jobs from offer to signed result, with a stand-in as engine', function () {
  this.timeout(60_000);
  let rig: JobsRig;
  afterEach(() => rig.close());
  const ended = (jobId: string): string | undefined => rig.journal.get({ jobId, attempt: 1 })?.state;
  const callOf = (jobId: string) => rig.standin.calls.find((c) => c.request === `${jobId}.1`);

  it('frees the engine at a cancel: the request is closed there, the slot is back, and what waited starts', async () => {
    rig = await JobsRig.start({ slots: 1, tokenMs: 20 });
    rig.offer({ jobId: 'first', ...LONG });
    rig.offer({ jobId: 'second', stream: false });
    await until('lines', () => rig.of('job.delta').length > 2);
    expect(rig.standin.running()).to.equal(1);
    expect(rig.jobs.running).to.equal(1);
    rig.jobs.cancel({ jobId: 'first', attempt: 1 }, 'client_gone');
    await until('the engine noticed', () => callOf('first')?.end === 'aborted');
    await until('the next one is done', () => rig.resultFrames().length === 1);
    expect(rig.of('job.lost')).to.deep.equal([{ jobId: 'first', attempt: 1, reason: 'cancelled' }]);
    expect(ended('first')).to.equal('ended');
    await until('no slot is held', () => rig.standin.running() === 0);
    expect(rig.jobs.used).to.equal(0);
  });

  it('counts the tokens of an aborted job exactly: as many as lines with content came out of the engine', async () => {
    rig = await JobsRig.start({ tokenMs: 15 });
    rig.offer({ jobId: 'cut', ...LONG });
    await until('lines', () => rig.of('job.delta').length > 3);
    rig.jobs.cancel({ jobId: 'cut', attempt: 1 }, 'operator');
    await until('it ended', () => ended('cut') === 'ended' && callOf('cut') !== undefined);
    const lines = rig.of('job.delta').flatMap((d) => d.lines as string[]);
    const told = rig.records.find((r) => r.kind === 'job.lost')?.data as { lines: number; completionTokens: number };
    // the first line carries the role only; a line that came while the abort was under way may not have been passed on
    expect(told.completionTokens).to.equal(told.lines - 1);
    expect(told.lines).to.be.within(lines.length, lines.length + 2);
    expect(told.completionTokens).to.be.within((callOf('cut')?.tokens ?? 0) - 1, callOf('cut')?.tokens ?? 0);
  });

  it('aborts one that is cancelled while it waits without asking the engine, and sends a signed result instead', async () => {
    rig = await JobsRig.start({ slots: 1, tokenMs: 20 });
    rig.offer({ jobId: 'runs', ...LONG });
    rig.offer({ jobId: 'waits' });
    rig.jobs.cancel({ jobId: 'waits', attempt: 1 }, 'client_gone');
    expect(rig.of('job.lost')).to.deep.equal([{ jobId: 'waits', attempt: 1, reason: 'cancelled' }]);
    rig.jobs.cancel({ jobId: 'never seen', attempt: 3 }, 'reassigned');
    expect(rig.of('job.lost')[1]).to.deep.equal({ jobId: 'never seen', attempt: 3, reason: 'cancelled' });
    await until('the result', () => rig.resultFrames().length === 1);
    rig.jobs.cancel({ jobId: 'runs', attempt: 1 }, 'client_gone');
    expect(rig.resultFrames()).to.have.length(2);
    expect(rig.resultFrames()[1]).to.equal(rig.resultFrames()[0]);
    expect(callOf('waits')).to.equal(undefined);
  });

  it('lets no oversized or malformed request harm the next job', async () => {
    rig = await JobsRig.start();
    const bad: [string, Partial<JobOffer>, string][] = [
      ['no messages', { request: { model: JOB_MODEL } }, 'job.reject'],
      ['another model', { request: { model: 'other:v1', messages: [] } }, 'job.reject'],
      ['fractional tokens', { request: { messages: [], max_tokens: 1.5 } }, 'job.reject'],
      ['negative tokens', { request: { messages: [], max_tokens: -1 } }, 'job.reject'],
      ['too many tokens', { request: { messages: [], max_completion_tokens: 2 ** 40 } }, 'job.reject'],
      ['streamed embeddings', { kind: 'embeddings', request: { input: 'a' } }, 'job.reject'],
      ['stream differs', { stream: false, request: { messages: [], stream: true } }, 'job.reject'],
      ['no prompt', { kind: 'completions', request: {} }, 'job.reject'],
      ['a giant prompt', { request: { messages: [{ role: 'user', content: 'word '.repeat(200_000) }] } }, 'job.lost'],
      ['messages that are none', { request: { messages: [null, 7, { role: [], content: {} }] } }, 'job.lost'],
      ['messages of nothing', { request: { messages: [] } }, 'job.lost'],
    ];
    for (const [what, over, answer] of bad) {
      const jobId = what.replaceAll(' ', '-');
      const before = rig.of(answer).length;
      rig.offer({ jobId, stream: what !== 'stream differs', ...over });
      await until(`${what}: ${answer}`, () => rig.of(answer).length > before || rig.resultFrames().length > 0);
      rig.offer({ jobId: `after-${jobId}`, stream: false });
      await until(`the job after ${what}`, () => ended(`after-${jobId}`) === 'result');
    }
    expect(rig.of('job.reject').map((r) => r.code)).to.deep.equal(Array(8).fill('invalid_request'));
    expect(rig.of('job.lost').map((r) => r.reason)).to.include('engine_error');
    await until('no slot is held', () => rig.standin.running() === 0);
  });

  it('accepts nothing more when the disk has no room for the results, and keeps what it had promised', async () => {
    let free = JOURNAL_RESERVE;
    rig = await JobsRig.start({ tokenMs: 10, room: () => free });
    rig.offer({ jobId: 'promised', ...LONG });
    free = JOURNAL_RESERVE - 1;
    rig.offer({ jobId: 'refused' });
    expect(rig.of('job.reject')).to.deep.equal([
      { jobId: 'refused', attempt: 1, code: 'not_ready', message: 'the journal cannot be written' },
    ]);
    expect(rig.errors).to.include('journal_full');
    await until('the promise is kept', () => ended('promised') === 'result');
    expect(rig.journal.highest('refused')).to.equal(undefined);
    free = JOURNAL_RESERVE;
    rig.offer({ jobId: 'refused' });
    await until('taken when there is room', () => ended('refused') === 'result');
  });

  describe('on a small disk that really fills', () => {
    let disk: string;
    beforeEach(function () {
      disk = mkdtempSync(join(tmpdir(), 'small-disk-'));
      // elsewhere the double above stands for it
      if (spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=70m', 'tmpfs', disk]).status !== 0) this.skip();
    });
    afterEach(() => {
      spawnSync('umount', ['-l', disk]);
      rmSync(disk, { recursive: true, force: true });
    });

    it('takes nothing more in time, loses by name what cannot be stored, and works again when there is room', async () => {
      rig = await JobsRig.start({ folder: disk, tokenMs: 15 });
      rig.offer({ jobId: 'promised', ...LONG });
      rig.offer({ jobId: 'unlucky', ...LONG });
      expect(rig.of('job.accept')).to.have.length(2);
      writeFileSync(join(disk, 'ballast'), Buffer.alloc(8 << 20));
      rig.offer({ jobId: 'refused' });
      expect(rig.of('job.reject')).to.have.length(1);
      await until('the promise is kept', () => ended('promised') === 'result');
      await until('the other too', () => ended('unlucky') === 'result');
      rmSync(join(disk, 'ballast'));
      rig.offer({ jobId: 'unstorable', ...LONG });
      await until('it runs', () => rig.jobs.running === 1);
      fillUp(join(disk, 'full'));
      await until('it is lost by name', () => rig.of('job.lost').length === 1);
      expect(rig.of('job.lost')[0]).to.include({ jobId: 'unstorable', reason: 'disk_full' });
      expect(rig.errors).to.include('journal');
      rmSync(join(disk, 'full'));
      rig.offer({ jobId: 'after', stream: false });
      await until('it works again', () => ended('after') === 'result');
    });
  });
});

/** Writes until the file system has no byte left. */
const fillUp = (path: string): void => {
  const file = openSync(path, 'w');
  try {
    for (let size = 1 << 20; size >= 1; ) {
      try {
        if (writeSync(file, Buffer.alloc(size)) < size) size >>= 1;
      } catch {
        size >>= 1;
      }
    }
  } finally {
    closeSync(file);
  }
};
