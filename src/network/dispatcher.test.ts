import { expect } from 'chai';
import fc from 'fast-check';
import type { Address, LostReason, Sha256 } from '../protocol/index.ts';
import type { DispatchAction, DispatchJob, DispatchNode } from './dispatch-types.ts';
import { Dispatcher } from './dispatcher.ts';

const DIGEST: Sha256 = `sha256:${'a'.repeat(64)}`;
const OTHER: Sha256 = `sha256:${'b'.repeat(64)}`;
const address = (n: number): Address => `0x${n.toString(16).padStart(40, '0')}`;
const [A, B] = [address(1), address(2)];
const LIMITS = {
  queue: 4,
  queueMs: 60_000,
  noNodeMs: 5_000,
  attempts: 3,
  offers: 20,
  offerMs: 2_000,
  leaseMs: 30_000,
  downGraceMs: 60_000,
};
const view = (node: Address, over: Partial<DispatchNode> = {}): DispatchNode => ({
  node,
  offers: true,
  slots: 1,
  capacity: 1,
  models: new Map([['m:1', DIGEST]]),
  subclouds: [],
  isolated: false,
  ...over,
});
const job = (jobId: string, over: Partial<DispatchJob> = {}): DispatchJob => ({
  jobId,
  kind: 'chat.completions',
  model: 'm:1',
  modelDigest: DIGEST,
  priority: 5,
  deadline: 300_000,
  ...over,
});
const seeded = (seed: number) => () => {
  seed = (seed * 1_103_515_245 + 12_345) % 2_147_483_648;
  return seed / 2_147_483_648;
};
const make = (over: Partial<typeof LIMITS> = {}): Dispatcher => new Dispatcher({ ...LIMITS, ...over }, seeded(7));
const brief = (actions: readonly DispatchAction[]): string[] =>
  actions.map((a) =>
    a.do === 'fail'
      ? `fail ${a.jobId} ${a.failure.code}`
      : `${a.do} ${a.jobId}#${a.attempt} ${a.node === A ? 'A' : 'B'}`,
  );

