import { join } from 'node:path';
import { expect } from 'chai';
import { NODE_NAMESPACE, SYSTEM_NAMESPACE } from '../../hack/demo/names.ts';
import { QUESTION } from '../../hack/demo/snapshot.ts';
import { Load } from './load.ts';
import { CHART, installPrevious, nextVersion, previousRights, rollBack, upgradeTo } from './previous-chart.ts';
import { ENGINE_MS, e2e, eventually } from './setup.ts';

interface Pod {
  readonly uid: string;
  readonly restarts: number;
  readonly component: string;
  readonly ready: boolean;
}

/** Every pod of ours by namespace and name, with its uid and the restarts of its containers. */
const pods = async (): Promise<Map<string, Pod>> => {
  const { items } = JSON.parse(await e2e().target.kubectl(['get', 'pods', '-A', '-o', 'json']));
  const ours = new Map<string, Pod>();
  for (const { metadata, status } of items) {
    if (![SYSTEM_NAMESPACE, NODE_NAMESPACE].includes(metadata.namespace) || metadata.deletionTimestamp) continue;
    const statuses = [...(status.initContainerStatuses ?? []), ...(status.containerStatuses ?? [])];
    ours.set(`${metadata.namespace}/${metadata.name}`, {
      uid: metadata.uid,
      restarts: statuses.reduce((sum: number, s: { restartCount: number }) => sum + s.restartCount, 0),
      component: metadata.namespace === NODE_NAMESPACE ? 'node' : metadata.labels?.['app.kubernetes.io/component'],
      ready: statuses.every((s: { ready: boolean }) => s.ready),
    });
  }
  return ours;
};

/** Uid and spec of every object of ours. */
const objects = async (): Promise<Map<string, { uid: string; spec: unknown }>> => {
  const { items } = JSON.parse(await e2e().target.kubectl(['get', 'rnet,amodel,rnode,rfleet', '-A', '-o', 'json']));
  return new Map(
    items.map(({ kind, metadata, spec }: { kind: string; metadata: { name: string; uid: string }; spec: unknown }) => [
      `${kind} ${metadata.name}`,
      { uid: metadata.uid, spec },
    ]),
  );
};

/** The operator is up. One that finds the previous chart's CRDs too old and refuses to start is as good, while they are there. */
const operatorSettled = (previous: boolean): Promise<unknown> =>
  eventually(
    'the operator is up',
    async () => {
      const text = await e2e().target.kubectl([
        ...['-n', SYSTEM_NAMESPACE, 'get', 'deployment', 'resultity', '-o'],
        'jsonpath={.metadata.generation} {.status.observedGeneration} {.status.readyReplicas} {.status.replicas} {.status.updatedReplicas}',
      ]);
      const [generation, seen, ...replicas] = text.split(' ');
      if (generation === seen && replicas.join(' ') === '1 1 1') return true;
      return (
        previous && [...(await pods()).values()].some((p) => p.component === 'operator' && p.restarts > 0 && !p.ready)
      );
    },
    180_000,
    () => e2e().target.kubectl(['-n', SYSTEM_NAMESPACE, 'get', 'pods', '-o', 'wide']),
  );

/** Does something to the release; prints what became of each pod and returns the components of those that did not stay. */
const restarted = async (title: string, act: () => Promise<unknown>, previous = false): Promise<string[]> => {
  const before = await pods();
  await act();
  await operatorSettled(previous);
  const after = await pods();
  const touched: string[] = [];
  for (const [name, { uid, restarts, component }] of before) {
    const now = after.get(name);
    const stayed = now?.uid === uid && now.restarts === restarts;
    if (!stayed) touched.push(component);
    process.stdout.write(
      `      ${title}: ${name} ${stayed ? 'kept, 0 restarts' : now === undefined ? 'replaced' : 'restarted'}\n`,
    );
  }
  return touched;
};

