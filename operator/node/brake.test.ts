import { expect } from 'chai';
import { resultityNode } from '../../test/support/node-facts.ts';
import type { KubernetesNode } from '../pod-types.ts';
import { brakeOn } from './brake.ts';

const UNREACHABLE = 'node.kubernetes.io/unreachable';

/** Machines m0, m1, … with these taints; one that is `gone` has no object. */
const brake = (...machines: (readonly string[] | 'gone' | 'unplaced')[]): string | undefined => {
  const known = new Map<string, KubernetesNode>();
  const group = machines.map((m, i) => {
    if (typeof m !== 'string')
      known.set(`m${i}`, {
        metadata: { name: `m${i}` },
        spec: { taints: m.map((key) => ({ key, effect: 'NoExecute' })) },
      });
    return resultityNode({}, m === 'unplaced' ? {} : { kubernetesNode: `m${i}` });
  });
  return brakeOn(group, { get: (name: string) => known.get(name) });
};

describe('the brake on replacing pods', () => {
  it('is on when more than a third of the machines, two at the least, do not answer or are gone', () => {
    expect(brake([], [], [UNREACHABLE])).to.equal(undefined);
    expect(brake([UNREACHABLE])).to.equal(undefined);
    expect(brake([], [UNREACHABLE], [UNREACHABLE])).to.contain('2 of 3 nodes');
    expect(brake([], [], [], [], [UNREACHABLE], 'gone')).to.equal(undefined);
    expect(brake([], [], [], [UNREACHABLE], 'gone')).to.contain('2 of 5');
    expect(brake('gone', 'gone')).to.contain('2 of 2');
  });
  it('counts no machine that a person has taken out of service, and no node without one', () => {
    const out = [UNREACHABLE, 'node.kubernetes.io/out-of-service'];
    expect(brake(out, out, [])).to.equal(undefined);
    expect(brake('unplaced', 'unplaced', 'unplaced')).to.equal(undefined);
  });
  it('is off where machines may not be looked at', () => {
    const group = [1, 2].map((i) => resultityNode({}, { kubernetesNode: `m${i}` }));
    expect(brakeOn(group, undefined)).to.equal(undefined);
  });
});
