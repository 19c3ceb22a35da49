/**
 * hack/examples as they stand, on the real cluster. Of the network a reader's part is filled in: where it is, its root and
 * its registry. The single node and the MIG slice serve; the fleet's pools are machines that exist only in the API, so its
 * pods are made and scheduled and run nowhere.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { parse, parseAllDocuments, stringify } from 'yaml';
import { gpuLabels } from '../../hack/cluster/gpus.ts';
import { NETWORK_HOST, NETWORK_PORT } from '../../hack/demo/names.ts';
import { repoRoot } from '../../hack/lib/index.ts';
import { ENGINE_MS, e2e, eventually, RUNTIME } from './setup.ts';

const FLEET = 'resultity.com/fleet=inference';
const MIG = 'nvidia.com/mig-3g.40gb';

/** Machines without a kubelet: they stay Ready as long as somebody says so. */
const MACHINES = [
  { name: 'example-h200', product: 'NVIDIA-H200', memory: '143771', taints: [] },
  {
    name: 'example-l40s',
    product: 'NVIDIA-L40S',
    memory: '46068',
    taints: [{ key: 'dedicated', value: 'inference', effect: 'NoSchedule' }],
  },
];
const RESOURCES = { cpu: '64', memory: '512Gi', pods: '110', 'ephemeral-storage': '2Ti', 'nvidia.com/gpu': '8' };

const example = (file: string): object[] =>
  parseAllDocuments(readFileSync(join(repoRoot, 'hack/examples', file), 'utf8')).map((d) => {
    const object = d.toJS();
    if (object.kind !== 'ResultityNetwork') return object;
    object.spec.endpoint = `https://${NETWORK_HOST}:${NETWORK_PORT}`;
    object.spec.tls = { caBundle: { configMap: object.spec.trust.rootConfigMap } };
    object.spec.images = { allowedRepositories: [e2e().target.registry.pull] };
    return object;
  });
const applyAll = async (objects: readonly object[]): Promise<void> => {
  for (const object of objects) await e2e().apply(object);
};

/** Says that the machines live; by the way in which a kubelet without leases would. */
const beat = async (): Promise<void> => {
  const now = new Date().toISOString();
  const conditions = [{ type: 'Ready', status: 'True', reason: 'Example', lastHeartbeatTime: now }];
  for (const { name } of MACHINES)
    await e2e().target.kubectl([
      ...['patch', 'node', name, '--subresource=status', '--type=merge', '-p'],
      JSON.stringify({ status: { conditions, capacity: RESOURCES, allocatable: RESOURCES } }),
    ]);
};

/** A class that is the default, and a volume for each claim of the fleet's members. */
const volumes = (): object[] => [
  {
    apiVersion: 'storage.k8s.io/v1',
    kind: 'StorageClass',
    metadata: { name: 'example', annotations: { 'storageclass.kubernetes.io/is-default-class': 'true' } },
    provisioner: 'kubernetes.io/no-provisioner',
    volumeBindingMode: 'WaitForFirstConsumer',
  },
  ...['2Gi', '200Gi'].flatMap((storage) =>
    Array.from({ length: 6 }, (_, i) => ({
      apiVersion: 'v1',
      kind: 'PersistentVolume',
      metadata: { name: `example-${storage.toLowerCase()}-${i}`, labels: { example: 'true' } },
      spec: {
        capacity: { storage },
        accessModes: ['ReadWriteOnce'],
        persistentVolumeReclaimPolicy: 'Retain',
        storageClassName: 'example',
        hostPath: { path: '/nowhere' },
      },
    })),
  ),
];

const state = (): Promise<string> => e2e().k('get', 'rnet,rfleet,rnode,pod,pvc', '-o', 'wide');
const serving = (name: string): Promise<boolean> =>
  eventually(
    `${name} of the example is ready`,
    async () => (await e2e().condition('rnode', name, 'Ready')).status === 'True',
    ENGINE_MS,
    state,
  );

