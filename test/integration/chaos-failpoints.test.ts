import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { expect } from 'chai';
import { SqliteJournal } from '../../src/agent/journal.ts';
import type { Store } from '../../src/network/index.ts';
import { Failpoints, journalWithFailpoints, pointsOf, storeWithFailpoints } from '../chaos/index.ts';

const hash = `sha256:${'0'.repeat(64)}` as const;
const job = { jobId: 'a', attempt: 1 };

/** A SIGKILL that a test survives: nothing after it runs. */
class Killed extends Error {}
const fatal = (): Failpoints =>
  new Failpoints(() => {
    throw new Killed();
  });

describe('failpoints', () => {
  describe('in the journal', () => {
    let dir: string;
    beforeEach(() => {
      dir = mkdtempSync(join(tmpdir(), 'failpoints-'));
    });
    afterEach(() => rmSync(dir, { recursive: true, force: true }));

    /** Goes through all steps of one job and is killed at `point`; what the disk then holds. */
    const killedAt = (point: ReturnType<typeof pointsOf>[number]) => {
      const points = fatal();
      const file = new SqliteJournal(join(dir, `${point}.db`));
      const journal = journalWithFailpoints(points)(file);
      points.arm(point, 0);
      const live = (): void => {
        journal.accept({ ...job, deadline: 1, requestHash: hash });
        journal.result(job, '{}', 0);
        journal.receipted(job, 'accepted');
      };
      expect(live).to.throw(Killed);
      const state = file.get(job)?.state;
      file.close();
      return state;
    };

    it('kill before a write so that the disk has nothing of it, and after it so that it has all', () => {
      expect(killedAt('accept.before')).to.equal(undefined);
      expect(killedAt('accept.written')).to.equal('accepted');
      expect(killedAt('result.before')).to.equal('accepted');
      expect(killedAt('result.written')).to.equal('result');
      expect(killedAt('receipted.before')).to.equal('result');
      expect(killedAt('receipted.written')).to.equal('receipted');
    });
    it('kill after a write only when its turn of the event loop has sent what it promises', async () => {
      const events: string[] = [];
      const points = new Failpoints(() => events.push('killed'));
      const file = new SqliteJournal(join(dir, 'sent.db'));
      points.arm('accept.sent', 0);
      journalWithFailpoints(points)(file).accept({ ...job, deadline: 1, requestHash: hash });
      events.push('sent');
      await new Promise((resolve) => setImmediate(resolve));
      expect(events).to.deep.equal(['sent', 'killed']);
      file.close();
    });
    it('pass everything else through as it is', () => {
      const file = new SqliteJournal(join(dir, 'plain.db'));
      const journal = journalWithFailpoints(fatal())(file);
      journal.accept({ ...job, deadline: 1, requestHash: hash });
      expect(journal.accepted().map((r) => r.jobId)).to.deep.equal(['a']);
      expect([journal.highest('a')?.attempt, journal.count(), journal.unreceipted().length]).to.deep.equal([1, 1, 0]);
      journal.close();
      expect(() => file.count()).to.throw();
    });
  });

  it('in the store kill before the commit of a receipt, after it, and after it was sent', async () => {
    const events: string[] = [];
    const inner = {
      saveReceipt: () => events.push('saved'),
      durable: async () => void events.push('committed'),
    } as unknown as Store;
    const points = new Failpoints(() => events.push('killed'));
    const store = storeWithFailpoints(points)(inner);
    for (const point of pointsOf('network')) {
      points.arm(point, 0);
      store.saveReceipt({} as never);
      await store.durable();
      events.push('sent');
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(events.join(' ')).to.equal(
      ['saved killed committed sent', 'saved committed killed sent', 'saved committed sent killed'].join(' '),
    );
  });
  it('let so many writes pass as they were told, by a line on a stream, and kill once', () => {
    let kills = 0;
    const points = new Failpoints(() => kills++);
    const input = new PassThrough();
    points.listen(input);
    input.write('accept.before 2\n');
    input.read();
    const after: number[] = [];
    for (let i = 0; i < 5; i++) {
      points.pass('accept.before');
      points.pass('result.before');
      after.push(kills);
    }
    expect(after).to.deep.equal([0, 0, 1, 1, 1]);
  });
});