describe('dispatcher', () => {
  it('offers at once to a node with room and queues when none has', () => {
    const d = make();
    d.nodeChanged(view(A), 0);
    expect(brief(d.submit(job('1'), 0))).to.deep.equal(['offer 1#1 A']);
    expect(brief(d.submit(job('2'), 0))).to.deep.equal([]);
    expect(brief(d.finished('1', 1, 1))).to.deep.equal(['offer 2#1 A']);
  });

  it('serves the higher priority first, then the earlier deadline', () => {
    const d = make();
    d.submit(job('late', { deadline: 200_000 }), 0);
    d.submit(job('soon', { deadline: 100_000 }), 1);
    d.submit(job('first', { priority: 9 }), 2);
    expect(brief(d.nodeChanged(view(A, { capacity: 3 }), 3))).to.deep.equal([
      'offer first#1 A',
      'offer soon#1 A',
      'offer late#1 A',
    ]);
  });

  it('tells the caller at once when the queue is full, and soon when no node can serve', () => {
    const d = make({ queue: 1 });
    d.submit(job('1'), 0);
    expect(brief(d.submit(job('2'), 0))).to.deep.equal(['fail 2 unavailable']);
    expect(brief(d.tick(4_999))).to.deep.equal([]);
    expect(brief(d.tick(5_000))).to.deep.equal(['fail 1 unavailable']);
    expect(d.size).to.equal(0);
  });

  it('waits longer for a busy node than for none', () => {
    const d = make();
    d.nodeChanged(view(A), 0);
    d.submit(job('1'), 0);
    d.accepted(A, '1', 1, 0);
    d.submit(job('2'), 0);
    d.renewed(A, '1', 1, 25_000);
    d.renewed(A, '1', 1, 50_000);
    expect(brief(d.tick(59_999))).to.deep.equal([]);
    expect(brief(d.tick(60_000))).to.deep.equal(['fail 2 unavailable']);
  });

  it('moves an offer that is not answered within 2 s to another node with a higher attempt', () => {
    const d = make();
    d.nodeChanged(view(A), 0);
    d.submit(job('1'), 0);
    d.nodeChanged(view(B), 0);
    expect(brief(d.tick(1_999))).to.deep.equal([]);
    expect(brief(d.tick(2_000))).to.deep.equal(['cancel 1#1 A', 'offer 1#2 B']);
    expect(d.renewed(A, '1', 1, 2_100)).to.equal(false);
  });

  it('passes over a node that turned the job down, and gives up on an invalid request', () => {
    const d = make();
    d.nodeChanged(view(A), 0);
    d.submit(job('1'), 0);
    d.nodeChanged(view(B), 0);
    expect(brief(d.rejected(A, '1', 1, 'at_capacity', 1))).to.deep.equal(['offer 1#2 B']);
    expect(brief(d.rejected(B, '1', 2, 'invalid_request', 2))).to.deep.equal(['fail 1 invalid_request']);
  });

  it('reassigns when the lease runs out, and not while progress renews it', () => {
    const d = make();
    d.nodeChanged(view(A), 0);
    d.submit(job('1'), 0);
    d.accepted(A, '1', 1, 0);
    d.renewed(A, '1', 1, 20_000);
    expect(brief(d.tick(49_999))).to.deep.equal([]);
    d.nodeChanged(view(B), 49_999);
    expect(brief(d.tick(50_000))).to.deep.equal(['cancel 1#1 A', 'offer 1#2 B']);
  });

  it('waits up to 60 s longer for a node whose socket is down, and withdraws what it had not accepted', () => {
    const d = make();
    d.nodeChanged(view(A, { capacity: 2 }), 0);
    d.submit(job('run'), 0);
    d.accepted(A, 'run', 1, 0);
    d.submit(job('new'), 0);
    d.nodeChanged(view(A, { offers: false }), 1);
    expect(brief(d.nodeDown(A, 1))).to.deep.equal([]);
    expect(d.job('new')?.phase.kind).to.equal('queued');
    d.nodeChanged(view(B), 2);
    expect(brief(d.tick(89_999))).to.include('cancel new#2 B');
    expect(d.job('run')?.phase.kind).to.equal('running');
    expect(brief(d.tick(90_000))).to.include('cancel run#1 A');
  });

  it('takes what a new hello names as accepted and the rest as lost', () => {
    const d = make();
    d.nodeChanged(view(A, { capacity: 3 }), 0);
    for (const id of ['offered', 'running', 'gone']) d.submit(job(id), 0);
    d.accepted(A, 'running', 1, 0);
    d.accepted(A, 'gone', 1, 0);
    d.nodeChanged(view(A, { offers: false, capacity: 3 }), 1);
    d.nodeDown(A, 1);
    d.reconcile(A, [{ jobId: 'running', attempt: 1 }], 2);
    expect(d.wanted(A)).to.deep.equal([{ jobId: 'running', attempt: 1 }]);
    expect(d.job('gone')?.phase.kind).to.equal('queued');
  });

  it('never starts over what the caller has seen a part of', () => {
    const d = make();
    d.nodeChanged(view(A), 0);
    d.submit(job('1'), 0);
    d.accepted(A, '1', 1, 0);
    d.callerSaw('1');
    d.nodeChanged(view(B), 0);
    expect(brief(d.lost(A, '1', 1, 'engine_crash', 1))).to.deep.equal(['fail 1 interrupted']);
  });

  it('gives up after three lost attempts', () => {
    const d = make();
    d.nodeChanged(view(A), 0);
    d.submit(job('1'), 0);
    const lose = (attempt: number) => brief(d.lost(A, '1', attempt, 'handover', attempt));
    expect([lose(1), lose(2), lose(3)]).to.deep.equal([['offer 1#2 A'], ['offer 1#3 A'], ['fail 1 unavailable']]);
  });

  it('gives up after twenty offers that nobody took, and says what the last one came to', () => {
    const d = make();
    d.nodeChanged(view(A), 0);
    let actions = d.submit(job('1', { deadline: 1e9 }), 0);
    let offers = 0;
    for (let now = 0; actions.every((a) => a.do === 'offer'); now += 40_000) {
      for (const a of actions) if (a.do === 'offer') offers = a.attempt;
      actions = [...d.rejected(A, '1', offers, 'not_ready', now), ...(offers < 20 ? d.tick(now + 39_000) : [])];
    }
    expect(offers).to.equal(20);
    expect(actions).to.deep.equal([
      {
        do: 'fail',
        jobId: '1',
        failure: {
          code: 'unavailable',
          message: 'gave up after 20 offers: turned down: not_ready',
          retryAfterMs: 5_000,
        },
      },
    ]);
  });

  it('says why nobody answers, and when to come back', () => {
    const why = (actions: readonly DispatchAction[]): string[] =>
      actions.flatMap((a) => (a.do === 'fail' ? [`${a.failure.message}, ${a.failure.retryAfterMs}`] : []));
    const d = make({ queue: 1 });
    d.submit(job('1'), 0);
    expect(why(d.submit(job('2'), 0))).to.deep.equal(['the queue is full, 1000']);
    expect(why(d.tick(5_000))).to.deep.equal(['no node can serve m:1 now, 5000']);
    d.nodeChanged(view(A), 5_000);
    d.submit(job('3'), 5_000);
    d.accepted(A, '3', 1, 5_000);
    d.submit(job('4'), 5_000);
    for (let now = 5_000; now < 65_000; now += 20_000) d.renewed(A, '3', 1, now);
    expect(why(d.tick(65_000))).to.deep.equal(['every node is busy, 2000']);
    for (let i = 0; i < 2; i++) d.lost(A, '3', 1 + i, 'engine_crash', 65_000);
    expect(why(d.lost(A, '3', 3, 'engine_crash', 65_000))).to.deep.equal([
      'gave up after 3 attempts: engine_crash, 2000',
    ]);
  });

  it('ends a job at its deadline and frees the node', () => {
    const d = make();
    d.nodeChanged(view(A), 0);
    d.submit(job('1', { deadline: 1_000 }), 0);
    d.submit(job('2'), 0);
    d.accepted(A, '1', 1, 0);
    expect(brief(d.tick(1_000))).to.deep.equal(['cancel 1#1 A', 'fail 1 deadline', 'offer 2#1 A']);
  });

  it('tells who waits to come back when it closes, lets what runs end, and starts nothing over', () => {
    const d = make();
    d.nodeChanged(view(A, { capacity: 2 }), 0);
    d.submit(job('runs'), 0);
    d.submit(job('lost'), 0);
    d.submit(job('waits'), 0);
    d.accepted(A, 'runs', 1, 0);
    d.accepted(A, 'lost', 1, 0);
    expect(brief(d.close(1))).to.deep.equal(['fail waits unavailable']);
    expect(brief(d.submit(job('new'), 2))).to.deep.equal(['fail new unavailable']);
    expect(brief(d.lost(A, 'lost', 1, 'handover', 3))).to.deep.equal(['fail lost unavailable']);
    expect(brief(d.finished('runs', 1, 4))).to.deep.equal([]);
    expect(d.size).to.equal(0);
  });

  it('keeps jobs of a subcloud inside it, and isolated nodes out of the global pool', () => {
    const d = make();
    d.nodeChanged(view(A, { subclouds: ['eu'], isolated: true }), 0);
    expect(brief(d.submit(job('global'), 0))).to.deep.equal([]);
    expect(brief(d.submit(job('eu', { subcloud: 'eu' }), 0))).to.deep.equal(['offer eu#1 A']);
  });

  it('does not offer a model whose digest is another one', () => {
    const d = make();
    d.nodeChanged(view(A, { models: new Map<string, Sha256>([['m:1', OTHER]]) }), 0);
    expect(brief(d.submit(job('1'), 0))).to.deep.equal([]);
  });

  it('keeps its invariants under any order of events', () => {
    const event = fc.record({
      what: fc.constantFrom('submit', 'accept', 'reject', 'lost', 'finish', 'cancel', 'down', 'up', 'tick'),
      jobs: fc.nat(5),
      node: fc.constantFrom(A, B),
      ms: fc.nat(20_000),
    });
    fc.assert(
      fc.property(fc.array(event, { maxLength: 120 }), fc.nat(), (events, seed) => {
        const d = new Dispatcher({ ...LIMITS, queue: 100 }, seeded(seed));
        const attempts = new Map<string, number>();
        const open = new Map<Address, Set<string>>([
          [A, new Set()],
          [B, new Set()],
        ]);
        const ended = new Set<string>();
        let now = 0;
        let count = 0;
        const forget = (id: string) => {
          for (const on of open.values()) on.delete(id);
        };
        const apply = (actions: readonly DispatchAction[]) => {
          for (const a of actions) {
            if (a.do === 'cancel') open.get(a.node)?.delete(a.jobId);
            if (a.do === 'fail') {
              expect(ended.has(a.jobId)).to.equal(false);
              ended.add(a.jobId);
              forget(a.jobId);
            }
            if (a.do !== 'offer') continue;
            expect(ended.has(a.jobId)).to.equal(false);
            expect(a.attempt).to.equal((attempts.get(a.jobId) ?? 0) + 1);
            attempts.set(a.jobId, a.attempt);
            open.get(a.node)?.add(a.jobId);
            expect(open.get(a.node)?.size).to.be.at.most(2);
          }
        };
        apply(d.nodeChanged(view(A, { capacity: 2 }), now));
        apply(d.nodeChanged(view(B, { capacity: 2 }), now));
        for (const e of events) {
          now += e.ms;
          const id = `j${e.jobs}.${Math.floor(count / 6)}`;
          const attempt = attempts.get(id) ?? 1;
          const has = open.get(e.node)?.has(id) === true;
          if (e.what === 'submit' && !d.job(id) && !ended.has(id) && !attempts.has(id)) {
            count++;
            apply(d.submit(job(id, { deadline: now + 60_000 }), now));
          } else if (e.what === 'accept') d.accepted(e.node, id, attempt, now);
          else if (e.what === 'reject') {
            if (has) forget(id);
            apply(d.rejected(e.node, id, attempt, 'not_ready', now));
          } else if (e.what === 'lost') {
            if (has) forget(id);
            apply(d.lost(e.node, id, attempt, 'engine_crash' satisfies LostReason, now));
          } else if (e.what === 'finish' || e.what === 'cancel') {
            if (d.job(id)) ended.add(id);
            forget(id);
            apply(e.what === 'finish' ? d.finished(id, 1, now) : d.cancelled(id, 'client_gone', now));
          } else if (e.what === 'down') {
            apply(d.nodeChanged(view(e.node, { capacity: 2, offers: false }), now));
            for (const j of open.get(e.node) ?? []) if (d.job(j)?.phase.kind === 'offered') open.get(e.node)?.delete(j);
            apply(d.nodeDown(e.node, now));
          } else if (e.what === 'up') {
            const names = d.wanted(e.node);
            apply(d.reconcile(e.node, names, now));
            apply(d.nodeChanged(view(e.node, { capacity: 2 }), now));
          } else {
            // a lease that ran out, or an offer unanswered, leaves the node by its cancel
            apply(d.tick(now));
          }
        }
      }),
      { numRuns: 150 },
    );
  });
});
