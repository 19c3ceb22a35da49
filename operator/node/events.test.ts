import { expect } from 'chai';
import type { ResultityNode } from '../../src/api/index.ts';
import { eventsOf } from './events.ts';
import type { OwnStatus } from './status.ts';

const condition = (type: string, status: 'True' | 'False', reason: string) => ({
  type,
  status,
  reason,
  message: 'words',
  lastTransitionTime: '2026-11-21T10:00:00Z',
});
const node = (...conditions: ReturnType<typeof condition>[]): ResultityNode =>
  ({ metadata: { name: 'n' }, spec: {}, status: { conditions } }) as unknown as ResultityNode;
const told = (before: ResultityNode, ...conditions: ReturnType<typeof condition>[]): string[] =>
  eventsOf(before, { phase: 'Active', conditions } as OwnStatus).map((e) => e.reason);

describe('the events of a node', () => {
  it('tell what a person waits for, and not the steps on the way that go as expected', () => {
    const steps = [
      condition('Serving', 'True', 'Serving'),
      condition('GPUFit', 'True', 'FitFound'),
      condition('PodScheduled', 'True', 'PodScheduled'),
      condition('RuntimeIsolated', 'True', 'IsolationProved'),
      condition('Registered', 'True', 'Registered'),
      condition('NetworkVisible', 'True', 'NetworkSeesNode'),
      condition('ConfigSynced', 'True', 'DigestApplied'),
      condition('ModelsVerified', 'True', 'ModelActive'),
    ];
    const all = ['Serving', 'NodeRegistered', 'ConfigApplied', 'ModelVerified'];
    expect(told(node(), ...steps)).to.deep.equal(all);
    const waiting = steps.map(({ type }) => condition(type, 'False', 'Waiting'));
    expect(told(node(...waiting), ...steps)).to.deep.equal(all);
  });

  it('tell such a step when something was wrong with it before', () => {
    const before = node(
      condition('GPUFit', 'False', 'NoSpareGPU'),
      condition('PodScheduled', 'False', 'Unschedulable'),
    );
    const now = [condition('GPUFit', 'True', 'FitFound'), condition('PodScheduled', 'True', 'PodScheduled')];
    expect(told(before, ...now)).to.deep.equal(['FitFound', 'PodScheduled']);
  });

  it('tell each configuration as news of its own, so that none folds into the one before', () => {
    const applied = (digest: string) => ({
      ...condition('ConfigSynced', 'True', 'DigestApplied'),
      message: `applied ${digest}`,
    });
    const actions = ['a'.repeat(12), 'b'.repeat(12)].flatMap((digest) =>
      eventsOf(node(condition('ConfigSynced', 'False', 'DigestPending')), {
        phase: 'Active',
        conditions: [applied(digest)],
      } as OwnStatus).map((e) => [e.reason, e.action]),
    );
    expect(actions).to.deep.equal([
      ['ConfigApplied', 'applied aaaaaaaaaaaa'],
      ['ConfigApplied', 'applied bbbbbbbbbbbb'],
    ]);
  });
});