describe('the examples', function () {
  this.timeout(ENGINE_MS + 300_000);
  let peer = '';
  let labels: Record<string, string> = {};

  before(async function () {
    const { target, installed, get } = e2e();
    if (RUNTIME !== 'sim' || !target.cluster?.peer) return this.skip(); // real engines for all do not fit the machine
    peer = target.cluster.peer.nodeName;
    labels = (await get('node', peer)).metadata.labels;
    const root = parse(readFileSync(join(installed.dir, 'kubernetes/root-configmap.yaml'), 'utf8'));
    await e2e().apply({ ...root, metadata: { name: 'example-root' } });
    // the second machine becomes one with MIG, strategy mixed
    await target.kubectl(['uncordon', peer]);
    await target.kubectl([
      ...['label', 'node', peer, '--overwrite', 'nvidia.com/mig.strategy=mixed', 'nvidia.com/mig.capable=true'],
      ...[`${MIG}.product=NVIDIA-H200-MIG-3g.40gb`, `${MIG}.memory=40192`],
    ]);
    const slices = JSON.stringify({ status: { capacity: { [MIG]: '2' }, allocatable: { [MIG]: '2' } } });
    await target.kubectl(['patch', 'node', peer, '--subresource=status', '--type=merge', '-p', slices]);
  });

  after(async () => {
    const { target, k } = e2e();
    if (peer === '') return;
    await k('delete', 'rfleet,rnode', 'inference', 'gpu-0', 'slice-0', '--ignore-not-found', '--wait=false');
    await eventually(
      'the examples are gone',
      async () => {
        // nobody ends pods on machines without a kubelet
        await k('delete', 'pod', '-l', FLEET, '--force', '--grace-period=0', '--ignore-not-found');
        return (await k('get', 'rnode', '-o', 'name')).trim() === 'resultitynode.resultity.com/demo-0';
      },
      180_000,
      state,
    );
    await k('delete', 'rnet/example', 'configmap/example-root', '--ignore-not-found');
    await k('delete', 'pvc', '-l', 'resultity.com/network=example', '--ignore-not-found');
    await target.kubectl(['delete', 'pv', '-l', 'example=true', '--ignore-not-found']);
    const made = ['storageclass/example', ...MACHINES.map(({ name }) => `node/${name}`)];
    await target.kubectl(['delete', '--ignore-not-found', ...made]);
    await target.kubectl(['cordon', peer]);
    const none = JSON.stringify({ status: { capacity: { [MIG]: null }, allocatable: { [MIG]: null } } });
    await target.kubectl(['patch', 'node', peer, '--subresource=status', '--type=merge', '-p', none]);
    const before = ['strategy', 'capable'].map((l) => `nvidia.com/mig.${l}=${labels[`nvidia.com/mig.${l}`]}`);
    await target.kubectl(['label', 'node', peer, '--overwrite', ...before, `${MIG}.product-`, `${MIG}.memory-`]);
  });

  it('single-node.yaml and mig.yaml: both serve, the second on a slice', async () => {
    await applyAll([...example('single-node.yaml'), ...example('mig.yaml')]);
    await serving('gpu-0');
    await serving('slice-0');
    const { get } = e2e();
    const [whole, slice] = [await get('pod', 'gpu-0'), await get('pod', 'slice-0')];
    expect(whole.spec.containers[0].resources.limits).to.include({ 'nvidia.com/gpu': '1' });
    expect(slice.spec.containers[0].resources.limits).to.include({ [MIG]: '1' });
    expect(slice.spec.nodeName).to.equal(peer);
  });

  it('fleet-two-pools.yaml: four members on H200s, two on L40Ss, each with its claims bound', async () => {
    const { target, k } = e2e();
    for (const { name, product, memory, taints } of MACHINES)
      await target.kubectl(
        ['apply', '-f', '-'],
        stringify({
          apiVersion: 'v1',
          kind: 'Node',
          metadata: {
            name,
            labels: { ...gpuLabels(8), 'nvidia.com/gpu.product': product, 'nvidia.com/gpu.memory': memory },
          },
          spec: { taints },
        }),
      );
    await beat();
    await target.kubectl(
      ['apply', '-f', '-'],
      volumes()
        .map((v) => stringify(v))
        .join('---\n'),
    );
    await applyAll(example('fleet-two-pools.yaml'));
    const machines = await eventually(
      'six pods of the fleet have machines',
      async () => {
        await beat();
        const { items } = JSON.parse(await k('get', 'pod', '-l', FLEET, '-o', 'json'));
        const names: string[] = items.flatMap((p: { spec: { nodeName?: string } }) => p.spec.nodeName ?? []);
        return names.length === 6 && names;
      },
      120_000,
      async () => `${await state()}\n${await k('get', 'events', '--sort-by=.metadata.creationTimestamp')}`,
    );
    const on = (machine: string): number => machines.filter((m) => m === machine).length;
    expect([on('example-h200'), on('example-l40s')]).to.deep.equal([4, 2]);
    const claims = JSON.parse(await k('get', 'pvc', '-l', 'resultity.com/network=example', '-o', 'json')).items;
    expect(claims.map((c: { status: { phase: string } }) => c.status.phase)).to.deep.equal(Array(12).fill('Bound'));
  });
});
