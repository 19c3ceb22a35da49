import { expect } from 'chai';
import type { Address, Sha256 } from '../protocol/index.ts';
import type { DispatchJob, DispatchNode } from './dispatch-types.ts';
import { NodePool } from './node-pool.ts';

const DIGEST: Sha256 = `sha256:${'a'.repeat(64)}`;
const address = (n: number): Address => `0x${n.toString(16).padStart(40, '0')}`;
const JOB: DispatchJob = {
  ...{ jobId: 'j', kind: 'chat.completions', model: 'm:1', modelDigest: DIGEST },
  ...{ priority: 5, deadline: 1e9 },
};
const view = (n: number, over: Partial<DispatchNode> = {}): DispatchNode => ({
  ...{ node: address(n), offers: true, slots: 4, capacity: 4, subclouds: [], isolated: false },
  models: new Map([['m:1', DIGEST]]),
  ...over,
});
const seeded = (seed: number) => () => {
  seed = (seed * 1_103_515_245 + 12_345) % 2_147_483_648;
  return seed / 2_147_483_648;
};
const NONE = new Map<Address, number>();

describe('the pool of nodes', () => {
  const poolOf = (count: number, over: Partial<DispatchNode> = {}): NodePool => {
    const pool = new NodePool(seeded(3));
    for (let n = 1; n <= count; n++) pool.set(view(n, over));
    return pool;
  };

  it('spreads jobs by two choices: with 10 for each of 100 nodes, none has many more than its share', () => {
    const pool = poolOf(100, { slots: 100, capacity: 100 });
    const load = new Map<Address, number>();
    for (let i = 0; i < 1_000; i++) {
      const node = pool.pick(JOB, NONE, 0) as Address;
      pool.open(node, `${i}`);
      load.set(node, (load.get(node) ?? 0) + 1);
    }
    expect(load.size).to.equal(100);
    expect(Math.max(...load.values())).to.be.below(16);
  });

  it('finds the last free place of many nodes, and none when all are full', () => {
    const pool = poolOf(1_000, { slots: 1, capacity: 1 });
    const taken = new Set<Address>();
    for (let i = 0; i < 1_000; i++) {
      const node = pool.pick(JOB, NONE, 0) as Address;
      pool.open(node, `${i}`);
      taken.add(node);
    }
    expect(taken.size).to.equal(1_000);
    expect(pool.pick(JOB, NONE, 0)).to.equal(undefined);
    expect(pool.canServe(JOB)).to.equal(true);
    pool.close(address(7), pool.openOn(address(7))[0] as string);
    expect(pool.pick(JOB, NONE, 0)).to.equal(address(7));
  });

  it('passes over a node that was penalised while another has room, twice as long each time, and takes it back by itself', () => {
    const pool = poolOf(2, { slots: 100, capacity: 100 });
    const picks = (now: number): number =>
      Array.from({ length: 50 }, () => pool.pick(JOB, NONE, now)).filter((n) => n === address(1)).length;
    expect(picks(0)).to.be.above(0);
    pool.penalise(address(1), 0);
    expect(picks(29_999)).to.equal(0);
    expect(picks(30_001)).to.be.above(0);
    pool.penalise(address(1), 40_000);
    expect(picks(40_000 + 59_999)).to.equal(0);
    expect(picks(40_000 + 60_001)).to.be.above(0);
    // long in good standing: it begins anew
    pool.penalise(address(1), 1_000_000);
    expect(picks(1_000_000 + 30_001)).to.be.above(0);
  });

  it('takes a penalised node when nobody else has room', () => {
    const pool = poolOf(1);
    pool.penalise(address(1), 0);
    expect(pool.pick(JOB, NONE, 1)).to.equal(address(1));
  });

  it('does not take who turned the job down, until the time is over', () => {
    const pool = poolOf(1);
    const avoid = new Map([[address(1), 500]]);
    expect(pool.pick(JOB, avoid, 499)).to.equal(undefined);
    expect(pool.pick(JOB, avoid, 500)).to.equal(address(1));
  });

  it('follows what a node says of itself: no offers, another digest, another subcloud, no room any more', () => {
    const pool = poolOf(1);
    const taken = (over: Partial<DispatchNode>, job = JOB): boolean => {
      pool.set(view(1, over));
      return pool.pick(job, NONE, 0) !== undefined;
    };
    expect(taken({})).to.equal(true);
    expect(taken({ offers: false })).to.equal(false);
    expect(pool.canServe(JOB)).to.equal(false);
    expect(taken({ models: new Map([['m:1', `sha256:${'b'.repeat(64)}` as Sha256]]) })).to.equal(false);
    expect(taken({ models: new Map() })).to.equal(false);
    expect(taken({ capacity: 0 })).to.equal(false);
    expect(taken({ subclouds: ['eu'], isolated: true })).to.equal(false);
    expect(taken({ subclouds: ['eu'], isolated: true }, { ...JOB, subcloud: 'eu' })).to.equal(true);
    expect(taken({}, { ...JOB, subcloud: 'eu' })).to.equal(false);
  });
});
