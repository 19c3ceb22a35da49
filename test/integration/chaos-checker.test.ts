import { join } from 'node:path';
import { expect } from 'chai';
import { check, type History, readHistory, type Violation } from '../chaos/index.ts';

const FIXTURES = join(import.meta.dirname, '../chaos/fixtures');
const T = 1_000_000;
const hash = (text: string): string => `sha256:${text.padEnd(64, '0')}`;

type Open<K extends keyof History> = Partial<History[K][number]>;
const ledger = (jobId: string, attempt = 1, verdict = 'accepted', billed = 5): History['ledger'][number] => ({
  result: { jobId, attempt, node: '0xaa', requestHash: hash('a'), outputHash: hash('b') },
  resultSig: '0x01',
  receipt: { receipt: { jobId, attempt, verdict } },
  tokens: { promptBilled: 0, completionBilled: billed },
});
const call = (request: string): History['calls'][number] => ({
  at: T,
  path: '/v1/chat/completions',
  request,
  end: 'done',
});
const journal = (jobId: string, over: Open<'journal'> = {}): History['journal'][number] => ({
  at: T + 100,
  jobId,
  attempt: 1,
  state: 'receipted',
  requestHash: hash('a'),
  note: 'accepted',
  payload: null,
  ...over,
});
const signed = { sha256: 'one', sig: '0x01', outputHash: hash('b') };
const client = (over: Open<'clients'> = {}): History['clients'][number] => ({
  id: 1,
  stream: true,
  at: T,
  endedAt: T + 50,
  outcome: 'complete',
  lines: 3,
  jobId: 'j',
  outputHash: hash('b'),
  ...over,
});
/** A SIGKILL of the service; `diedAt` left out is any other disconnect. */
const fault = (over: Open<'faults'> = {}): History['faults'][number] => ({
  n: 1,
  kind: 'kill-network',
  node: '0xaa',
  at: T + 4_000,
  healedAt: T + 7_000,
  recoveredMs: 100,
  open: 50,
  streaming: 25,
  atNode: { open: 50, streaming: 25 },
  phases: { accepted: 50, result: 0 },
  ...over,
});

/** One job, from the call to the receipt, with nothing wrong; a test replaces what it breaks. */
const history = (over: Partial<History> = {}): History => ({
  ledger: [ledger('j')],
  calls: [call('j.1')],
  journal: [journal('j', { at: T, state: 'result', note: '', payload: signed }), journal('j')],
  clients: [client()],
  faults: [],
  ...over,
});
const found = (over: Partial<History>): string[] =>
  check(history(over)).violations.map((v: Violation) => `${v.invariant} ${v.key}: ${v.message}`);

