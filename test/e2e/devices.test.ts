import { expect } from 'chai';
import { SAMPLE_DEVICES, sampleDeviceFile } from '../../hack/cluster/index.ts';
import { firstModel, publish } from '../../hack/demo/publish.ts';
import type { DemoImages } from '../../hack/demo/run.ts';
import { buildResultityImage, buildSimImage } from '../../hack/images/index.ts';
import { Load } from './load.ts';
import { e2e, eventually, RUNTIME, whyNot } from './setup.ts';

const RESOURCE = SAMPLE_DEVICES.resourceName;
const FLEET = 'plug';
const API = { apiVersion: 'resultity.com/v1alpha1' };

const template = (gpu: object, fit: 'Advise' | 'Require') => ({
  networkRef: { name: 'demo' },
  owner: { email: 'you@example.com' },
  placement: { gpu: { accelerator: 'cpu', resourceName: RESOURCE, ...gpu }, fit },
  runtime: { resources: { requests: { cpu: '50m', memory: '256Mi' } } },
  drain: { timeoutSeconds: 60 },
});
const single = (name: string, count: number): object => ({
  ...API,
  kind: 'ResultityNode',
  metadata: { name },
  spec: template({ count }, 'Advise'),
});

const state = async (): Promise<string> =>
  `${await e2e().k('get', 'rfleet,rnode,pod', '-o', 'wide')}\n${await e2e().k('get', 'rnode', '-o', 'jsonpath={range .items[*]}{.metadata.name} {.status.conditions}{"\\n"}{end}')}`;

/** A pod of the fleet, and what the kubelet gave it by its own record. */
interface Holder {
  readonly node: string;
  readonly podUID: string;
  readonly devices: string;
  readonly agent: string;
  readonly runtime: string;
  readonly restarts: number;
}

/** The kubelet's checkpoint: who holds which device, by the pod's uid. */
const allocated = async (): Promise<Map<string, string[]>> => {
  const file = '/var/lib/kubelet/device-plugins/kubelet_internal_checkpoint';
  const { stdout } = (await e2e().target.cluster?.exec(['cat', file])) ?? { stdout: '{}' };
  const entries: { PodUID: string; ResourceName: string; DeviceIDs: Record<string, string[]> }[] =
    JSON.parse(stdout).Data?.PodDeviceEntries ?? [];
  const mine = entries.filter((e) => e.ResourceName === RESOURCE);
  return new Map(mine.map((e) => [e.PodUID, Object.values(e.DeviceIDs).flat()]));
};

const holders = async (): Promise<Holder[]> => {
  const [{ items }, devices] = [
    JSON.parse(await e2e().k('get', 'pod', '-l', `resultity.com/fleet=${FLEET}`, '-o', 'json')),
    await allocated(),
  ];
  return items
    .filter((p: { metadata: { labels: Record<string, string> } }) => p.metadata.labels['resultity.com/role'] === 'node')
    .map((p: { metadata: { name: string; uid: string }; spec: Json; status: Json }) => ({
      node: p.metadata.name,
      podUID: p.metadata.uid,
      devices: (devices.get(p.metadata.uid) ?? []).join(','),
      agent: p.spec.initContainers.find((c: Json) => c.name === 'agent').image,
      runtime: p.spec.containers[0].image,
      restarts: p.status.containerStatuses?.[0]?.restartCount ?? 0,
    }));
};
// biome-ignore lint/suspicious/noExplicitAny: objects of the API are read field by field
type Json = any;

/** All nodes of the fleet, and demo-0, are Ready, with these images and nothing of an update left. */
const settled = (what: string, replicas: number, images: DemoImages): Promise<unknown> =>
  eventually(
    what,
    async () => {
      const { items } = JSON.parse(await e2e().k('get', 'rnode', '-o', 'json'));
      const names = [
        'demo-0',
        ...items.map((n: Json) => n.metadata.name).filter((n: string) => n.startsWith(`${FLEET}-`)),
      ];
      if (names.length !== replicas + 1) return false;
      for (const name of names) {
        const { status } = items.find((n: Json) => n.metadata.name === name);
        const is = (type: string): Json => status?.conditions?.find((c: Json) => c.type === type);
        if (is('Ready')?.status !== 'True' || is('Progressing')?.reason !== 'Settled') return false;
        const { spec, metadata } = await e2e().get('pod', name);
        if (metadata.annotations['resultity.com/rollout'] !== undefined) return false;
        if (spec.initContainers.find((c: Json) => c.name === 'agent').image !== images.resultity.ref) return false;
        if (spec.containers[0].image !== images.runtime.ref || status.agent.runtime.image !== images.runtime.ref)
          return false;
      }
      return true;
    },
    600_000,
    state,
  );

