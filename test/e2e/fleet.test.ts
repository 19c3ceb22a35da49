import { expect } from 'chai';
import { SYSTEM_NAMESPACE } from '../../hack/demo/names.ts';
import { Load } from './load.ts';
import { conditionOf, e2e, eventually, fleetNodes, MIXED, overview, RUNTIME } from './setup.ts';

const FLEET = 'f';

interface Member {
  readonly name: string;
  readonly nodeId: string;
  readonly podUID: string;
  readonly machine: string;
  readonly ready: boolean;
}

/** The nodes of the fleet that exist, by name. */
const members = async (): Promise<Member[]> =>
  (await fleetNodes(FLEET))
    .map((node) => ({
      name: node.metadata.name,
      nodeId: node.status?.nodeId ?? '',
      podUID: node.status?.podUID ?? '',
      machine: node.status?.kubernetesNode ?? '',
      ready: conditionOf(node, 'Ready')?.status === 'True',
    }))
    .sort((a, b) => a.name.localeCompare(b.name));
const ready = (count: number): Promise<Member[]> =>
  eventually(
    `${count} nodes of the fleet are ready`,
    async () => {
      const now = await members();
      return now.length === count && now.every((m) => m.ready) && now;
    },
    240_000,
    overview,
  );
const scale = (replicas: number): Promise<string> => e2e().k('scale', `rfleet/${FLEET}`, `--replicas=${replicas}`);

/** Whether new pods may come to a machine. */
const schedule = (which: 'first' | 'peer', may: boolean): Promise<string> => {
  const { cluster } = e2e().target;
  const name = which === 'first' ? cluster?.nodeName : cluster?.peer?.nodeName;
  return e2e().target.kubectl([may ? 'uncordon' : 'cordon', name ?? '']);
};

