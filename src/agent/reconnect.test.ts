import { expect } from 'chai';
import { afterSession, FRESH } from './reconnect.ts';
import type { SessionEnd } from './session.ts';

const end = (code: number, more: Partial<SessionEnd> = {}): SessionEnd => ({
  code,
  own: false,
  reason: '',
  welcomed: true,
  ...more,
});
const wait = (e: SessionEnd, failures = 0, alive = 0) => {
  const next = afterSession(e, alive, { ...FRESH, failures }, 0, () => 0.999);
  if (next.kind !== 'wait') throw new Error('stopped');
  return next;
};

describe('coming back after a session', () => {
  it('backs off with full jitter from 0.5 s to 30 s', () => {
    expect(wait(end(4000)).ms).to.be.closeTo(500, 1);
    expect(wait(end(1006), 3).ms).to.be.closeTo(4_000, 5);
    expect(wait(end(4010), 20).ms).to.be.closeTo(30_000, 31);
  });
  it('starts again from the beginning after a minute of health', () => {
    expect(wait(end(1006), 10, 60_000).ms).to.be.closeTo(500, 1);
    expect(wait(end(1006), 10, 59_999).ms).to.be.greaterThan(20_000);
  });
  it('honours retryAfterMs', () => {
    expect(wait(end(4001, { retryAfterMs: 90_000 })).ms).to.equal(90_000);
  });
  it('waits ten minutes after a terminal code, and registers again after 4401 and 4403', () => {
    for (const code of [4400, 4401, 4403, 4413, 1009, 4426]) {
      const next = wait(end(code));
      expect(next.ms).to.equal(600_000);
      expect(next.register, String(code)).to.equal(code === 4401 || code === 4403);
    }
  });
  it('does not take a code for terminal that it sent itself', () => {
    expect(wait(end(4400, { own: true })).ms).to.be.below(501);
  });
  it('stops when its hello was answered by 4409: somebody has a higher incarnation', () => {
    expect(afterSession(end(4409, { welcomed: false }), 0, FRESH, 0).kind).to.equal('stop');
  });
  it('comes back after a supersede at most three times in a day', () => {
    let state = FRESH;
    const waits: number[] = [];
    for (let i = 0, now = 0; i < 4; i++, now += 700_000) {
      const next = afterSession(end(4409), 1_000, state, now);
      if (next.kind !== 'wait') throw new Error('stopped');
      state = next.state;
      waits.push(next.ms);
    }
    expect(waits.slice(0, 3)).to.deep.equal([600_000, 600_000, 600_000]);
    expect(waits[3]).to.equal(86_400_000 - 3 * 700_000);
  });
});
