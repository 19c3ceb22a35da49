import { expect } from 'chai';
import type { ResultityNode } from '../src/api/index.ts';
import { nodeManifest, type RunningOperator, startOperator } from '../test/support/operator-rig.ts';
import { NODE, NS, World } from '../test/support/operator-world.ts';
import { until } from '../test/support/until.ts';
import { KIND } from './kinds.ts';

const POD = { name: 'gpu-a', namespace: NS };

describe('an operator whose world breaks', function () {
  this.timeout(60_000);
  let world: World;
  let operator: RunningOperator;
  const deletions = () => world.api.requests.filter((r) => r.method === 'DELETE');
  const uid = () => world.pods[0]?.metadata?.uid;
  const settled = (): Promise<void> => until('settled', () => world.settled, 15_000);

  beforeEach(async () => {
    world = await World.start();
    await world.create();
    operator = await startOperator(world.api.connection);
    await settled();
  });
  afterEach(async () => {
    await operator.stop();
    await world.stop();
  });

  it('makes no second pod for one that is partitioned away, until its machine is out of service', async () => {
    const [before, incarnation = 0] = [uid(), world.node?.status?.incarnation];
    world.player.away = true;
    await world.taint('node.kubernetes.io/unreachable');
    await until('Unknown', () => world.condition('Serving')?.status === 'Unknown');
    expect(world.condition('AgentReady')).to.include({ reason: 'MachineUnreachable' });
    expect(deletions()).to.deep.equal([]);
    // The cluster evicts it after unreachableSeconds: its object stays, as no kubelet says that it has ended.
    await world.user.delete(KIND.pod, POD);
    await until('it waits', () => world.condition('PodScheduled')?.reason === 'FencingWait');
    expect(world.condition('PodScheduled')?.message).to.contain('node.kubernetes.io/out-of-service');
    expect(world.pods.map((p) => p.metadata?.uid)).to.deep.equal([before]);
    await world.taint('node.kubernetes.io/unreachable', 'node.kubernetes.io/out-of-service');
    await until('another pod', () => uid() !== undefined && uid() !== before);
    world.player.away = false;
    await world.taint();
    await settled();
    expect(world.node?.status?.incarnation).to.be.greaterThan(incarnation);
    expect(world.outcome).to.deep.include({ mostPods: 1, sameKey: [true] });
  });

  it('lets a person force the next pod, once', async () => {
    const before = uid();
    world.player.away = true;
    await world.taint('node.kubernetes.io/unreachable');
    await world.user.patchMerge(KIND.node, NODE, {
      metadata: { annotations: { 'resultity.com/force-replace': 'yes' } },
    });
    await until('another pod', () => uid() !== undefined && uid() !== before);
    await until('taken off', () => world.node?.metadata.annotations?.['resultity.com/force-replace'] === undefined);
    expect(world.player.mostPods).to.equal(1);
  });

  it('replaces nothing while the machines of a group are silent together, and does when they are back', async () => {
    for (const name of ['gpu-b', 'gpu-c'])
      await world.user.create(KIND.node, nodeManifest(name, NS) as unknown as ResultityNode);
    const all = () => world.api.objects<ResultityNode>('resultitynodes');
    const reason = (type: string) =>
      all()
        .find((n) => n.metadata.name === 'gpu-a')
        ?.status?.conditions?.find((c) => c.type === type);
    await until('all ready', () => all().every((n) => n.status?.phase === 'Active') && all().length === 3, 15_000);
    await world.taint('node.kubernetes.io/unreachable');
    await until('silent', () => reason('AgentReady')?.reason === 'MachineUnreachable');
    world.player.away = true;
    const before = uid();
    await world.user.patchMerge(
      KIND.pod,
      POD,
      { status: { phase: 'Failed', reason: 'Evicted' } },
      { subresource: 'status' },
    );
    await until(
      'held',
      () => reason('PodScheduled')?.message.includes('nothing is replaced while the machines of 3 of 3') === true,
      15_000,
    );
    expect(deletions()).to.deep.equal([]);
    expect(uid()).to.equal(before);
    world.player.away = false;
    await world.taint();
    await until(
      'another pod',
      () => world.pods.some((p) => p.metadata?.name === 'gpu-a' && p.metadata.uid !== before),
      30_000,
    );
    expect(world.player.mostPods).to.equal(1);
  });

  it('forgets what the agent of a gone pod has said, so that nothing looks alive', async () => {
    await world.user.delete(KIND.pod, POD);
    await until('forgotten', () =>
      world.api.requests.some((r) => (r.body as { status?: { agent?: null } } | undefined)?.status?.agent === null),
    );
    await until('its next agent speaks', () => world.settled && world.node?.status?.agent?.phase === 'Active', 15_000);
  });

  it('touches no pod in a storm of 409, 410, 429 and cut watches, and settles after it', async () => {
    const before = uid();
    let n = 0;
    const statuses = [409, 410, 429, 500, 503];
    for (const status of statuses)
      world.api.fault({
        when: (r) => !r.path.startsWith('/api/v1/nodes') && n++ % statuses.length === statuses.indexOf(status),
        times: 40,
        answer: { status, ...(status === 429 ? { retryAfter: 0 } : {}) },
      });
    for (let round = 0; round < 8; round++) {
      world.api.cutWatches(round % 2 === 0);
      world.api.compact();
      world.network.states.clear();
      await new Promise((resolve) => setTimeout(resolve, 250));
    }
    await settled();
    expect(uid()).to.equal(before);
    expect(deletions()).to.deep.equal([]);
  });

  it('says what Kueue says of a gated pod', async () => {
    const gated = { type: 'PodScheduled', status: 'False', reason: 'SchedulingGated' };
    world.player.away = true;
    await world.user.patchMerge(KIND.pod, POD, { spec: { nodeName: null } });
    await world.user.patchMerge(KIND.pod, POD, { status: { conditions: [gated] } }, { subresource: 'status' });
    await until('gated', () => world.condition('PodScheduled')?.reason === 'QueueWaiting');
    expect(world.condition('PodScheduled')?.message).to.contain('scheduling gates');
    const workload = {
      metadata: {
        name: 'pod-gpu-a',
        namespace: NS,
        ownerReferences: [{ apiVersion: 'v1', kind: 'Pod', name: 'gpu-a', uid: uid() ?? '', controller: true }],
      },
      status: {
        conditions: [{ type: 'QuotaReserved', status: 'False', reason: 'Pending', message: 'no quota in gpu' }],
      },
    };
    await world.user.create(KIND.workload, { metadata: workload.metadata });
    const at = { name: 'pod-gpu-a', namespace: NS };
    await world.user.patchMerge(KIND.workload, at, { status: workload.status }, { subresource: 'status' });
    world.api.optional.set('kueue.x-k8s.io/v1beta1/workloads', true);
    await operator.stop();
    operator = await startOperator(world.api.connection);
    await until('Kueue’s words', () => world.condition('PodScheduled')?.message.includes('no quota in gpu') === true);
  });

  it('deletes a node whose network is down', async () => {
    world.network.down = 503;
    await world.user.delete(KIND.node, NODE, { propagation: 'Foreground' });
    await until('gone', () => world.node === undefined && world.pods.length === 0);
    expect(world.api.objects('secrets')).to.have.length(1); // retained
  });

  it('leaves the pod to itself when the node is orphaned, and to the collector’s order otherwise', async () => {
    // What the API server and its collector do for propagationPolicy=Orphan.
    const finalizers = [...(world.node?.metadata.finalizers ?? []), 'orphan'];
    await world.user.patchMerge(KIND.node, NODE, { metadata: { finalizers } });
    await world.user.delete(KIND.node, NODE);
    await until('seen', () => world.node?.metadata.deletionTimestamp !== undefined);
    await world.user.patchMerge(KIND.pod, POD, { metadata: { ownerReferences: null } });
    await world.user.patchMerge(KIND.node, NODE, {
      metadata: { finalizers: finalizers.filter((f) => f !== 'orphan') },
    });
    await until('gone', () => world.node === undefined);
    expect(world.pods).to.have.length(1);
    expect(world.pods[0]?.metadata?.annotations).to.not.have.property('resultity.com/drain');
    expect(deletions().map((r) => r.path)).to.deep.equal([
      '/apis/resultity.com/v1alpha1/namespaces/nodes/resultitynodes/gpu-a',
    ]);
  });
});
