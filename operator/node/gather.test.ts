import { expect } from 'chai';
import { WorkQueue } from '../../src/kube/queue.ts';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { resultityNode } from '../../test/support/node-facts.ts';
import { flowOf } from './gather.ts';

describe('the turns of nodes', () => {
  it('tell of those that have a pod while hundreds wait for theirs', async () => {
    const withPod = new Set<string>();
    const node = (key: string) => resultityNode({}, withPod.has(key) ? { podUID: `pod of ${key}` } : {});
    const queue = new WorkQueue({ name: 'node', clock: new FakeClock(), flowOf: (key) => flowOf(node(key)) });
    for (let i = 0; i < 500; i++) queue.add(`n-${i}`);
    const told = new Set<string>();
    let behind = 0;
    for (let turn = 0; turn < 1_000; turn++) {
      const { key = '' } = (await queue.next()) ?? {};
      if (withPod.has(key)) told.add(key);
      else withPod.add(key);
      queue.done(key);
      if (!told.has(key)) queue.add(key); // its pod runs and its agent speaks
      behind = Math.max(behind, withPod.size - told.size);
    }
    expect(told.size).to.equal(500);
    expect(behind, 'have a pod and are not told of').to.be.at.most(2);
  });
});
