import { expect } from 'chai';
import { getCondition, isTrue, maxMessageLength, setCondition } from './conditions.ts';
import type { Condition } from './meta.ts';

const t0 = Date.parse('2026-11-21T10:00:00Z');
const t1 = t0 + 60_000;
const ready = { type: 'Ready', status: 'True', reason: 'AsExpected', message: '', observedGeneration: 1 } as const;

describe('setCondition', () => {
  it('adds a condition with its transition time', () => {
    const made = setCondition(undefined, ready, t0);
    expect(made).to.deep.equal([{ ...ready, lastTransitionTime: '2026-11-21T10:00:00Z' }]);
    expect(isTrue(made, 'Ready')).to.equal(true);
    expect(getCondition(made, 'Serving')).to.equal(undefined);
  });

  it('returns the same array when nothing changed', () => {
    const made = setCondition([], ready, t0);
    expect(setCondition(made, ready, t1)).to.equal(made);
  });

  it('keeps the transition time when only words or generation change, and moves it on a flip', () => {
    const made = setCondition([], ready, t0);
    const reworded = setCondition(made, { ...ready, message: 'well', observedGeneration: 2 }, t1);
    expect(reworded[0]?.lastTransitionTime).to.equal('2026-11-21T10:00:00Z');
    expect(reworded[0]?.observedGeneration).to.equal(2);
    const flipped = setCondition(reworded, { ...ready, status: 'False', reason: 'EngineDead' }, t1);
    expect(flipped[0]?.lastTransitionTime).to.equal('2026-11-21T10:01:00Z');
  });

  it('leaves the order and the other conditions alone, and does not change its input', () => {
    const before: readonly Condition[] = Object.freeze([
      ...setCondition([], { ...ready, type: 'Serving' }, t0),
      ...setCondition([], ready, t0),
    ]);
    const after = setCondition(before, { ...ready, type: 'Serving', status: 'False' }, t1);
    expect(after.map(({ type, status }) => [type, status])).to.deep.equal([
      ['Serving', 'False'],
      ['Ready', 'True'],
    ]);
    expect(before[0]?.status).to.equal('True');
  });

  it('cuts a message above 256 characters, never through a character, and is then stable', () => {
    const message = '🙂'.repeat(300);
    const made = setCondition([], { ...ready, message }, t0);
    expect(Array.from(made[0]?.message ?? '')).to.have.length(maxMessageLength);
    expect(made[0]?.message).to.match(/^(🙂)+…$/u);
    expect(setCondition(made, { ...ready, message }, t1)).to.equal(made);
  });
});