describe('the offline checker', () => {
  it('finds nothing in a history where all went well', () => {
    expect(found({})).to.deep.equal([]);
    expect(check(history()).clients.complete).to.equal(1);
  });
  it('finds nothing in a job that was lost with the agent and done by a second attempt', () => {
    expect(
      found({
        ledger: [ledger('j', 2)],
        calls: [call('j.1'), call('j.2')],
        journal: [journal('j', { state: 'ended', note: 'agent_restart' }), journal('j', { attempt: 2 })],
      }),
    ).to.deep.equal([]);
  });

  describe('I1: what was receipted stays', () => {
    it('reports a receipt of which the ledger knows nothing (a service that lost its disk)', () => {
      expect(found({ ledger: [], clients: [] })).to.deep.equal([
        'I1 j.1: receipted as accepted, and not in the ledger',
      ]);
    });
    it('reports a ledger that holds another verdict than the receipt', () => {
      expect(found({ ledger: [ledger('j', 1, 'late', 0)], clients: [] })).to.deep.equal([
        'I1 j.1: receipted as accepted, and the ledger says otherwise',
      ]);
    });
    it('reports a caller whose answer nobody kept, and one who got another answer', () => {
      expect(found({ clients: [client({ jobId: 'other' })] })[0]).to.match(
        /^I1 client 1: .*no accepted result is kept$/,
      );
      expect(found({ clients: [client({ outputHash: hash('c') })] })[0]).to.match(/^I1 client 1: got another output/);
    });
  });

  describe('I2: a signed result is kept and resent as it is', () => {
    it('reports bytes that changed between two looks', () => {
      const other = { ...signed, sha256: 'two' };
      const rows = [
        journal('j', { at: T, state: 'result', payload: signed }),
        journal('j', { at: T + 1, state: 'result', payload: other }),
        journal('j'),
      ];
      expect(found({ journal: rows })).to.deep.equal(['I2 j.1: the signed bytes changed while it waited']);
    });
    it('reports a result that vanished, was given up, or was never receipted', () => {
      const before = journal('j', { at: T, state: 'result', payload: signed });
      const rest = { ledger: [], clients: [], calls: [] };
      expect(found({ ...rest, journal: [before, journal('k', { state: 'ended' })] })).to.deep.equal([
        'I2 j.1: a signed result is no longer in the journal',
      ]);
      expect(found({ ...rest, journal: [before, journal('j', { state: 'ended', note: 'corrupt' })] })).to.deep.equal([
        'I2 j.1: a signed result was given up: ended (corrupt)',
      ]);
      expect(found({ ...rest, journal: [before, journal('j', { state: 'result', payload: signed })] })).to.deep.equal([
        'I2 j.1: never receipted, though the run was left to settle',
      ]);
    });
    it('reports a ledger that holds another signature than the one first signed', () => {
      expect(found({ ledger: [{ ...ledger('j'), resultSig: '0x02' }] })).to.deep.equal([
        'I2 j.1: the ledger holds another result than the one that was signed first',
      ]);
    });
    it('reports an attempt that the node took and never ended', () => {
      const open = journal('k', { state: 'accepted', note: '' });
      expect(found({ journal: [journal('j'), open] })).to.deep.equal(['I2 k.1: still open when all had ended (1)']);
    });
  });

  describe('I3: once to the engine, once on the bill', () => {
    it('reports an attempt that reached the engine twice', () => {
      expect(found({ calls: [call('j.1'), call('j.1')] })).to.deep.equal(['I3 j.1: reached the engine 2 times']);
    });
    it('reports an attempt that reached the engine before the journal held it', () => {
      expect(found({ calls: [call('j.1'), call('k.1')] })).to.deep.equal([
        'I3 k.1: reached the engine without a record in the journal',
      ]);
    });
    it('reports a job that two attempts were accepted and billed for', () => {
      const verdict = check(
        history({ ledger: [ledger('j'), ledger('j', 2)], journal: [journal('j'), journal('j', { attempt: 2 })] }),
      );
      expect(verdict.violations.map((v) => v.message)).to.deep.equal(['accepted 2 times', 'billed 2 times']);
      expect(verdict.acceptedTwice).to.equal(1);
    });
    it('reports a bill for what was not accepted', () => {
      const late = journal('j', { note: 'late' });
      expect(found({ ledger: [ledger('j', 1, 'late')], journal: [late], clients: [] })).to.deep.equal([
        'I3 j.1: billed without being accepted',
      ]);
    });
  });

  describe('lost: neither an answer nor an error', () => {
    it('reports a caller who waited in vain, and a stream that only looked complete', () => {
      expect(found({ clients: [client({ outcome: 'hung' })] })[0]).to.match(/^lost client 1: no end/);
      expect(found({ clients: [client({ outcome: 'truncated' })] })[0]).to.match(
        /^lost client 1: ended cleanly after 3 lines/,
      );
    });
    it('takes a stream that ended cleanly without [DONE] for lost, also in the moment in which the service was killed', () => {
      const clients = [client({ outcome: 'truncated', endedAt: T + 5_000 })];
      expect(found({ clients, faults: [fault({ diedAt: T + 5_000 })] })).to.deep.equal([
        'lost client 1: ended cleanly after 3 lines without [DONE] or error (job j)',
      ]);
    });
    it('counts a connection that broke with the killed service in a column of its own', () => {
      const clients = [client({ outcome: 'cut', raised: 'ECONNRESET', endedAt: T + 5_000 })];
      const verdict = check(history({ clients, faults: [fault({ diedAt: T + 5_400 })] }));
      expect(verdict.violations).to.deep.equal([]);
      expect([verdict.cutWithNetwork, verdict.clients.cut, verdict.lost]).to.deep.equal([1, 1, 0]);
    });
    it('counts it there too when the machine was slow to take the process apart, or to tell the caller', () => {
      const faults = [fault({ killedAt: T + 5_000, diedAt: T + 8_000 })];
      for (const endedAt of [T + 5_100, T + 12_900]) {
        const clients = [client({ outcome: 'cut', raised: 'ECONNRESET', endedAt })];
        expect(check(history({ clients, faults })).cutWithNetwork, String(endedAt)).to.equal(1);
      }
    });
    it('takes a broken connection for lost when the client raised no error, or the service did not die at that moment', () => {
      const faults = [fault({ diedAt: T + 5_000 })];
      const cut = (endedAt: number, raised?: string): string[] =>
        found({ clients: [client({ outcome: 'cut', endedAt, ...(raised ? { raised } : {}) })], faults });
      expect(cut(T + 5_000)).to.deep.equal(['lost client 1: the connection broke, and the client raised no error']);
      for (const at of [T + 3_900, T + 10_100])
        expect(cut(at, 'ECONNRESET')).to.deep.equal([
          'lost client 1: the connection broke (ECONNRESET) while the service was up',
        ]);
      // one that came after the kill was not held by the service that died
      const later = client({ outcome: 'cut', raised: 'ECONNRESET', at: T + 5_100, endedAt: T + 6_500 });
      expect(found({ clients: [later], faults })).to.have.length(1);
      const clients = [client({ outcome: 'cut', raised: 'ECONNRESET', endedAt: T + 5_000 })];
      expect(found({ clients, faults: [fault({ kind: 'reset' })] })).to.have.length(1);
    });
    it('counts errors in mid-stream apart, and takes none of them for lost', () => {
      const clients = [
        client({ outcome: 'error', code: 'interrupted', lines: 2 }),
        client({ outcome: 'error', code: 'unavailable', lines: 0 }),
      ];
      const verdict = check(history({ clients }));
      expect([verdict.midStream, verdict.clients.error, verdict.lost]).to.deep.equal([1, 2, 0]);
    });
  });

  describe('over the records of a real run', () => {
    it('finds nothing in them as they are', () => {
      const real = readHistory(FIXTURES);
      expect(real.ledger.length * real.calls.length * real.journal.length * real.clients.length).to.be.above(0);
      expect(check(real).violations).to.deep.equal([]);
    });
    it('reports I1 when the ledger loses its last receipted line', () => {
      const real = readHistory(FIXTURES);
      const last = real.ledger.at(-1)!;
      const broken = check({ ...real, ledger: real.ledger.slice(0, -1) });
      expect(broken.violations.map((v) => [v.invariant, v.key])).to.deep.include([
        'I1',
        `${last.result.jobId}.${last.result.attempt}`,
      ]);
      expect(broken.lost).to.be.above(0);
    });
    it('reports I3 when a call is there twice', () => {
      const real = readHistory(FIXTURES);
      const job = real.calls.find((c) => c.request !== undefined)!;
      expect(check({ ...real, calls: [...real.calls, job] }).violations.map((v) => v.invariant)).to.deep.equal(['I3']);
    });
  });
});
