import { expect } from 'chai';
import { FINALIZER } from '../src/api/contract.ts';
import type { ResultityNode } from '../src/api/index.ts';
import { KubeClient } from '../src/kube/index.ts';
import { createLogger, systemClock } from '../src/lib/index.ts';
import { ApiDouble } from '../test/support/api-double.ts';
import { nodeManifest } from '../test/support/operator-rig.ts';
import { KIND } from './kinds.ts';
import type { Deployment } from './pod-types.ts';
import { uninstall } from './uninstall.ts';

const DEPLOYMENT = { name: 'resultity', namespace: 'system' };

describe('the uninstallation', () => {
  let api: ApiDouble;
  let client: KubeClient;
  beforeEach(async () => {
    api = await ApiDouble.start();
    client = new KubeClient({
      connection: api.connection,
      clock: systemClock,
      fieldManager: 'test',
      userAgent: 'test',
    });
  });
  afterEach(async () => {
    await client.close();
    await api.stop();
  });
  const run = (watchNamespace = ''): Promise<void> =>
    uninstall(
      client,
      DEPLOYMENT,
      watchNamespace,
      createLogger('test', 'fatal'),
      systemClock,
      AbortSignal.timeout(10_000),
    );
  const finalizers = (name: string): readonly string[] | undefined =>
    api.objects<ResultityNode>('resultitynodes').find((n) => n.metadata.name === name)?.metadata.finalizers;
  const make = (name: string, namespace: string, finalizers: string[]): Promise<unknown> => {
    const manifest = nodeManifest(name, namespace);
    return client.create(KIND.node, { ...manifest, metadata: { ...manifest.metadata, finalizers } } as ResultityNode);
  };

  it('stops the operator, takes our finalizers off and leaves others’ and the objects', async () => {
    await client.create(KIND.deployment, { metadata: DEPLOYMENT, spec: { replicas: 2 } } as unknown as Deployment);
    await make('a', 'one', [FINALIZER.node, 'example.com/theirs']);
    await make('b', 'two', [FINALIZER.node]);
    await run();
    expect(finalizers('a')).to.deep.equal(['example.com/theirs']);
    expect(finalizers('b') ?? []).to.deep.equal([]);
    const deployment = api.objects<Deployment & { spec: { replicas: number } }>('deployments')[0];
    expect(deployment?.spec.replicas).to.equal(0);
    await run();
    expect(api.objects('resultitynodes')).to.have.length(2);
  });

  it('touches nothing outside the namespace it watches, and works without the Deployment', async () => {
    await make('a', 'one', [FINALIZER.node]);
    await make('b', 'two', [FINALIZER.node]);
    await run('two');
    expect(finalizers('a')).to.deep.equal([FINALIZER.node]);
    expect(finalizers('b') ?? []).to.deep.equal([]);
  });
});
