import { expect } from 'chai';
import { facts, NODE_ID, resultityNode, storedPod } from '../../test/support/node-facts.ts';
import { runningPod } from '../../test/support/operator-rig.ts';
import type { KubernetesNode, Pod } from '../pod-types.ts';
import { type Decision, decideNode } from './decide.ts';
import type { Machine, NodeFacts } from './facts.ts';
import { machineOf } from './machine.ts';

const NOW = facts().now;
const pod = (over: Partial<Pod> = {}): Pod => {
  const made = storedPod(facts());
  return { ...made, spec: { ...made.spec!, nodeName: 'machine' }, status: runningPod, ...over };
};
const machine = (taints: string[] = [], gpus = '1'): KubernetesNode => ({
  metadata: { name: 'machine' },
  spec: { taints: taints.map((key) => ({ key, effect: 'NoExecute' })) },
  status: { allocatable: { 'nvidia.com/gpu': gpus } },
});
const look = (known: KubernetesNode | undefined, of = pod(), now = NOW, exists = false): Promise<Machine> =>
  machineOf(of, { get: () => known } as never, { list: () => [of] }, now, true, () => Promise.resolve(exists));

describe('the machine of a pod', () => {
  it('is told by its taints', async () => {
    expect((await look(machine())).state).to.equal('ready');
    expect((await look(machine(['node.kubernetes.io/unreachable']))).state).to.equal('unreachable');
    const both = ['node.kubernetes.io/unreachable', 'node.kubernetes.io/out-of-service'];
    expect((await look(machine(both))).state).to.equal('outOfService');
  });
  it('is gone only when the API server itself says so, and not for a pod that was just bound', async () => {
    expect((await look(undefined)).state).to.equal('gone');
    expect((await look(undefined, pod(), NOW, true)).state).to.equal('unknown');
    expect((await look(undefined, pod(), Date.parse('2026-11-21T09:00:30Z'))).state).to.equal('unknown');
  });
  it('has lost a GPU when its pods hold more than it has, and the one that is down is the loser', async () => {
    const down = pod({ status: { ...runningPod, containerStatuses: [{ name: 'runtime', ready: false }] } });
    expect((await look(machine([], '0'), down)).gpuLost).to.equal(true);
    expect((await look(machine([], '1'), down)).gpuLost).to.equal(false);
    expect((await look(machine([], '0'), pod())).gpuLost).to.equal(false);
  });
});

describe('a node whose machine fails it', () => {
  const crashed = {
    ...runningPod,
    containerStatuses: [{ name: 'runtime', ready: false, state: { waiting: { reason: 'CrashLoopBackOff' } } }],
  };
  const on = (
    at: Partial<Machine>,
    status: Pod['status'] = runningPod,
    servingFor = 0,
    over: Partial<NodeFacts> = {},
    annotations: Record<string, string> = {},
  ): Decision =>
    decideNode({
      ...facts(),
      ...over,
      pod: pod({ status }),
      machine: { name: 'machine', state: 'ready', gpuLost: false, ...at },
      node: resultityNode(
        {},
        {
          nodeId: NODE_ID,
          podUID: 'uid-pod',
          conditions: [
            {
              type: 'Serving',
              status: 'False',
              reason: 'EngineDead',
              message: 'm',
              lastTransitionTime: new Date(NOW - servingFor).toISOString(),
            },
          ],
        },
        { annotations },
      ),
    });
  const deletes = (d: Decision) => d.steps.filter((s) => s.do === 'deletePod');

  it('gets another pod when the machine is gone or out of service, and not when it only does not answer', () => {
    for (const state of ['gone', 'outOfService'] as const)
      expect(deletes(on({ state }))).to.deep.include.members([
        { ...deletes(on({ state }))[0], force: true, uid: 'uid-pod' },
      ]);
    expect(deletes(on({ state: 'unreachable' }))).to.deep.equal([]);
    expect(deletes(on({ state: 'unknown' }))).to.deep.equal([]);
  });
  it('moves away from a machine that has lost a GPU, once its engine has been down for five minutes', () => {
    expect(deletes(on({ gpuLost: true }, crashed, 300_000))[0]).to.include({ force: false });
    expect(deletes(on({ gpuLost: true }, crashed, 60_000))).to.deep.equal([]);
    expect(on({ gpuLost: true }, crashed, 60_000).againMs).to.equal(240_000);
    expect(deletes(on({ gpuLost: true }, runningPod, 600_000))).to.deep.equal([]);
  });
  it('gets another pod for one that the kubelet has not admitted, or evicted', () => {
    for (const reason of ['UnexpectedAdmissionError', 'Evicted', 'NodeAffinity'])
      expect(deletes(on({}, { phase: 'Failed', reason }))[0], reason).to.include({ force: false, uid: 'uid-pod' });
  });
  it('is left as it is while the brake is on, and says so, whatever would replace its pod', () => {
    const braked = { brake: () => '2 of 3 machines are gone' };
    const scenes: [string, Decision][] = [
      ['machine gone', on({ state: 'gone' }, runningPod, 0, braked)],
      ['evicted', on({}, { phase: 'Failed', reason: 'Evicted' }, 0, braked)],
      ['GPU lost', on({ gpuLost: true }, crashed, 300_000, braked)],
    ];
    for (const [what, d] of scenes) {
      expect(deletes(d), what).to.deep.equal([]);
      expect(d.againMs, what).to.be.greaterThan(0);
      const told = d.status.conditions.filter((c) => c.message.includes('2 of 3 machines are gone')).map((c) => c.type);
      expect(told, what).to.include('Ready');
    }
  });
  it('is replaced all the same when a person says so', () => {
    const braked = { brake: () => '2 of 3 machines are gone' };
    expect(deletes(on({ state: 'outOfService' }, runningPod, 0, braked))).to.have.length(1);
    expect(
      deletes(on({ state: 'gone' }, runningPod, 0, braked, { 'resultity.com/force-replace': 'yes' })),
    ).to.have.length(1);
  });
});
