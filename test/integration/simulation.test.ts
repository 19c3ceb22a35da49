import { expect } from 'chai';
import {
  FAULTS,
  type Published,
  publish,
  type SimReport,
  SimSite,
  simulate,
  unpublish,
  World,
} from '../simulation/index.ts';

const SEEDS = 30;
const HOUR = 3_600_000;

describe('node and network in one process, under a fake clock, a fake network and seeded faults', function () {
  this.timeout(600_000);
  let published: Published;
  const reports: SimReport[] = [];
  before(async () => {
    published = await publish();
  });
  after(() => unpublish(published));

  it('repeats a seed to the byte', async () => {
    const [a, b] = [await simulate({ seed: 29, published }), await simulate({ seed: 29, published })];
    expect(b.trace).to.deep.equal(a.trace);
    expect(b.digest).to.equal(a.digest);
    expect((await simulate({ seed: 30, published })).digest).to.not.equal(a.digest);
  });

  it(`keeps I1, I2, I3, I5, I7 and I10 over ${SEEDS} seeds`, async () => {
    for (let seed = 1; seed <= SEEDS; seed++) reports.push(await simulate({ seed, published }));
    const breaches = reports.flatMap((r) => r.breaches.map((b) => `seed ${r.seed}: ${b}`));
    expect(breaches).to.deep.equal([]);
  });

  it('struck with every kind of fault, and got work done all the same', () => {
    const struck = new Set(reports.flatMap((r) => r.faults));
    expect(Object.keys(FAULTS).filter((kind) => !struck.has(kind as never))).to.deep.equal([]);
    for (const { verdict } of reports) expect(verdict.clients.complete).to.be.above(30);
  });

  it('finds a service whose disk forgets what it promised', async () => {
    const found = await breachesOver((seed) => simulate({ seed, published, lies: { store: 12 } }));
    expect(found.some((b) => b.startsWith('I1 '))).to.equal(true);
  });

  it('finds an agent whose journal forgets what it promised', async () => {
    const found = await breachesOver((seed) => simulate({ seed, published, lies: { journal: 6 } }));
    expect(found.some((b) => /^I[23] /.test(b))).to.equal(true);
  });

  for (const [who, hours] of [
    ['network', 1],
    ['network', -1],
    ['node', 1],
    ['node', -1],
  ] as const)
    it(`expires no job early when the ${who}’s wall clock is set by ${hours} h`, async () => {
      const site = await SimSite.open(new World(1), published);
      site.start();
      const { clock } = site.world;
      await clock.advance(2_000);
      const ask = async (): Promise<string> => {
        let end = '';
        const request = {
          stream: true,
          tokens: 4,
          priority: 5,
          deadlineMs: 30_000,
          leaveAfter: Number.POSITIVE_INFINITY,
        };
        void site.callers.ask(request).then(({ outcome, code }) => {
          end = [outcome, code].filter(Boolean).join(' ');
        });
        for (let i = 0; i < 40 && end === ''; i++) await clock.advance(1_000);
        return end;
      };
      expect(await ask()).to.equal('complete');
      for (const host of who === 'network' ? [site.network.host] : site.pods.map((p) => p.options.host))
        host.wallOffset = hours * HOUR;
      expect(await ask(), 'in the session that saw the jump').to.equal('complete');
      for (const pod of site.pods) for (const conn of pod.conns) conn.reset();
      await clock.advance(10_000);
      expect(await ask(), 'in a session that came after it').to.equal('complete');
      for (const host of [site.network.host, ...site.pods.map((p) => p.options.host)]) host.wallOffset = 0;
      expect(await ask(), 'when the clock is set back').to.equal('complete');
    });
});

/** Breaches of the first seeds that have any. */
const breachesOver = async (run: (seed: number) => Promise<SimReport>): Promise<readonly string[]> => {
  for (let seed = 1; seed <= 20; seed++) {
    const { breaches } = await run(seed);
    if (breaches.length > 0) return breaches;
  }
  return [];
};
