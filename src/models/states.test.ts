import { expect } from 'chai';
import fc from 'fast-check';
import { isLegal, type ModelStatus, move, newModel, retryDue, TRANSITIONS } from './states.ts';

const rule = { retryMs: 1000, capMs: 60_000 };

describe('model states', () => {
  it('walks pending → active → inactive → pending, and failed → pending with a growing wait', () => {
    const active = move.pass(move.step(newModel, 'testing'), 5);
    expect(active).to.deep.equal({ state: 'active', since: 5 });
    expect(move.enable(move.disable(active, 'snapshot')).state).to.equal('pending');
    const once = move.fail(newModel, 'DigestMismatch', 0, rule);
    expect(once).to.include({ state: 'failed', failures: 1, retryAt: 1000 });
    const twice = move.fail(move.retry(once), 'DigestMismatch', 10_000, rule);
    expect(twice).to.include({ failures: 2, retryAt: 12_000 });
    expect(move.fail(move.retry({ ...twice, failures: 40 }), 'x', 0, rule).retryAt).to.equal(60_000);
  });

  it('retries when due, and a clock that jumps back does not lock a model in', () => {
    const failed = move.fail(newModel, 'x', 1_000_000, rule);
    expect(retryDue(failed, 1_000_500, rule)).to.equal(false);
    expect(retryDue(failed, 1_001_000, rule)).to.equal(true);
    expect(retryDue(failed, 0, rule)).to.equal(true);
  });

  it('makes only legal transitions, whatever the order of events', () => {
    // The compiler refuses what is not in the table; this is the same at run time, for every event of every state.
    const apply = (s: ModelStatus, n: number): ModelStatus => {
      const events = Object.keys(TRANSITIONS[s.state]);
      const event = events[n % events.length];
      const f = move[event as keyof typeof move] as (...args: unknown[]) => ModelStatus;
      return event === 'fail' ? f(s, 'x', n, rule) : event === 'disable' ? f(s, 'x') : f(s, n);
    };
    fc.assert(
      fc.property(fc.array(fc.nat(1000)), (steps) => {
        let status: ModelStatus = newModel;
        for (const n of steps) {
          const next = apply(status, n);
          expect(isLegal(status.state, next.state), `${status.state} → ${next.state}`).to.equal(true);
          status = next;
        }
      }),
    );
  });

  it('does not compile an illegal transition', () => {
    // @ts-expect-error archived models cannot pass
    move.pass({ state: 'archived' }, 0);
    expect(isLegal('archived', 'active')).to.equal(false);
    expect(isLegal('failed', 'active')).to.equal(false);
  });
});
