import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { KIT_TIME, SignerKit } from '../../test/support/signer-kit.ts';
import { until } from '../../test/support/until.ts';
import { MemoryStateStore } from '../config/index.ts';
import { createLogger } from '../lib/log.ts';
import { ConfigSync } from './config-sync.ts';
import { ServerClock } from './server-clock.ts';
import { survey } from './survey.ts';

const MINUTE = 60_000;
const HOUR = 3_600_000;
const YEAR = 365 * 24 * HOUR;

describe('the configuration of a running agent', function () {
  this.timeout(60_000);
  let dir: string;
  let kit: SignerKit;
  let clock: FakeClock;
  let stop: AbortController;
  const store = { current: new MemoryStateStore() };
  const told: string[] = [];
  const recorded: Record<string, unknown>[] = [];

  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), 'config-sync-'));
    kit = new SignerKit();
    kit.publish({ maxStalenessSeconds: 6 * 3_600 });
    clock = new FakeClock(KIT_TIME);
    stop = new AbortController();
    store.current = new MemoryStateStore();
    told.length = 0;
    recorded.length = 0;
  });
  afterEach(async () => {
    stop.abort();
    await clock.advance(0);
    expect(clock.waiting).to.equal(0);
    rmSync(dir, { recursive: true, force: true });
  });

  const make = (server = new ServerClock(clock)) => {
    const config = new ConfigSync({
      pinnedRoot: kit.pinnedRoot,
      network: 'testnet',
      environment: 'testnet',
      allowInsecureHosts: [],
      store: store.current,
      source: kit,
      clock,
      server,
      logger: createLogger('test', 'silent'),
      minimumFloor: () => undefined,
      appliedFile: join(dir, 'applied.json'),
      record: (kind, data) => void recorded.push({ kind, ...data }),
      ack: () => {},
      onChange: () => {},
      onError: (code) => void told.push(code),
    });
    return { config, server };
  };
  /** An agent that took the configuration, is connected, and polls. */
  const running = async () => {
    const made = make();
    made.server.set(kit.now, 0);
    await made.config.refresh();
    const causes = new Set<string>();
    void made.config.run(stop.signal);
    void survey(
      {
        node: '0x',
        http: { get: async () => null },
        clock,
        config: made.config,
        drain: {
          begin: async (cause) => void causes.add(cause),
          end: (cause) => void causes.delete(cause),
        },
        drainMs: 1_000,
        connection: { session: null },
        learning: () => false,
        readHardware: async () => {},
        onState: () => {},
      },
      stop.signal,
    );
    await clock.advance(0);
    return { ...made, drains: () => [...causes] };
  };
  const away = (): void => {
    kit.down = new Error('no route');
  };
  const back = (): void => {
    kit.down = undefined;
    kit.now = KIT_TIME + clock.monotonic();
    kit.ticket();
  };
  /** In steps, each waiting for what is written to the real disk. */
  const pass = async (ms: number): Promise<void> => {
    for (let left = ms; left > 0; left -= 10 * MINUTE) {
      await clock.advance(Math.min(left, 10 * MINUTE));
      await until('both loops sleep', () => clock.waiting === 2);
    }
  };

  it('is asked for again after pollMs, a tenth more or less', async () => {
    kit.publish({ ttl: { heartbeatMs: 15_000, missedHeartbeats: 3, pollMs: 120_000, retryMs: 5_000, cacheMs: 0 } });
    await running();
    const asked = (): number => kit.asked.filter((p) => p === '/v1/config').length;
    const before = asked();
    await clock.advance(107_000);
    expect(asked()).to.equal(before);
    await clock.advance(26_000);
    expect(asked()).to.equal(before + 1);
  });

  it('goes on when the network is away, says so, drains after maxStalenessSeconds, and comes back alone', async () => {
    const { config, drains } = await running();
    away();
    await pass(30 * MINUTE);
    expect([config.freshness, drains()]).to.deep.equal(['Fresh', []]);
    await pass(60 * MINUTE);
    expect([config.freshness, drains()]).to.deep.equal(['Stale', []]);
    expect(config.accepted?.version).to.equal(1);
    expect(told.filter((c) => c === 'ConfigStale')).to.have.length(1);
    await pass(6 * HOUR);
    expect([config.freshness, drains()]).to.deep.equal(['Expired', ['stale']]);
    expect(told.filter((c) => c === 'ConfigExpired')).to.have.length(1);
    back();
    await pass(60 * MINUTE);
    expect([config.freshness, drains()]).to.deep.equal(['Fresh', []]);
    expect(recorded.filter((r) => r.kind === 'config.freshness').map((r) => r.state)).to.deep.equal([
      'Stale',
      'Expired',
      'Fresh',
    ]);
  });

  for (const jump of [YEAR, -YEAR])
    it(`is not staler for a wall clock that jumps by ${jump / HOUR} hours, connected or not, restarted or not`, async () => {
      const { config, drains } = await running();
      away();
      clock.jumpWall(jump);
      await pass(4 * HOUR);
      expect([config.freshness, drains()]).to.deep.equal(['Stale', []]);
      // the next process knows no server time and begins from what was written down
      const { config: next } = make();
      await next.open();
      expect(next.accepted?.version).to.equal(1);
      expect(next.ticketAgeMs / HOUR).to.be.within(3.6, 4.01);
      expect(next.freshness).to.equal('Stale');
      await pass(4 * HOUR);
      expect([config.freshness, next.freshness, drains()]).to.deep.equal(['Expired', 'Expired', ['stale']]);
    });

  it('is not fresher for a network that tells an old time', async () => {
    const { config, server } = await running();
    away();
    await pass(4 * HOUR);
    server.set(KIT_TIME, clock.monotonic());
    expect(config.ticketAgeMs).to.be.at.least(4 * HOUR);
  });
});
