import { type ChildProcess, spawn } from 'node:child_process';
import {
  copyFileSync,
  existsSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { isCoded } from '../lib/errors.ts';
import { type JournalRecord, SqliteJournal } from './journal.ts';

const hash = `sha256:${'0'.repeat(64)}` as const;
const payloadOf = (i: number): string => JSON.stringify({ result: i, output: `answer ${i} `.repeat(20) });

describe('a journal on a bad disk', function () {
  this.timeout(120_000);
  let dir: string;
  let path: string;
  beforeEach(() => {
    // in memory where there is such a place: these tests make some ten thousand fsyncs
    dir = mkdtempSync(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'journal-'));
    path = join(dir, 'journal.db');
  });
  afterEach(() => rmSync(dir, { recursive: true, force: true }));

  const copy = (to: string): string => {
    rmSync(`${to}-wal`, { force: true });
    for (const end of ['', '-wal']) if (existsSync(path + end)) copyFileSync(path + end, to + end);
    return to;
  };
  /** Every record of a journal as its methods give it, or the error with which it refuses. */
  const readAll = (file: string, jobs: number): (JournalRecord | undefined)[] | 'refused' => {
    let journal: SqliteJournal | undefined;
    try {
      journal = new SqliteJournal(file, undefined, () => Number.POSITIVE_INFINITY);
      const found = Array.from({ length: jobs }, (_, i) => journal?.highest(`job-${i}`));
      journal.unreceipted();
      journal.accepted();
      return found;
    } catch (error) {
      if (isCoded(error, 'journal_failed')) return 'refused';
      throw error;
    } finally {
      journal?.close();
    }
  };
  /** What must hold of a damaged copy: each record is as it was written at some time, or known to be damaged. */
  const neverMisread = (found: ReturnType<typeof readAll>, what: string): void => {
    if (found === 'refused') return;
    found.forEach((r, i) => {
      if (r === undefined || r.note === 'corrupt') return;
      expect(r.attempt, what).to.equal(1);
      expect(r.requestHash, what).to.equal(hash);
      if (r.state === 'result') expect(r.payload, what).to.equal(payloadOf(i));
      else expect(r, what).to.include({ state: 'accepted', payload: null });
    });
  };
  /** `jobs` results, and the place in the WAL where the last promise begins. */
  const write = (jobs: number): number => {
    const journal = new SqliteJournal(path);
    let last = 0;
    for (let i = 0; i < jobs; i++) {
      const key = { jobId: `job-${i}`, attempt: 1 };
      journal.accept({ ...key, deadline: 1_000, requestHash: hash });
      last = statSync(`${path}-wal`).size;
      journal.result(key, payloadOf(i), 1);
    }
    copy(join(dir, 'kept.db')); // as kill −9 leaves it: nothing checkpointed, nothing closed
    journal.close();
    for (const end of ['', '-wal']) copyFileSync(join(dir, `kept.db${end}`), path + end);
    return last;
  };

  it('loses at most the last promise when the WAL is torn at any byte of it, and nothing before', () => {
    const jobs = 3;
    const from = write(jobs);
    const end = statSync(`${path}-wal`).size;
    expect(end).to.be.above(from);
    const step = Math.max(1, Math.floor((end - from) / 300));
    for (let at = from; at <= end; at += step) {
      const file = copy(join(dir, 'torn.db'));
      truncateSync(`${file}-wal`, at);
      const found = readAll(file, jobs);
      neverMisread(found, `torn at ${at}`);
      const states = found === 'refused' ? [] : found.map((r) => r?.state);
      expect(states, `torn at ${at}`).to.deep.equal(['result', 'result', at === end ? 'result' : 'accepted']);
    }
  });

  it('never believes a flipped byte of the WAL’s last promise', () => {
    const jobs = 3;
    const from = write(jobs);
    const wal = readFileSync(`${path}-wal`);
    const step = Math.max(1, Math.floor((wal.length - from) / 300));
    for (let at = from; at < wal.length; at += step) {
      const file = copy(join(dir, 'flipped.db'));
      const bytes = Buffer.from(wal);
      bytes[at] = (bytes[at] ?? 0) ^ (1 << (at % 8));
      writeFileSync(`${file}-wal`, bytes);
      const found = readAll(file, jobs);
      neverMisread(found, `flipped at ${at}`);
      if (found !== 'refused') expect(found.slice(0, 2).map((r) => r?.state)).to.deep.equal(['result', 'result']);
    }
  });

  it('never believes a flipped byte of the file itself: it refuses the file, or the record', () => {
    const jobs = 8;
    const journal = new SqliteJournal(path);
    for (let i = 0; i < jobs; i++) {
      journal.accept({ jobId: `job-${i}`, attempt: 1, deadline: 1_000, requestHash: hash });
      if (i % 2 === 0) journal.result({ jobId: `job-${i}`, attempt: 1 }, payloadOf(i), 1);
    }
    journal.close(); // checkpoints: all in the file
    const whole = readFileSync(path);
    let noticed = 0;
    const step = Math.max(1, Math.floor(whole.length / 800));
    for (let at = 0; at < whole.length; at += step) {
      const bytes = Buffer.from(whole);
      bytes[at] = (bytes[at] ?? 0) ^ (1 << (at % 8));
      const file = join(dir, 'flipped.db');
      rmSync(`${file}-wal`, { force: true });
      writeFileSync(file, bytes);
      const found = readAll(file, jobs);
      neverMisread(found, `flipped at ${at}`);
      if (found === 'refused' || found.some((r) => r?.note === 'corrupt')) noticed++;
    }
    expect(noticed).to.be.above(20);
  });

  it('stays small over 10 000 jobs, and gives the room back when they are past their time', () => {
    const journal = new SqliteJournal(path);
    const payload = 'x'.repeat(20_000);
    let largest = 0;
    for (let i = 0; i < 10_000; i++) {
      const key = { jobId: `01JDVECTOR${String(i).padStart(16, '0')}`, attempt: 1 };
      journal.accept({ ...key, deadline: 1_000, requestHash: hash });
      journal.result(key, payload, 0);
      journal.receipted(key, 'accepted');
      if (i % 500 === 0) largest = Math.max(largest, statSync(path).size + statSync(`${path}-wal`).size);
    }
    // 200 MB of outputs went through; what stays is a fencing token each until deadline + 24 h
    expect(largest).to.be.below(16 << 20);
    expect(statSync(path).size).to.be.below(10_000 * 700);
    expect(journal.compact(2 * 86_400_000)).to.equal(0);
    journal.close();
    expect(statSync(path).size).to.be.below(64 << 10);
  });

  describe('held by two processes', () => {
    let holder: ChildProcess | undefined;
    afterEach(() => holder?.kill('SIGKILL'));
    const hold = async (): Promise<ChildProcess> => {
      const script = `
        const { SqliteJournal } = await import(${JSON.stringify(join(import.meta.dirname, 'journal.ts'))});
        const journal = new SqliteJournal(${JSON.stringify(path)});
        journal.accept({ jobId: 'promised', attempt: 1, deadline: 1000, requestHash: '${hash}' });
        process.stdout.write('held');
        setInterval(() => journal, 1000);`;
      const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      await new Promise((resolve) => child.stdout?.once('data', resolve));
      return child;
    };

    it('refuses the second with a clear error, and a killed holder leaves no lock behind', async () => {
      holder = await hold();
      expect(() => new SqliteJournal(path))
        .to.throw('held by another process')
        .with.property('code', 'journal_locked');
      const gone = new Promise((resolve) => holder?.once('exit', resolve));
      holder.kill('SIGKILL');
      await gone;
      const journal = new SqliteJournal(path);
      expect(journal.accepted().map((r) => r.jobId)).to.deep.equal(['promised']);
      journal.close();
    });
  });
});
