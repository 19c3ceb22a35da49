import { expect } from 'chai';
import fc from 'fast-check';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { type Evictable, evictions, lacking, lackingText, missingBytes } from './admission.ts';
import { ProgressMeter } from './progress.ts';
import { rateLimit } from './rate-limit.ts';

const MIB = 2 ** 20;
const model = (n: number, over: Partial<Evictable>): Evictable => ({
  digest: `sha256:${String(n).padStart(64, '0')}`,
  bytes: 10,
  lastUsed: n,
  inUse: false,
  listed: 'no',
  ...over,
});

describe('disk admission', () => {
  it('counts what this model lacks, what other downloads will still write, and the head room', () => {
    const need = { missing: 100 * MIB, others: 50 * MIB, reserve: 10 * MIB };
    expect(lacking(need, 160 * MIB)).to.equal(0);
    expect(lacking(need, 160 * MIB - 1)).to.equal(1);
    expect(lackingText(need, 100 * MIB, '/models')).to.equal(
      '60 MiB missing on /models: 100 MiB to download, 50 MiB of other downloads, 10 MiB kept free, 100 MiB free',
    );
  });

  it('takes the larger of requires.diskMiB and the sum of the files', () => {
    expect(missingBytes(5 * MIB, 8, 2 * MIB)).to.equal(6 * MIB);
    expect(missingBytes(5 * MIB, 1, 2 * MIB)).to.equal(3 * MIB);
    expect(missingBytes(5 * MIB, 0, 6 * MIB)).to.equal(0);
  });

  it('lets unlisted models go first, active ones last, the least recently used first', () => {
    const held = [
      model(1, { listed: 'active' }),
      model(2, { listed: 'other' }),
      model(4, { listed: 'no' }),
      model(3, { listed: 'no' }),
      model(0, { listed: 'no', inUse: true }),
    ];
    const order = (bytes: number): number[] => evictions(held, bytes).map((d) => Number(d.slice(7)));
    expect(order(10)).to.deep.equal([3]);
    expect(order(11)).to.deep.equal([3, 4]);
    expect(order(30)).to.deep.equal([3, 4, 2]);
    expect(order(40)).to.deep.equal([3, 4, 2, 1]);
    expect(order(41), 'all of it would not do').to.deep.equal([]);
  });

  it('never lets one in use go, nor one more than is needed, nor an active one while another would do', () => {
    const some = fc.array(
      fc.record({
        bytes: fc.nat(100),
        lastUsed: fc.nat(100),
        inUse: fc.boolean(),
        listed: fc.constantFrom('active', 'other', 'no'),
      }),
      { maxLength: 8 },
    );
    fc.assert(
      fc.property(some, fc.nat(300), (models, need) => {
        const held = models.map((m, i) => model(i, m as Partial<Evictable>));
        const going = evictions(held, need).map((d) => held.find((m) => m.digest === d)!);
        const sum = (of: readonly Evictable[]): number => of.reduce((a, m) => a + m.bytes, 0);
        expect(going.some((m) => m.inUse)).to.equal(false);
        if (going.length > 0) {
          expect(sum(going)).to.be.at.least(need);
          expect(sum(going.slice(0, -1))).to.be.below(need);
        } else if (need > 0) expect(sum(held.filter((m) => !m.inUse))).to.be.below(need);
        const others = sum(held.filter((m) => !m.inUse && m.listed !== 'active'));
        if (others >= need) expect(going.some((m) => m.listed === 'active')).to.equal(false);
      }),
    );
  });
});

describe('rate and progress', () => {
  it('lets a quarter of a second through at once and holds the rest to the rate', async () => {
    const clock = new FakeClock();
    const pace = rateLimit(1_000, clock);
    const waits: boolean[] = [];
    const work = (async () => {
      for (let i = 0; i < 9; i++) waits.push(await pace.take(250));
    })();
    await clock.advance(1_000);
    expect(waits).to.have.length(5);
    await clock.advance(999);
    expect(waits).to.have.length(8);
    await clock.advance(1);
    await work;
    expect(waits).to.deep.equal([false, true, true, true, true, true, true, true, true]);
  });

  it('shares one rate among all who take, and ends when aborted', async () => {
    const clock = new FakeClock();
    const pace = rateLimit(1_000, clock);
    const ended: string[] = [];
    for (const name of ['a', 'b']) void pace.take(1_000).then(() => ended.push(name));
    await clock.advance(750);
    expect(ended).to.deep.equal(['a']);
    const stop = new AbortController();
    const gone = pace.take(1_000, stop.signal).catch((e: unknown) => e);
    stop.abort('enough');
    expect(await gone).to.equal('enough');
    await clock.advance(1_000);
    expect(ended).to.deep.equal(['a', 'b']);
    expect(clock.waiting).to.equal(0);
  });

  it('estimates from what comes, not from what lay there, and says nothing while nothing comes', async () => {
    const clock = new FakeClock();
    const meter = new ProgressMeter(10_000, clock);
    expect(meter.at(4_000)).to.include({ bytesPerSecond: 0, etaSeconds: null });
    await clock.advance(2_000);
    expect(meter.at(6_000)).to.deep.equal({ bytes: 6_000, total: 10_000, bytesPerSecond: 1_000, etaSeconds: 4 });
    await clock.advance(1_000);
    expect(meter.at(6_000).bytesPerSecond).to.equal(900);
    await clock.advance(600_000);
    expect(meter.at(6_000).etaSeconds).to.equal(null);
  });
});