describe('a fleet while callers ask', function () {
  this.timeout(600_000);

  before(async function () {
    if ((RUNTIME !== 'sim' && !MIXED) || !e2e().target.cluster?.peer) return this.skip(); // real engines for all do not fit the machine
    await schedule('peer', true);
    await e2e().apply({
      apiVersion: 'resultity.com/v1alpha1',
      kind: 'ResultityFleet',
      metadata: { name: FLEET },
      spec: {
        replicas: 1,
        template: {
          networkRef: { name: 'demo' },
          owner: { email: 'you@example.com' },
          placement: { gpu: { accelerator: MIXED ? 'nvidia' : 'cpu', count: 1 } },
          runtime: { resources: { requests: { cpu: '50m', memory: '256Mi' } } }, // all of them on one machine of two cores
          drain: { timeoutSeconds: 60 },
        },
      },
    });
    await ready(1);
  });
  after(async () => {
    await schedule('peer', false);
    await e2e().k('delete', 'rfleet', FLEET, '--ignore-not-found', '--cascade=foreground', '--timeout=180s');
  });

  /** Does something to the fleet under constant jobs; none may be lost, billed twice, refused or broken in mid-stream. */
  const underLoad = async (title: string, act: () => Promise<unknown>, broken = 0): Promise<void> => {
    const { installed } = e2e();
    await installed.withApi(async (api) => {
      const load = new Load(api, [installed.model], 4);
      try {
        await eventually('answers', () => Promise.resolve(load.count('answered') > 4));
        await act();
        const answered = load.count('answered');
        await eventually('answers after it', () => Promise.resolve(load.count('answered') > answered + 4));
      } finally {
        await load.settle(title);
      }
      expect(load.count('midStream'), 'errors in mid-stream').to.be.at.most(broken);
      expect(load.count('refused')).to.equal(0);
    });
  };

  it('scales 1 → 3 → 1 → 3: drained nodes lose nothing, and names come back with their identities', async () => {
    let three: Member[] = [];
    await underLoad('scale 1 → 3', async () => {
      await scale(3);
      three = await ready(3);
    });
    expect(three.map((m) => m.name)).to.deep.equal(['f-0', 'f-1', 'f-2']);
    expect(new Set(three.map((m) => m.nodeId)).size).to.equal(3);
    await underLoad('scale 3 → 1', async () => {
      await scale(1);
      await ready(1);
    });
    await underLoad('scale 1 → 3 again', async () => {
      await scale(3);
      const again = await ready(3);
      expect(again.map((m) => [m.name, m.nodeId])).to.deep.equal(three.map((m) => [m.name, m.nodeId]));
    });
  });

  it('lets kubectl drain take a machine, pod by pod under its budget, and comes up elsewhere', async () => {
    const { target, k } = e2e();
    const machine = target.cluster?.peer?.nodeName ?? '';
    expect(
      (await members()).some((m) => m.machine === machine),
      'the fleet uses the second machine',
    ).to.equal(true);
    const budget = JSON.parse(await k('get', 'pdb', FLEET, '-o', 'json'));
    expect(budget.spec.minAvailable).to.equal(2);
    await underLoad('kubectl drain', async () => {
      // nodes alone: the private network's one pod may be on that machine, and callers would have nobody to ask
      await target.kubectl([
        ...['drain', machine, '--ignore-daemonsets', '--delete-emptydir-data', '--timeout=300s'],
        `--pod-selector=resultity.com/fleet=${FLEET}`,
      ]);
      const moved = await ready(3);
      expect(moved.map((m) => m.machine)).to.not.include(machine);
    });
  });

  it('survives the deletion of a pod, of the operator and of the leader of two', async () => {
    const { k, get, target } = e2e();
    const [first] = await members();
    await underLoad('delete a pod', async () => {
      await k('delete', 'pod', 'f-0', '--timeout=120s');
      const after = await eventually(
        'another pod of the same node is ready',
        async () => {
          const now = (await members()).find((m) => m.name === 'f-0');
          return now?.ready && now.podUID !== first?.podUID && now;
        },
        120_000,
        overview,
      );
      expect(after.nodeId).to.equal(first?.nodeId);
    });
    const before = await members();
    await underLoad('kill the operator', async () => {
      await target.kubectl([
        ...['-n', SYSTEM_NAMESPACE, 'delete', 'pod', '-l', 'app.kubernetes.io/component=operator'],
        ...['--grace-period=0', '--force'],
      ]);
      await target.kubectl(['-n', SYSTEM_NAMESPACE, 'rollout', 'status', 'deployment/resultity', '--timeout=120s']);
    });
    expect(await members()).to.deep.equal(before);
    const system = (...args: string[]): Promise<string> => target.kubectl(['-n', SYSTEM_NAMESPACE, ...args]);
    const leader = (): Promise<string> => system('get', 'lease', '-o', 'jsonpath={.items[*].spec.holderIdentity}');
    await system('scale', 'deployment/resultity', '--replicas=2');
    try {
      await system('rollout', 'status', 'deployment/resultity', '--timeout=120s');
      await underLoad('kill the leader of two operators', async () => {
        const old = await leader();
        const all = (await system('get', 'pod', '-o', 'name')).trim().split('\n');
        const pods = all.filter((pod) => old.startsWith(pod.slice('pod/'.length)));
        expect(pods, `the pod of ${old}`).to.have.length(1);
        await system('delete', ...pods, '--grace-period=0', '--force');
        await eventually('another one leads', async () => ![old, ''].includes(await leader()), 120_000, leader);
        await k('annotate', 'rnode', 'f-0', 'resultity.com/hold=true');
        await eventually('and works', async () => {
          const marks = (await get('pod', 'f-0')).metadata.annotations;
          return marks['resultity.com/hold'] === 'true';
        });
      });
    } finally {
      await k('annotate', 'rnode', 'f-0', 'resultity.com/hold-');
      await system('scale', 'deployment/resultity', '--replicas=1');
    }
    expect(await members()).to.deep.equal(before);
  });

  it('makes no second pod for one that is cut off, and goes on with it when it is back', async () => {
    const { target, k, condition, get } = e2e();
    const peer = target.cluster?.peer;
    if (!peer) throw new Error('no second machine');
    await schedule('peer', true);
    await schedule('first', false);
    const old = (await members()).find((m) => m.name === 'f-2');
    await k('delete', 'pod', 'f-2', '--timeout=120s');
    await eventually('f-2 is over there', async () => {
      const now = (await members()).find((m) => m.name === 'f-2');
      return now?.ready && now.podUID !== old?.podUID;
    });
    await schedule('first', true);
    const before = (await members()).find((m) => m.name === 'f-2');
    expect(before?.machine).to.equal(peer.nodeName);
    try {
      await peer.join(false);
      await eventually(
        'the machine is known to be unreachable',
        async () => (await condition('rnode', 'f-2', 'AgentReady')).reason === 'MachineUnreachable',
        150_000,
        overview,
      );
      await underLoad('one machine cut off', () => new Promise((resolve) => setTimeout(resolve, 15_000)));
      const pods = JSON.parse(await k('get', 'pod', '-l', 'resultity.com/node=f-2', '-o', 'json')).items;
      expect(pods.map((p: { metadata: { uid: string } }) => p.metadata.uid)).to.deep.equal([before?.podUID]);
    } finally {
      await peer.join(true);
    }
    const after = (await ready(3)).find((m) => m.name === 'f-2');
    expect(after).to.deep.equal(before);
    expect((await get('pod', 'f-2')).metadata.uid).to.equal(before?.podUID);
  });
});