/** The network service's pod keeps its template until it is let go; what is measured is the chart, not its restart. */
const holdNetworkService = async (hold: boolean): Promise<void> => {
  const type = hold ? 'OnDelete' : 'RollingUpdate';
  await e2e().target.kubectl([
    ...['-n', SYSTEM_NAMESPACE, 'patch', 'statefulset', 'resultity-network', '--type=merge', '-p'],
    JSON.stringify({ spec: { updateStrategy: { type, rollingUpdate: null } } }),
  ]);
};

const underLoad = async (title: string, act: () => Promise<void>): Promise<void> => {
  const { installed } = e2e();
  await installed.withApi(async (api) => {
    const load = new Load(api, [installed.model], 4);
    try {
      await act();
    } finally {
      await load.settle(title);
    }
    expect({ refused: load.count('refused'), midStream: load.count('midStream') }).to.deep.equal({
      refused: 0,
      midStream: 0,
    });
  });
};

/** The network service's own pod is as the chart has it, and the node has come back to it. */
const serves = async (): Promise<void> => {
  const { target, installed } = e2e();
  const service = ['rollout', 'status', 'statefulset/resultity-network', '--timeout=180s'];
  await target.kubectl(['-n', SYSTEM_NAMESPACE, ...service]);
  await eventually(
    'a job is answered',
    () => installed.withApi(async (api) => (await api.ask({ model: installed.model, ...QUESTION }, true)).job),
    ENGINE_MS,
  );
};

describe('an upgrade of the chart', () => {
  before(async () => {
    // with the network service of the previous chart too: its pod is held as it is until all is measured
    const touched = await restarted('to the previous chart', installPrevious, true);
    expect(touched).to.not.include('node');
    await serves();
    await holdNetworkService(true);
  });

  it('from the previous one, back and forth, keeps every object and restarts nothing but the operator, with jobs running', async () => {
    const before = await objects();
    expect(before.size).to.be.greaterThan(2);
    const kept = async (): Promise<void> => {
      const now = await objects();
      for (const [name, { uid, spec }] of before) {
        expect(now.get(name)?.uid, name).to.equal(uid);
        expect(now.get(name)?.spec, name).to.deep.include(spec);
      }
      process.stdout.write(`      ${before.size} objects kept: ${[...before.keys()].join(', ')}\n`);
    };
    await underLoad('previous chart → this → previous → this', async () => {
      expect(await restarted('helm upgrade', () => upgradeTo(CHART))).to.deep.equal(['operator']);
      await kept();
      expect(await restarted('helm rollback', rollBack, true)).to.satisfy(onlyOperator);
      await kept();
      expect(await restarted('helm upgrade again', () => upgradeTo(CHART))).to.satisfy(onlyOperator);
      previousRights.until = Date.now();
      await kept();
    });
  });

  it('makes the network service’s pod anew once, here with a TLS Secret of its own, without a restart of any node', async () => {
    const { target, installed } = e2e();
    const pair = ['--cert', join(installed.dir, 'tls/tls.crt'), '--key', join(installed.dir, 'tls/tls.key')];
    await target.kubectl(['-n', SYSTEM_NAMESPACE, 'create', 'secret', 'tls', 'demo-tls', ...pair]);
    const touched = await restarted('network service let go', async () => {
      await upgradeTo(CHART, '--set', 'networkService.tls.secretName=demo-tls');
      await holdNetworkService(false);
      await serves();
    });
    expect(touched).to.deep.equal(['network']);
  });

  it('to one that has nothing but another version restarts nothing at all; a changed value the operator alone', async () => {
    const next = await nextVersion();
    await underLoad('this chart → the same with a higher version → the operator’s log level', async () => {
      expect(await restarted('a higher version', () => upgradeTo(next))).to.deep.equal([]);
      const changed = () => upgradeTo(next, '--set', 'operator.logLevel=debug');
      expect(await restarted('operator.logLevel', changed)).to.deep.equal(['operator']);
    });
  });
});

const onlyOperator = (touched: readonly string[]): boolean => touched.every((component) => component === 'operator');