/** Somebody else's pod that waits for a device; the pause image is on every node. */
const stranger = (name: string, priorityClassName?: string): object => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name, namespace: 'default' },
  spec: {
    terminationGracePeriodSeconds: 0,
    ...(priorityClassName && { priorityClassName }),
    containers: [
      {
        name: 'wants-a-device',
        image: 'localhost/pause:1',
        imagePullPolicy: 'Never',
        resources: { limits: { [RESOURCE]: '1' } },
      },
    ],
  },
});
const strangers = ['waits', 'waits-first'];
const strangerOf = async (name: string): Promise<Json> =>
  JSON.parse(await e2e().target.kubectl(['-n', 'default', 'get', 'pod', name, '-o', 'json']));

describe('devices that a device plug-in offers to the kubelet', function () {
  this.timeout(900_000);

  before(async function () {
    const { cluster } = e2e().target;
    if (RUNTIME !== 'sim' || !cluster) return this.skip();
    await eventually(
      'the kubelet advertises the devices',
      async () => {
        const node = await e2e().target.kubectl(['get', 'node', cluster.nodeName, '-o', 'json']);
        return JSON.parse(node).status.allocatable[RESOURCE] === String(SAMPLE_DEVICES.ids.length);
      },
      60_000,
    );
    await e2e().apply({
      ...API,
      kind: 'ResultityFleet',
      metadata: { name: FLEET },
      spec: { replicas: 1, template: template({ count: 1 }, 'Require') },
    });
  });
  after(async () => {
    const { k, target } = e2e();
    await target.kubectl(['-n', 'default', 'delete', 'pod', ...strangers, '--ignore-not-found', '--timeout=60s']);
    await target.kubectl(['delete', 'priorityclass', 'first-but-never', '--ignore-not-found']);
    await k('delete', 'rnode', 'two', 'three', '--ignore-not-found', '--timeout=120s');
    await k('delete', 'rfleet', FLEET, '--ignore-not-found', '--cascade=foreground', '--timeout=180s');
    if (!target.cluster || RUNTIME !== 'sim') return;
    const { images } = e2e().installed;
    await publish(e2e().installed, [firstModel(RUNTIME)]);
    await settled('demo-0 with the images it had', 0, images);
  });

  it('are found by the planner, which lets the pod be made, and one of them is in the runtime’s container', async () => {
    const { get, k } = e2e();
    await settled('the node is ready', 1, e2e().installed.images);
    const node = await get('rnode', `${FLEET}-0`);
    // fit: Require makes no pod before the planner has found a free one
    const fit = node.status.conditions.find((c: Json) => c.type === 'GPUFit');
    expect(fit).to.include({ status: 'True', reason: 'FitFound' });
    expect(node.status.gpu).to.include({ resourceName: RESOURCE, count: 1, product: 'Resultity-Demo-GPU' });
    const [holder] = await holders();
    expect(SAMPLE_DEVICES.ids).to.include(holder?.devices);
    const inside = await k(
      ...['exec', `${FLEET}-0`, '-c', 'runtime', '--', 'python3', '-c'],
      'import glob; print(" ".join(glob.glob("/tmp/Dev-*")))',
    );
    expect(inside.trim()).to.equal(sampleDeviceFile(holder?.devices ?? ''));
    process.stdout.write(await whyNot(`${FLEET}-0`, '-o', 'wide'));
  });

  it('are denied with reasons: more than are free, and more than the machine has', async () => {
    const { apply, condition, k } = e2e();
    await apply(single('two', 2));
    await apply(single('three', 3));
    await eventually(
      'the reasons',
      async () =>
        (await condition('rnode', 'two', 'GPUFit')).reason === 'NoSpareGPU' &&
        (await condition('rnode', 'three', 'GPUFit')).reason === 'InsufficientGPUs',
      60_000,
      state,
    );
    const [waits, never] = [await whyNot('two', '-o', 'wide'), await whyNot('three', '-o', 'wide')];
    process.stdout.write(`${waits}${never}`);
    expect(waits).to.contain('NoSpareGPU').and.contain('1 of 2 free');
    expect(never).to.contain('InsufficientGPUs');
    // what can come about waits for the scheduler; what cannot is withheld
    expect((await condition('rnode', 'two', 'PodScheduled')).reason).to.equal('Unschedulable');
    expect(await k('get', 'pod', 'three', '--ignore-not-found', '-o', 'name')).to.equal('');
    await k('delete', 'rnode', 'two', 'three', '--timeout=120s');
  });

  it('change hands in no rollout of a full cluster, whoever waits for one, and no job is lost', async () => {
    const { target, installed, k } = e2e();
    await k('scale', `rfleet/${FLEET}`, '--replicas=2');
    await settled('the cluster is full', 2, installed.images);
    const priority = {
      apiVersion: 'scheduling.k8s.io/v1',
      kind: 'PriorityClass',
      metadata: { name: 'first-but-never' },
      value: 1_000_000,
      preemptionPolicy: 'Never',
    };
    for (const object of [priority, stranger('waits'), stranger('waits-first', 'first-but-never')])
      await target.kubectl(['apply', '-f', '-'], JSON.stringify(object));
    const told = async (name: string): Promise<Json> =>
      (await strangerOf(name)).status.conditions?.find((c: Json) => c.type === 'PodScheduled');
    for (const name of strangers)
      await eventually(`${name} waits`, async () => (await told(name))?.reason === 'Unschedulable');
    expect((await told('waits-first')).message).to.contain(`Insufficient ${RESOURCE}`);

    const before = await holders();
    expect(before.map((h) => h.devices).sort()).to.deep.equal([...SAMPLE_DEVICES.ids]);
    const options = { registry: target.registry, variant: { name: 'rolled', env: {} } };
    const rolled: DemoImages = {
      resultity: await buildResultityImage(options),
      runtime: await buildSimImage(options),
    };
    await installed.withApi(async (api) => {
      const load = new Load(api, [installed.model], 3);
      try {
        await eventually('answers', () => Promise.resolve(load.count('answered') > 3));
        await publish({ ...installed, images: rolled }, [firstModel(RUNTIME)]);
        await settled('both images are rolled out', 2, rolled);
        const answered = load.count('answered');
        await eventually('answers after it', () => Promise.resolve(load.count('answered') > answered + 3));
      } finally {
        await load.settle('agent and runtime image of a full cluster, two pods waiting');
      }
      expect(load.count('midStream')).to.equal(0);
    });

    const after = await holders();
    table(before, after);
    const held = (all: Holder[]): unknown[] => all.map((h) => [h.node, h.podUID, h.devices]);
    expect(held(after)).to.deep.equal(held(before));
    for (const name of strangers) {
      expect((await strangerOf(name)).spec.nodeName, `${name} got no machine`).to.equal(undefined);
      const events = await target.kubectl(['-n', 'default', 'get', 'events', '-o', 'json']);
      const scheduled = JSON.parse(events).items.filter(
        (e: Json) => e.involvedObject.name === name && e.reason === 'Scheduled',
      );
      expect(scheduled).to.deep.equal([]);
    }
    // and they did want one: the first that is given up is theirs
    await k('scale', `rfleet/${FLEET}`, '--replicas=1');
    const first = await eventually(
      'the freed device goes to the one of higher priority',
      async () => (await strangerOf('waits-first')).status.phase === 'Running' && strangerOf('waits-first'),
      120_000,
      state,
    );
    const [kept] = await holders();
    expect((await allocated()).get(first.metadata.uid)).to.deep.equal(
      SAMPLE_DEVICES.ids.filter((id) => id !== kept?.devices),
    );
  });
});

const short = (image: string): string => image.slice(image.indexOf('sha256:') + 7).slice(0, 12);
const table = (before: readonly Holder[], after: readonly Holder[]): void => {
  const line = (cells: readonly string[]): string =>
    `      ${cells.map((c, i) => c.padEnd([8, 38, 14, 28, 28][i] ?? 0)).join('')}\n`;
  process.stdout.write(line(['node', 'pod UID', 'device', 'agent', 'runtime']));
  for (const b of before) {
    const a = after.find((h) => h.node === b.node);
    const change = (was: string | undefined, is: string | undefined): string =>
      was === is ? `${was}` : `${was} → ${is}`;
    process.stdout.write(
      line([
        b.node,
        change(b.podUID, a?.podUID),
        change(b.devices, a?.devices),
        change(short(b.agent), short(a?.agent ?? '')),
        change(short(b.runtime), short(a?.runtime ?? '')),
      ]),
    );
  }
};
