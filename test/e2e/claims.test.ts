import { expect } from 'chai';
import { DRA_DRIVER } from '../../hack/cluster/index.ts';
import { terminalProgress } from '../../hack/lib/index.ts';
import { e2e, eventually, RUNTIME, whyNot } from './setup.ts';

const CLASS = 'made-up';
const TEMPLATE = 'one-made-up';
const DRA = { apiVersion: 'resource.k8s.io/v1' };

// biome-ignore lint/suspicious/noExplicitAny: objects of the API are read field by field
type Json = any;

const node = (name: string): object => ({
  apiVersion: 'resultity.com/v1alpha1',
  kind: 'ResultityNode',
  metadata: { name },
  spec: {
    networkRef: { name: 'demo' },
    owner: { email: 'you@example.com' },
    placement: {
      gpu: { accelerator: 'cpu' },
      resourceClaims: [{ name: 'gpu', resourceClaimTemplateName: TEMPLATE }],
    },
    runtime: { resources: { requests: { cpu: '50m', memory: '256Mi' } } },
    drain: { timeoutSeconds: 60 },
  },
});

/** Of each live pod by its node's name: what the claim that was made for it has got. */
const claims = async (): Promise<Record<string, { claim: string; pod: string; device: string | undefined }>> => {
  const { items } = JSON.parse(await e2e().k('get', 'resourceclaim', '-o', 'json'));
  return Object.fromEntries(
    items.map(({ metadata, status }: Json) => {
      const owner = metadata.ownerReferences[0];
      const device = status?.allocation?.devices.results[0]?.device;
      const reserved = status?.reservedFor?.some((r: Json) => r.uid === owner.uid);
      return [owner.name, { claim: metadata.name, pod: owner.uid, device: reserved ? device : undefined }];
    }),
  );
};
const gpuFit = (name: string) => e2e().condition('rnode', name, 'GPUFit');
const state = async (): Promise<string> =>
  `${await e2e().k('get', 'rnode,pod,resourceclaim', '-o', 'wide')}\n${await e2e().k('describe', 'pod', '-l', 'resultity.com/node in (claim-a,claim-b)')}\n${await e2e().target.kubectl(['get', 'resourceslice', '-o', 'yaml'])}`;
const ready = (name: string): Promise<unknown> =>
  eventually(
    `${name} is ready`,
    async () => (await e2e().condition('rnode', name, 'Ready')).status === 'True',
    180_000,
    state,
  );
const show = async (title: string, name: string): Promise<void> => {
  const { status, reason, message } = await gpuFit(name);
  process.stdout.write(`      ${title}: ${name} GPUFit=${status} ${reason}: ${message}\n${await whyNot(name)}`);
};

