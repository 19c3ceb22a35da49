import { expect } from 'chai';
import { KINDS, type RunReport, run, table } from '../chaos/index.ts';

// `npm run chaos -- --disconnects 1000` is the whole of it; this one shows in a minute that it still stands.
describe('network service and agent torn apart under load', function () {
  this.timeout(180_000);
  let report: RunReport;
  before(async () => {
    report = await run({ disconnects: 6, seed: 4, clients: 64, open: 50, limitMs: 90_000, say: () => {} });
    if (report.stopped !== undefined || report.verdict.violations.length > 0)
      process.stderr.write(`${table(report)}\n`);
  });

  it('goes through every kind of disconnect with at least 50 jobs open, half of them streaming', () => {
    expect(report.stopped).to.equal(undefined);
    expect(new Set(report.faults.map((f) => f.kind))).to.deep.equal(new Set(KINDS));
    expect(Math.min(...report.faults.map((f) => f.open))).to.be.at.least(50);
    expect(Math.min(...report.faults.map((f) => f.streaming))).to.be.at.least(25);
  });
  it('loses no job, accepts none twice, and breaks neither I1, I2 nor I3', () => {
    expect(report.verdict.violations).to.deep.equal([]);
    expect([report.verdict.lost, report.verdict.acceptedTwice]).to.deep.equal([0, 0]);
  });
  it('leaves a ledger of which every signature holds, and callers with answers', () => {
    expect(report.signaturesHold).to.equal(true);
    expect(report.verdict.clients.complete).to.be.above(0);
  });
});
