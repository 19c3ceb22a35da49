import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { expect } from 'chai';
import { SqliteJournal } from './journal.ts';

const hash = `sha256:${'0'.repeat(64)}` as const;
const one = { jobId: 'a', attempt: 1 };

describe('the journal', () => {
  let dir: string;
  let path: string;
  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), 'journal-'));
    path = join(dir, 'journal.db');
  });
  afterEach(() => rmSync(dir, { recursive: true, force: true }));

  it('remembers over a restart what was accepted, and the exact bytes of a result', () => {
    const before = new SqliteJournal(path);
    before.accept({ ...one, deadline: 1, requestHash: hash });
    before.accept({ jobId: 'b', attempt: 3, deadline: 1, requestHash: hash });
    before.result(one, '{"x":"é"}', 4);
    before.close();
    const after = new SqliteJournal(path);
    expect(after.unreceipted()[0]).to.include({ jobId: 'a', payload: null, lines: 4 });
    expect(after.get(one)?.payload).to.equal('{"x":"é"}');
    expect(after.accepted().map((r) => r.jobId)).to.deep.equal(['b']);
    expect(after.highest('b')?.attempt).to.equal(3);
    after.close();
  });
  it('drops the output when the receipt came, and keeps the fencing token until 24 h after the deadline', () => {
    const journal = new SqliteJournal(path);
    journal.accept({ ...one, deadline: 1_000, requestHash: hash });
    journal.result(one, '{}', 0);
    journal.receipted(one, 'accepted');
    expect(journal.get(one)).to.include({ state: 'receipted', payload: null, note: 'accepted' });
    expect(journal.compact(1_000 + 86_400_000)).to.equal(1);
    expect(journal.compact(1_001 + 86_400_000)).to.equal(0);
    journal.close();
  });
  it('never believes a record with a flipped bit, but keeps its fencing token', () => {
    const journal = new SqliteJournal(path);
    journal.accept({ ...one, deadline: 1_000, requestHash: hash });
    journal.result(one, '{"output":"right"}', 0);
    journal.close();
    const raw = new DatabaseSync(path);
    raw.exec(`UPDATE job SET payload = '{"output":"wrong"}'`);
    raw.close();
    const damaged: string[] = [];
    const after = new SqliteJournal(path, (key) => damaged.push(key.jobId));
    expect(after.unreceipted().filter((r) => r.state === 'result')).to.deep.equal([]);
    expect(damaged).to.deep.equal(['a']);
    expect(after.highest('a')).to.include({ attempt: 1, state: 'ended', payload: null });
    after.close();
  });
  it('belongs to one process', () => {
    const first = new SqliteJournal(path);
    expect(() => new SqliteJournal(path)).to.throw('journal');
    first.close();
  });
});
