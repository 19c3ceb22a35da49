import { expect } from 'chai';
import type { Address, Sha256 } from '../protocol/index.ts';
import type { DispatchJob } from './dispatch-types.ts';
import { NodePool } from './node-pool.ts';
import { Pace } from './pace.ts';

const DIGEST: Sha256 = `sha256:${'a'.repeat(64)}`;
const address = (n: number): Address => `0x${n.toString(16).padStart(40, '0')}`;
const [FAST, SLOW] = [address(1), address(2)];
const JOB: DispatchJob = {
  jobId: 'j',
  kind: 'chat.completions',
  model: 'm:1',
  modelDigest: DIGEST,
  priority: 5,
  deadline: 1e9,
};

describe('pace', () => {
  it('is 1 for a node that is not known, and relative to what others take for the same', () => {
    const pace = new Pace();
    expect(pace.factor('a', 'x', 0)).to.equal(1);
    for (let i = 0; i < 200; i++) {
      pace.measured('a', 'x', 10, i);
      pace.measured('b', 'x', 40, i);
    }
    expect(pace.factor('a', 'x', 200)).to.be.below(1);
    expect(pace.factor('b', 'x', 200)).to.be.above(1.4);
    expect(pace.factor('b', 'y', 200)).to.equal(1);
  });
  it('forgets with time, and is bounded however slow a node was', () => {
    const pace = new Pace();
    for (let i = 0; i < 50; i++) pace.measured('a', 'x', 10, 0);
    pace.measured('b', 'x', 1e9, 0);
    expect(pace.factor('b', 'x', 0)).to.be.most(8);
    const [now, later, last] = [0, 60_000, 3_600_000].map((t) => pace.factor('b', 'x', t));
    expect(later).to.be.below(now as number);
    expect(last).to.be.closeTo(1, 1e-6);
  });
  it('makes the pool prefer the faster of two, take the slower when the faster is full, and try it again later', () => {
    let n = 0;
    const pool = new NodePool(() => (n++ % 2 === 0 ? 0 : 0.99));
    const view = (node: Address) => ({
      ...{ node, offers: true, slots: 4, capacity: 4, subclouds: [], isolated: false },
      models: new Map([['m:1', DIGEST]]),
    });
    pool.set(view(FAST));
    pool.set(view(SLOW));
    for (let i = 0; i < 20; i++) {
      pool.measured(FAST, JOB, 10, 0);
      pool.measured(SLOW, JOB, 80, 0);
    }
    const none = new Map<Address, number>();
    expect([1, 2, 3, 4].map(() => pool.pick(JOB, none, 0))).to.deep.equal([FAST, FAST, FAST, FAST]);
    for (let i = 0; i < 4; i++) pool.open(FAST, String(i));
    expect(pool.pick(JOB, none, 0)).to.equal(SLOW);
    for (let i = 1; i < 4; i++) pool.close(FAST, String(i));
    expect(pool.pick(JOB, none, 0)).to.equal(FAST);
    expect(pool.pick(JOB, none, 600_000)).to.equal(SLOW);
  });
});
