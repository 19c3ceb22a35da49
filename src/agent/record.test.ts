import { createHash } from 'node:crypto';
import { mkdtempSync, readdirSync, rmSync, truncateSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { until } from '../../test/support/until.ts';
import { createLogger } from '../lib/log.ts';
import { NetworkError } from './http.ts';
import { ExecutionRecord } from './record.ts';

/** What the network does with chunks, by docs/protocol.md §8. */
class Held {
  readonly lines: string[] = [];
  posts = 0;
  post = async (_path: string, body: string): Promise<unknown> => {
    this.posts++;
    const before = this.lines.length;
    for (const line of body.trimEnd().split('\n')) {
      const { n, prevHash } = JSON.parse(line);
      if (n <= before) continue;
      const last = this.lines.at(-1);
      const hash = last === undefined ? '0'.repeat(64) : createHash('sha256').update(last).digest('hex');
      if (n !== this.lines.length + 1 || prevHash !== `sha256:${hash}`) {
        this.lines.length = before;
        throw new NetworkError('log_gap', 'does not join', { status: 409, lastN: before });
      }
      this.lines.push(line);
    }
    return { lastN: this.lines.length };
  };
}

describe('the execution record', () => {
  const clock = new FakeClock();
  let dirs: string[];
  let held: Held;
  let logs: string[];
  let lost: string[];
  let made = 0;

  const open = async (dir: string): Promise<ExecutionRecord> => {
    const logger = createLogger('test', 'debug', { write: (line) => void logs.push(line) });
    const record = new ExecutionRecord({ dir, clock, logger, http: held, onLost: (m) => lost.push(m) });
    await record.open();
    return record;
  };
  const folder = (): string => {
    dirs.push(mkdtempSync(join(tmpdir(), 'record-')));
    return dirs.at(-1) as string;
  };
  const write = (record: ExecutionRecord, count: number): void => {
    for (let i = 0; i < count; i++) record.write('job.done', { jobId: `job-${++made}` });
  };

  beforeEach(() => {
    dirs = [];
    logs = [];
    lost = [];
    held = new Held();
  });
  afterEach(() => {
    for (const dir of dirs) rmSync(dir, { recursive: true, force: true });
  });

  it('is one chain over restarts, sent from where the network stopped', async () => {
    const dir = folder();
    const first = await open(dir);
    write(first, 3);
    await first.upload();
    write(first, 2);
    await first.upload();
    const second = await open(dir);
    write(second, 1);
    await second.upload();
    expect(held.lines.map((l) => JSON.parse(l).n)).to.deep.equal([1, 2, 3, 4, 5, 6]);
    expect(lost).to.deep.equal([]);
  });

  it('is sent again as a whole to a network that lost it', async () => {
    const dir = folder();
    const record = await open(dir);
    write(record, 3);
    await record.upload();
    write(record, 2);
    await record.upload();
    held.lines.length = 0;
    write(record, 1);
    await record.upload();
    expect(held.lines.map((l) => JSON.parse(l).n)).to.deep.equal([1, 2, 3, 4, 5, 6]);
    expect(lost).to.deep.equal([]);
  });

  for (const [what, before, after] of [
    ['fewer lines than the network holds', 5, 3],
    ['as many', 5, 5],
    ['more', 5, 9],
  ] as const)
    it(`gives up once, and says so once, when a lost record begins anew with ${what}`, async () => {
      const first = await open(folder());
      write(first, before);
      await first.upload();
      const chain = [...held.lines];
      const dir = folder();
      const second = await open(dir);
      write(second, after);
      await second.upload();
      write(second, 1);
      await second.upload();
      const { posts } = held;
      for (let i = 0; i < 20; i++) {
        write(second, 1);
        await second.upload();
      }
      expect(held.posts).to.equal(posts);
      expect(posts).to.be.at.most(4);
      expect(held.lines).to.deep.equal(chain);
      expect(lost).to.have.length(1);
      expect(logs.filter((l) => l.includes('record_lost'))).to.have.length(1);
      expect(readdirSync(dir)).not.to.deep.equal([]);
    });

  it('forgets what is older than seven days, but nothing of a job whose result has no receipt', async () => {
    const dir = folder();
    for (const jobId of ['settled', 'waiting']) {
      const record = await open(dir);
      record.write('job.accepted', { jobId, attempt: 1 });
      await record.upload();
    }
    const record = await open(dir);
    record.write('agent.started', {});
    await record.upload();
    const before = readdirSync(dir).sort();
    expect(before).to.have.length(3);
    const old = (clock.now() - 8 * 86_400_000) / 1000;
    for (const name of before.slice(0, 2)) utimesSync(join(dir, name), old, old);
    utimesSync(join(dir, before[2] as string), clock.now() / 1000, clock.now() / 1000);
    record.unreceipted = () => ['waiting'];
    await record.prune();
    expect(readdirSync(dir).sort()).to.deep.equal(before.slice(1));
    record.unreceipted = () => [];
    await record.prune();
    expect(readdirSync(dir).sort()).to.deep.equal(before.slice(2));
  });

  it('keeps at most 256 MiB, the newest, and what is said of a job whose result has no receipt', async () => {
    const dir = folder();
    /** A chunk of so many bytes that takes no room on the disk. */
    const chunk = (n: number, bytes: number, jobId = 'settled'): string => {
      const name = `${String(n).padStart(16, '0')}.ndjson`;
      writeFileSync(join(dir, name), `${JSON.stringify({ n, jobId })}\n`);
      truncateSync(join(dir, name), bytes);
      utimesSync(join(dir, name), clock.now() / 1000, clock.now() / 1000);
      return name;
    };
    const record = await open(dir);
    const all = [chunk(2, 1 << 20, 'waiting'), chunk(3, 100), chunk(4, 128 << 20), chunk(5, 128 << 20)];
    record.unreceipted = () => ['waiting'];
    await record.prune();
    expect(readdirSync(dir).sort()).to.deep.equal([all[0], all[2], all[3]]);
    record.unreceipted = () => [];
    await record.prune();
    expect(readdirSync(dir).sort()).to.deep.equal(all.slice(2));
  });

  it('is bounded also while the network is away', async () => {
    const dir = folder();
    const away = { post: () => Promise.reject(new NetworkError('unreachable', 'away')) };
    const logger = createLogger('test', 'silent');
    const record = new ExecutionRecord({ dir, clock, logger, http: away, onLost: (m) => lost.push(m) });
    await record.open();
    write(record, 1);
    await record.upload().catch(() => {});
    const [old] = readdirSync(dir);
    const weekAgo = (clock.now() - 8 * 86_400_000) / 1000;
    utimesSync(join(dir, old as string), weekAgo, weekAgo);
    const stop = new AbortController();
    const run = record.run(stop.signal);
    write(record, 1);
    record.flush();
    await clock.advance(5_000);
    await until('the old chunk goes', () => !readdirSync(dir).includes(old as string));
    expect(readdirSync(dir)).to.have.length(1);
    stop.abort();
    await run;
  });
});
