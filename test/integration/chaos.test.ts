import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { expect } from 'chai';
import { check, type RunReport, readHistory, run, table } from '../chaos/index.ts';

// `npm run chaos -- --disconnects 1000` is the whole of it; this one shows in some seconds that it still stands.
const SEED = 1273;
const KINDS_OF_SEED = ['half-open', 'failpoint-agent', 'duplicate', 'failpoint-network', 'blackhole-up'];

describe('network service and agents torn apart under load', function () {
  this.timeout(120_000);
  let report: RunReport;
  let dir: string;
  before(async () => {
    dir = mkdtempSync(join(tmpdir(), 'resultity-chaos-'));
    const size = { disconnects: KINDS_OF_SEED.length, nodes: 1, slots: 60, open: 50, tokenMs: 200 };
    report = await run({
      ...size,
      seed: SEED,
      plan: { patient: false },
      limitMs: 60_000,
      dir: join(dir, 'run'),
      say: () => {},
    });
    if (report.stopped !== undefined || report.verdict.violations.length > 0)
      process.stderr.write(`${table(report)}\n`);
  });
  after(() => rmSync(dir, { recursive: true, force: true }));

  it('goes through its disconnects with at least 50 jobs open at the node that is struck, half of them streaming', () => {
    const { faults } = report.history;
    expect(report.stopped).to.equal(undefined);
    expect(faults.map((f) => f.kind).sort()).to.deep.equal([...KINDS_OF_SEED].sort());
    expect(faults.flatMap((f) => f.point ?? [])).to.have.length(2);
    expect(Math.min(...faults.map((f) => f.atNode.open))).to.be.at.least(50);
    expect(Math.min(...faults.map((f) => f.atNode.streaming))).to.be.at.least(25);
  });
  it('loses no job, accepts none twice, and breaks neither I1, I2 nor I3', () => {
    expect(report.verdict.violations).to.deep.equal([]);
    expect([report.verdict.lost, report.verdict.acceptedTwice]).to.deep.equal([0, 0]);
  });
  it('leaves a ledger of which every signature holds, and callers with answers', () => {
    expect(report.signaturesHold).to.equal(true);
    expect(report.verdict.clients.complete).to.be.above(0);
  });
  it('reports I1 when the service loses the end of its disk after it has sent receipts', () => {
    const data = join(report.dir, 'data');
    const file = new DatabaseSync(join(data, 'ledger.db'));
    const { changes } = file
      .prepare('DELETE FROM receipts WHERE hash IN (SELECT hash FROM receipts ORDER BY received_at DESC LIMIT 5)')
      .run();
    file.close();
    expect(changes).to.equal(5);
    const argv = ['src/network/main.ts', 'ledger', 'export', '--data', data];
    const { stdout } = spawnSync(process.execPath, argv, { encoding: 'utf8', maxBuffer: 64 << 20 });
    writeFileSync(join(report.dir, 'ledger.ndjson'), stdout);
    const { violations } = check(readHistory(report.dir));
    expect(violations.filter((v) => v.invariant === 'I1' && v.message.includes('not in the ledger'))).to.have.length(5);
  });
});
