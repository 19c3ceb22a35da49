import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { testSigner } from '../../test/support/signer-kit.ts';
import type { Verdict } from '../protocol/index.ts';
import { openLedgerFile } from './ledger-file.ts';
import { SqliteStore } from './sqlite-store.ts';
import type { AttemptRow, LedgerEntry } from './store.ts';

const NODE = testSigner('node').address;
const offer = (jobId: string, attempt = 1): AttemptRow =>
  ({ jobId, attempt, node: NODE, keyId: 'caller', kind: 'completions', stream: false }) as AttemptRow;
const entry = (jobId: string, hash: string, verdict: Verdict = 'accepted'): LedgerEntry =>
  ({
    resultHash: hash,
    result: { jobId },
    resultSig: '0x',
    receipt: { receipt: { jobId, verdict, receivedAt: 1 } },
    keyId: 'caller',
  }) as unknown as LedgerEntry;

describe('the store', () => {
  let dir: string;
  let path: string;
  let store: SqliteStore;
  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), 'resultity-store-'));
    path = join(dir, 'ledger.db');
    store = new SqliteStore(path);
  });
  afterEach(async () => {
    store.close();
    await rm(dir, { recursive: true, force: true });
  });
  /** What another process reads: only what was committed. */
  const onDisk = (): string[] => {
    const file = openLedgerFile(path);
    const hashes = [...file.receipts()].map((r) => r.hash);
    file.close();
    return hashes;
  };
  const offerOnDisk = (jobId: string): boolean => {
    const file = openLedgerFile(path);
    const found = file.attempt(jobId, 1) !== undefined;
    file.close();
    return found;
  };

  it('commits the receipts of one turn together, reads them back at once, and says when they are durable', async () => {
    store.noteAttempt(offer('a'));
    store.saveReceipt(entry('a', '1'));
    store.saveReceipt(entry('b', '2'));
    expect(store.isAccepted('a')).to.equal(true);
    expect(onDisk()).to.deep.equal([]);
    await store.durable();
    expect(onDisk()).to.deep.equal(['1', '2']);
    expect(offerOnDisk('a')).to.equal(true);
  });
  it('lets no second accepted result of a job into a group, and keeps the rest of it', async () => {
    store.saveReceipt(entry('a', '1'));
    expect(() => store.saveReceipt(entry('a', '2'))).to.throw(/UNIQUE/);
    store.saveReceipt(entry('a', '3', 'duplicate'));
    await store.durable();
    expect(onDisk()).to.deep.equal(['1', '3']);
  });
  it('has nothing to wait for when nothing is open', async () => {
    await store.durable();
    store.saveReceipt(entry('a', '1'));
    await store.durable();
    await store.durable();
    expect(onDisk()).to.deep.equal(['1']);
  });
  it('writes offers by the end of the turn, and knows them before', async () => {
    store.noteAttempt(offer('a'));
    store.noteAttempt(offer('a', 2));
    expect(store.attempt('a', 1)?.node).to.equal(NODE);
    expect(store.latestAttempt('a')).to.equal(2);
    expect(offerOnDisk('a')).to.equal(false);
    await new Promise((done) => setImmediate(done));
    expect(offerOnDisk('a')).to.equal(true);
    expect(store.latestAttempt('a')).to.equal(2);
  });
  it('shows a caller no receipt that is not durable, and keeps all of an open group when it is closed', () => {
    store.saveReceipt(entry('a', '1'));
    expect(store.receipts('a', 'caller')).to.have.length(1);
    expect(onDisk()).to.deep.equal(['1']);
    store.saveReceipt(entry('b', '2'));
    store.close();
    expect(onDisk()).to.deep.equal(['1', '2']);
    store = new SqliteStore(path);
  });
  it('makes a node’s row durable at once, and with it what waited', () => {
    store.saveReceipt(entry('a', '1'));
    expect(store.useBind('owner', 'nonce')).to.equal(true);
    expect(store.useBind('owner', 'nonce')).to.equal(false);
    expect(onDisk()).to.deep.equal(['1']);
  });
});
