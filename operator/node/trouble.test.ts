import { expect } from 'chai';
import { facts, NODE_ID, resultityNode, storedPod } from '../../test/support/node-facts.ts';
import { runningPod } from '../../test/support/operator-rig.ts';
import { decideNode } from './decide.ts';
import { rolloutOf } from './rollout-state.ts';
import { servedLately } from './trouble.ts';

const NOW = facts().now;
const served = (status: 'True' | 'False' | 'Unknown', agoMs: number) =>
  resultityNode(
    {},
    {
      nodeId: NODE_ID,
      podUID: 'uid-pod',
      conditions: [
        {
          type: 'Serving',
          status,
          reason: 'X',
          message: '',
          lastTransitionTime: new Date(NOW - agoMs).toISOString(),
        },
      ],
    },
  );
const podOf = (ageMs: number) => ({ metadata: { creationTimestamp: new Date(NOW - ageMs).toISOString() } });

describe('whether a node serves, or did so until a moment ago', () => {
  it('is told by the condition and the time since when it says so', () => {
    const old = podOf(3_600_000);
    expect(servedLately(served('True', 1), old, NOW)).to.equal(true);
    expect(servedLately(served('False', 59_000), old, NOW)).to.equal(true);
    expect(servedLately(served('False', 60_000), old, NOW)).to.equal(false);
    expect(servedLately(served('Unknown', 1), old, NOW)).to.equal(false);
    expect(servedLately(resultityNode(), old, NOW)).to.equal(false);
  });
  it('is not so of a node that has not served in this pod yet', () => {
    expect(servedLately(served('False', 30_000), podOf(30_000), NOW)).to.equal(false);
    expect(servedLately(served('False', 50_000), podOf(20_000), NOW)).to.equal(false);
    expect(servedLately(served('False', 10_000), podOf(30_000), NOW)).to.equal(true);
    expect(servedLately(served('False', 10_000), undefined, NOW)).to.equal(false);
  });

  it('decides whether what an update breaks is taken back', () => {
    const begun = (sinceMs: number): boolean | undefined => {
      const base = facts();
      const made = storedPod(base);
      const node = served('False', sinceMs);
      const { placement } = node.spec;
      const d = decideNode({
        ...base,
        pod: { ...made, spec: { ...made.spec!, nodeName: 'machine' }, status: runningPod },
        node: { ...node, spec: { ...node.spec, placement: { ...placement, nodeSelector: { zone: 'b' } } } },
        offers: undefined,
      });
      const marks = d.steps.flatMap((s) => (s.do === 'markPod' ? [s.annotations] : []));
      const annotations = Object.assign({}, ...marks) as Record<string, string>;
      return rolloutOf({ metadata: { annotations } })?.healthy;
    };
    expect(begun(20_000), 'a probe has just timed out').to.equal(true);
    expect(begun(120_000), 'it has been down').to.equal(false);
  });
});
