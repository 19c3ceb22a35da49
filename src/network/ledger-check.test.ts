import { cp, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { expect } from 'chai';
import { API_KEY, ServiceRig } from '../../test/support/service-rig.ts';
import { testSigner } from '../../test/support/signer-kit.ts';
import { resultHash, signStruct } from '../protocol/index.ts';
import { buildProgram } from './commands/index.ts';
import type { LedgerEntry } from './store.ts';

const ANSWER = JSON.stringify({ choices: [{ message: { content: 'Paris is it' } }] });

describe('resultity-network verify-ledger', () => {
  let rig: ServiceRig;
  let dir: string;
  let root: string;
  before(async () => {
    rig = await ServiceRig.start();
    await rig.publish();
    const node = await rig.activeNode();
    for (let i = 0; i < 3; i++) {
      const asked = rig.post(
        '/v1/chat/completions',
        { model: rig.model.ref, messages: [{ role: 'user', content: 'hi' }] },
        { authorization: `Bearer ${API_KEY}` },
      );
      const { offer, payload } = await node.offer();
      node.accept(offer);
      node.send('job.result', node.result(offer, payload, ANSWER));
      await node.receipt();
      await asked;
      // a second, differing one of the same job: `duplicate`
      if (i === 0) {
        node.send('job.result', node.result(offer, payload, ANSWER, { completionTokens: 2 }));
        await node.receipt();
      }
    }
    dir = await mkdtemp(join(tmpdir(), 'resultity-ledger-'));
    root = join(dir, 'root.json');
    await writeFile(root, rig.kit.pinnedRoot);
  });
  after(async () => {
    await rig.stop();
    await rm(dir, { recursive: true, force: true });
  });

  const verify = async (data: string): Promise<{ out: string; error: string }> => {
    const out: string[] = [];
    const io = { out: (l: string) => void out.push(l), err: () => {}, now: () => 0, signal: AbortSignal.abort() };
    const error = await buildProgram(io, '1')
      .exitOverride()
      .parseAsync(['verify-ledger', '--data', data, '--root', root], { from: 'user' })
      .then(
        () => '',
        (e: Error) => e.message,
      );
    return { out: out.join('\n'), error };
  };
  let copies = 0;
  /** Verifies a copy of the ledger that an attacker with the disk in hand has changed. */
  const tampered = async (change: (db: DatabaseSync) => void): Promise<{ out: string; error: string }> => {
    const data = join(dir, `copy-${copies++}`);
    await cp(rig.dir, data, { recursive: true });
    const db = new DatabaseSync(join(data, 'ledger.db'));
    db.exec('drop index one_accepted');
    change(db);
    db.close();
    return verify(data);
  };
  const first = (db: DatabaseSync): LedgerEntry =>
    JSON.parse(
      db.prepare("select row from receipts where verdict = 'accepted' order by rowid limit 1").get()?.row as string,
    );
  const write = (db: DatabaseSync, old: string, entry: LedgerEntry): void => {
    db.prepare('update receipts set row = ? where hash = ?').run(JSON.stringify(entry), old);
  };
  const edit = (change: (entry: LedgerEntry) => object) =>
    tampered((db) => {
      const entry = first(db);
      write(db, entry.resultHash, { ...entry, ...change(entry) });
    });

  it('finds a ledger sound while the service runs on it', async () => {
    const { out, error } = await verify(rig.dir);
    expect(error).to.equal('');
    expect(out).to.contain('4 entries, 3 jobs, 1 nodes');
    expect(out).to.contain('3 accepted, 0 late, 1 duplicate, 0 rejected');
    expect(out).to.contain('sound');
  });

  it('refuses a signed field that was changed, of the result and of the receipt', async () => {
    const result = await edit((e) => ({ result: { ...e.result, completionTokens: 900 } }));
    expect(result.error).to.equal('1 of 4 entries are wrong');
    expect(result.out).to.contain('is not signed by 0x');
    const receipt = await edit((e) => ({
      receipt: { ...e.receipt, receipt: { ...e.receipt.receipt, receivedAt: e.receipt.receipt.receivedAt + 1 } },
    }));
    expect(receipt.out).to.contain('is not signed by an online key of root v1');
  });

  it('refuses a receipt by a key that the root does not name, and one before its root', async () => {
    const sign = (e: LedgerEntry, over: object, by = testSigner('mallory')) => {
      const struct = { ...e.receipt.receipt, ...over };
      return {
        receipt: { receipt: struct, sig: signStruct(by, rig.kit.domain, 'JobReceipt', struct), signer: by.address },
      };
    };
    expect((await edit((e) => sign(e, {}))).out).to.contain('is not signed by an online key of root v1');
    expect((await edit((e) => sign(e, { receivedAt: 1 }, rig.ticketSigner))).out).to.contain('out of its root’s time');
    expect((await edit((e) => sign(e, { rootVersion: 9 }, rig.ticketSigner))).out).to.contain('names root v9');
  });

  it('finds a second accepted result of one job, though every signature of it holds', async () => {
    const { out, error } = await tampered((db) => {
      const entry = first(db);
      const node = testSigner('node');
      const result = { ...entry.result, completionTokens: 4 };
      const hash = resultHash(rig.kit.domain, result);
      const receipt = { ...entry.receipt.receipt, resultHash: hash };
      const made: LedgerEntry = {
        ...entry,
        resultHash: hash,
        result,
        resultSig: signStruct(node, rig.kit.domain, 'JobResult', result),
        receipt: {
          receipt,
          sig: signStruct(rig.ticketSigner, rig.kit.domain, 'JobReceipt', receipt),
          signer: rig.ticketSigner.address,
        },
        tokens: { ...entry.tokens, completionClaimed: 4 },
      };
      db.prepare('insert into receipts values (?, ?, ?, ?, ?, ?)').run(
        hash,
        result.jobId,
        'accepted',
        'caller',
        receipt.receivedAt,
        JSON.stringify(made),
      );
    });
    expect(error).to.equal('1 of 5 entries are wrong');
    expect(out).to.contain('entry 5');
    expect(out).to.contain('a second accepted result of this job; entry 1 is the first');
  });

  it('finds bills above what was claimed or counted, and a bill of a result that was not accepted', async () => {
    expect((await edit((e) => ({ tokens: { ...e.tokens, completionBilled: 4 } }))).out).to.contain(
      'more tokens are billed',
    );
    expect((await edit((e) => ({ tokens: { ...e.tokens, completionCounted: 1 } }))).out).to.contain(
      'more tokens are billed',
    );
    expect((await edit((e) => ({ tokens: { ...e.tokens, promptClaimed: 99 } }))).out).to.contain(
      'differ from the signed',
    );
    const { out } = await tampered((db) => {
      const row = db.prepare("select hash, row from receipts where verdict = 'duplicate'").get() as {
        hash: string;
        row: string;
      };
      const entry = JSON.parse(row.row) as LedgerEntry;
      write(db, row.hash, { ...entry, tokens: { ...entry.tokens, completionBilled: 2 } });
    });
    expect(out).to.contain('a duplicate result is billed');
  });

  it('finds columns that differ from what is signed, text that is no entry, and an offer that is gone', async () => {
    expect(
      (await tampered((db) => db.exec("update receipts set verdict = 'accepted' where verdict = 'duplicate'"))).out,
    ).to.contain('columns differ');
    expect((await tampered((db) => db.exec("update receipts set row = '{}' where rowid = 1"))).out).to.contain(
      'no ledger entry',
    );
    expect((await tampered((db) => db.exec('delete from attempts'))).out).to.contain('accepted without an offer');
  });
});
