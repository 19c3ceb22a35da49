import { expect } from 'chai';
import { clusterUp } from '../../hack/cluster/index.ts';
import { terminalProgress } from '../../hack/lib/index.ts';
import { e2e, eventually, RUNTIME, whyNot } from './setup.ts';

const NAME = 'from-zero';
const MACHINE = 'fake-gpu-0000';

describe('a pool that an autoscaler brings up from nothing', function () {
  this.timeout(600_000);

  before(function () {
    if (RUNTIME !== 'sim') this.skip(); // the same with any engine: none is started
  });
  after(async () => {
    await e2e().k('delete', 'rnode', NAME, '--ignore-not-found', '--timeout=120s');
    await e2e().target.kubectl(['delete', 'node', MACHINE, '--ignore-not-found']);
  });

  it('has the pod that waits, which is what an autoscaler sees, and the pod is placed when its machine has come', async () => {
    const { apply, get, condition, target } = e2e();
    await apply({
      apiVersion: 'resultity.com/v1alpha1',
      kind: 'ResultityNode',
      metadata: { name: NAME },
      spec: {
        networkRef: { name: 'demo' },
        owner: { email: 'you@example.com' },
        placement: {
          nodeSelector: { type: 'kwok' },
          tolerations: [{ key: 'kwok.x-k8s.io/node', operator: 'Exists', effect: 'NoSchedule' }],
          gpu: { accelerator: 'cpu', count: 1 },
        },
        drain: { timeoutSeconds: 5 },
      },
    });
    const told = (): Promise<string> => whyNot(NAME);
    await eventually(
      'its pod waits for the scheduler',
      async () => (await condition('rnode', NAME, 'PodScheduled')).reason === 'Unschedulable',
      60_000,
      told,
    );
    expect((await get('pod', NAME)).spec.nodeName).to.equal(undefined);
    const before = await condition('rnode', NAME, 'GPUFit');
    process.stdout.write(
      `      no machine: GPUFit=${before.status} ${before.reason}: ${before.message}\n${await told()}`,
    );
    expect(before.status).to.not.equal('True');

    await clusterUp({ name: target.cluster?.name ?? '', fakeNodes: 1, progress: terminalProgress() });
    await eventually('the pod is placed', async () => (await get('pod', NAME)).spec.nodeName === MACHINE, 60_000, told);
    const after = await eventually(
      'the node says so',
      async () => {
        const [fit, scheduled] = [
          await condition('rnode', NAME, 'GPUFit'),
          await condition('rnode', NAME, 'PodScheduled'),
        ];
        return fit.status === 'True' && scheduled.status === 'True' && fit;
      },
      60_000,
      told,
    );
    process.stdout.write(`      with a machine: GPUFit=${after.status} ${after.reason}: ${after.message}\n`);
  });
});
