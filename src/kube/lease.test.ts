import { expect } from 'chai';
import fc from 'fast-check';
import { pino } from 'pino';
import { FakeClock, settle } from '../../test/support/fake-clock.ts';
import type { Clock } from '../lib/clock.ts';
import { ApiError, KubeError } from './errors.ts';
import { Election, type ElectionOptions, type Lease } from './lease.ts';

/** One Lease on a server that candidates can be cut off from. */
class LeaseServer {
  lease: Lease | undefined;
  readonly cut = new Set<string>();
  #version = 0;
  client(identity: string, clock: Clock): ElectionOptions['client'] {
    const reach = async (): Promise<void> => {
      await clock.sleep(20);
      if (this.cut.has(identity)) throw new KubeError('kube_network', 'cut off');
    };
    const put = (lease: Lease): Lease => {
      this.lease = { ...lease, metadata: { ...lease.metadata, uid: 'u', resourceVersion: String(++this.#version) } };
      return this.lease;
    };
    const client = {
      get: async () => {
        await reach();
        if (!this.lease) throw new ApiError('none', { status: 404 });
        return this.lease;
      },
      create: async (_: unknown, lease: Lease) => {
        await reach();
        if (this.lease) throw new ApiError('taken', { status: 409, reason: 'AlreadyExists' });
        return put(lease);
      },
      update: async (_: unknown, lease: Lease) => {
        await reach();
        if (lease.metadata?.resourceVersion !== this.lease?.metadata?.resourceVersion)
          throw new ApiError('old', { status: 409, reason: 'Conflict' });
        return put(lease);
      },
    };
    return client as unknown as ElectionOptions['client'];
  }
}

const log = pino({ level: 'silent' });

describe('Election', () => {
  const make = () => {
    const clock = new FakeClock();
    const server = new LeaseServer();
    const stop = new AbortController();
    const candidate = (identity: string): { election: Election; end: Promise<string> } => {
      const election = new Election({
        client: server.client(identity, clock),
        clock,
        log,
        namespace: 'n',
        name: 'l',
        identity,
        random: () => 0,
      });
      const end = election.acquire(stop.signal).then((won) => (won ? election.hold(stop.signal) : 'never'));
      return { election, end };
    };
    return { clock, server, stop, candidate };
  };

  it('keeps its lease while it renews, and a second stands by', async () => {
    const { clock, stop, candidate } = make();
    const one = candidate('one');
    await clock.advance(100);
    const two = candidate('two');
    await clock.advance(120_000);
    expect([one.election.leads(), two.election.leads(), two.election.holder()]).to.deep.equal([true, false, 'one']);
    stop.abort();
    await clock.advance(10);
    expect([await one.end, await two.end]).to.deep.equal(['stopped', 'never']);
    await settle();
    expect(clock.waiting).to.equal(0);
  });

  it('stops leading 10 s after its last renewal, before another can begin', async () => {
    const { clock, server, stop, candidate } = make();
    const one = candidate('one');
    await clock.advance(100);
    const two = candidate('two');
    await clock.advance(5_000);
    server.cut.add('one');
    await clock.advance(10_500);
    expect([one.election.leads(), two.election.leads()]).to.deep.equal([false, false]);
    expect(await one.end).to.equal('lost');
    await clock.advance(10_000);
    expect([one.election.leads(), two.election.leads()]).to.deep.equal([false, true]);
    expect(server.lease?.spec?.leaseTransitions).to.equal(1);
    stop.abort();
    await clock.advance(10);
    await two.end;
  });

  it('lives through a short outage', async () => {
    const { clock, server, stop, candidate } = make();
    const one = candidate('one');
    await clock.advance(3_000);
    server.cut.add('one');
    await clock.advance(6_000);
    server.cut.delete('one');
    await clock.advance(30_000);
    expect(one.election.leads()).to.equal(true);
    stop.abort();
    await clock.advance(10);
    await one.end;
  });

  it('hands over at once when released, and is not misled by a wall clock that jumps', async () => {
    const { clock, stop, candidate } = make();
    const one = candidate('one');
    await clock.advance(100);
    const two = candidate('two');
    await clock.advance(3_000);
    clock.jumpWall(86_400_000);
    await clock.advance(5_000);
    expect([one.election.leads(), two.election.leads()]).to.deep.equal([true, false]);
    const released = one.election.release();
    await clock.advance(3_000);
    await released;
    expect([one.election.leads(), two.election.leads()]).to.deep.equal([false, true]);
    stop.abort();
    await clock.advance(10);
    await Promise.all([one.end, two.end]);
  });

  it('property: whatever is cut off and when, never two lead at once', async () => {
    const step = fc.record({
      who: fc.constantFrom('a', 'b', 'c'),
      cut: fc.boolean(),
      ms: fc.integer({ min: 10, max: 9_000 }),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 12 }), async (steps) => {
        const { clock, server, stop, candidate } = make();
        const all = ['a', 'b', 'c'].map((id) => candidate(id));
        for (const { who, cut, ms } of steps) {
          if (cut) server.cut.add(who);
          else server.cut.delete(who);
          for (let passed = 0; passed < ms; passed += 500) {
            await clock.advance(Math.min(500, ms - passed));
            expect(all.filter((c) => c.election.leads()).length).to.be.at.most(1);
          }
        }
        stop.abort();
        await clock.advance(10_000);
        await Promise.all(all.map((c) => c.end));
      }),
      { numRuns: 15, seed: 11 },
    );
  });
});