describe('claims of dynamic resource allocation', function () {
  this.timeout(600_000);
  let stop: (() => Promise<void>) | undefined;
  /** One device on the first machine. */
  const startDriver = async (): Promise<void> => {
    const { cluster, kubectl } = e2e().target;
    stop = await cluster?.startDraDriver(1, terminalProgress());
    await eventually(
      'the driver has published its device',
      async () => JSON.parse(await kubectl(['get', 'resourceslice', '-o', 'json'])).items.length === 1,
      60_000,
      state,
    );
  };

  before(async function () {
    const { target, apply } = e2e();
    if (RUNTIME !== 'sim' || !target.cluster) return this.skip();
    const selector = { cel: { expression: `device.driver == "${DRA_DRIVER}"` } };
    const requests = [{ name: 'gpu', exactly: { deviceClassName: CLASS } }];
    await apply({ ...DRA, kind: 'DeviceClass', metadata: { name: CLASS }, spec: { selectors: [selector] } });
    await apply({
      ...DRA,
      kind: 'ResourceClaimTemplate',
      metadata: { name: TEMPLATE },
      spec: { spec: { devices: { requests } } },
    });
  });
  after(async () => {
    const { k, target } = e2e();
    if (RUNTIME !== 'sim' || !target.cluster) return;
    await k('delete', 'rnode', 'claim-a', 'claim-b', '--ignore-not-found', '--timeout=120s');
    await k('delete', 'resourceclaimtemplate', TEMPLATE, '--ignore-not-found');
    await target.kubectl(['delete', 'deviceclass', CLASS, '--ignore-not-found']);
    await stop?.();
  });

  it('wait where no driver has a device, and are allocated when one comes: the pod runs with it', async () => {
    const { apply, get, target } = e2e();
    await apply(node('claim-a'));
    await eventually(
      'it waits for its claim',
      async () =>
        (await gpuFit('claim-a')).reason === 'ClaimPending' &&
        (await e2e().condition('rnode', 'claim-a', 'PodScheduled')).reason === 'Unschedulable',
      60_000,
      state,
    );
    await show('without a driver', 'claim-a');
    expect(await whyNot('claim-a')).to.contain('ClaimPending');
    await startDriver();
    await ready('claim-a');
    await show('with the driver', 'claim-a');
    expect(await gpuFit('claim-a')).to.include({ status: 'True', reason: 'FitFound' });
    expect((await gpuFit('claim-a')).message).to.contain('resource claims (gpu) are allocated');
    const { podUID } = (await get('rnode', 'claim-a')).status;
    expect((await claims())['claim-a']).to.include({ pod: podUID, device: 'device-00' });
    // the kubelet has had it prepared by the driver
    const prepared = await target.cluster?.exec(['sh', '-c', 'ls /var/run/cdi']);
    expect(prepared?.stdout).to.contain(
      (await get('resourceclaim', (await claims())['claim-a']?.claim ?? '')).metadata.uid,
    );
  });

  it('hold their device against others, who get it when it is given up', async () => {
    const { apply, k } = e2e();
    await apply(node('claim-b'));
    await eventually(
      'the other one waits',
      async () => (await gpuFit('claim-b')).reason === 'ClaimPending',
      60_000,
      state,
    );
    await eventually('the scheduler has told', async () =>
      (await e2e().condition('rnode', 'claim-b', 'PodScheduled')).message.includes('cannot allocate all claims'),
    );
    await show('the one device is taken', 'claim-b');
    await k('delete', 'rnode', 'claim-a', '--timeout=120s');
    await ready('claim-b');
    expect((await claims())['claim-b']?.device).to.equal('device-00');
  });

  it('that lose their device cost the node its pod, not its identity: it waits and comes back with another claim', async () => {
    const { get, target } = e2e();
    const before = await get('rnode', 'claim-b');
    const lost = (await claims())['claim-b'];
    await stop?.(); // else it would put its slice right
    const { items } = JSON.parse(await target.kubectl(['get', 'resourceslice', '-o', 'json']));
    items[0].spec.devices[0].taints = [{ key: 'example.com/broken', effect: 'NoExecute' }];
    await target.kubectl(['replace', '-f', '-'], JSON.stringify(items[0]));
    await eventually(
      'the pod with the broken device is taken away',
      async () => {
        const pod = await get('pod', 'claim-b').catch(() => undefined);
        return pod?.metadata.deletionTimestamp !== undefined || pod?.metadata.uid !== before.status.podUID;
      },
      60_000,
      state,
    );
    await startDriver(); // with a device that is whole; the kubelet gives the old one back through it
    await eventually(
      'another pod is there',
      async () => ![undefined, before.status.podUID].includes((await get('rnode', 'claim-b')).status.podUID),
      180_000,
      state,
    );
    await ready('claim-b');
    const after = await get('rnode', 'claim-b');
    expect(after.status.nodeId).to.equal(before.status.nodeId);
    const found = (await claims())['claim-b'];
    expect(found).to.include({ pod: after.status.podUID, device: 'device-00' });
    expect(found?.claim).to.not.equal(lost?.claim);
    await show('after the loss', 'claim-b');
  });
});
