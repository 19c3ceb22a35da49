import { expect } from 'chai';
import {
  type ApprovedModel,
  isTrue,
  type ResultityFleet,
  type ResultityNetwork,
  type ResultityNode,
} from '../src/api/index.ts';
import { ApiDouble } from '../test/support/api-double.ts';
import {
  activeAgent,
  KitNetwork,
  networkManifest,
  nodeManifest,
  type RunningOperator,
  runningPod,
  startOperator,
} from '../test/support/operator-rig.ts';
import { testModel } from '../test/support/signer-kit.ts';
import { until } from '../test/support/until.ts';
import { KIND } from './kinds.ts';
import type { DisruptionBudget, Pod, SecretObject } from './pod-types.ts';

const NS = 'nodes';
const TTL = { heartbeatMs: 15_000, missedHeartbeats: 3, pollMs: 250, retryMs: 250, cacheMs: 1000 };

describe('the operator over the API double', function () {
  this.timeout(60_000);
  let api: ApiDouble;
  let network: KitNetwork;
  let operators: RunningOperator[];

  const start = async (): Promise<RunningOperator> => {
    const operator = await startOperator(api.connection);
    operators.push(operator);
    return operator;
  };
  const stop = async (): Promise<void> => {
    for (const operator of operators.splice(0)) await operator.stop();
  };
  const node = (name = 'gpu-a') => api.objects<ResultityNode>('resultitynodes').find((n) => n.metadata.name === name);
  const pod = (name = 'gpu-a') => api.objects<Pod>('pods').find((p) => p.metadata?.name === name);
  const condition = (
    type: string,
    of: { status?: { conditions?: { type: string; status: string; reason: string; message: string }[] } } | undefined,
  ) => of?.status?.conditions?.find((c) => c.type === type);

  beforeEach(async () => {
    api = await ApiDouble.start();
    network = await KitNetwork.start();
    network.kit.publish({ ttl: TTL });
    operators = [];
  });
  afterEach(async () => {
    await stop();
    await network.stop();
    await api.stop();
  });

  /** Plays kubelet, agent and network until the node is Ready. */
  const serve = async (client: RunningOperator['client']): Promise<void> => {
    await until('the pod', () => node()?.status?.podUID !== undefined && pod() !== undefined);
    const at = { name: 'gpu-a', namespace: NS };
    await client.patchMerge(KIND.pod, at, { spec: { nodeName: 'machine' } });
    await client.patchMerge(KIND.pod, at, { status: runningPod }, { subresource: 'status' });
    const { nodeId = '' } = node()?.status ?? {};
    network.states.set(nodeId, { state: 'active', reasons: [] });
    await client.applyStatus(
      KIND.node,
      {
        metadata: at,
        status: { agent: activeAgent(nodeId, network.kit.current?.snapshot.digest ?? '') },
      } as unknown as ResultityNode,
      { fieldManager: 'resultity-agent' },
    );
    await until('Ready', () => condition('Ready', node())?.status === 'True');
  };

  it('takes a node from its manifest to Ready, and then writes nothing, after a restart of the operator either', async () => {
    const { client } = await start();
    await client.create(KIND.network, networkManifest(network, NS) as unknown as ResultityNetwork);
    await client.create(KIND.node, nodeManifest('gpu-a', NS) as unknown as ResultityNode);
    await serve(client);
    expect(node()?.status).to.include({ phase: 'Active', assignedModel: 'tiny:v1' });
    expect(pod()?.metadata?.annotations?.['resultity.com/incarnation']).to.equal(String(node()?.status?.incarnation));
    await new Promise((resolve) => setTimeout(resolve, 300));
    const before = api.writes().length;
    await new Promise((resolve) => setTimeout(resolve, 700));
    expect(
      api
        .writes()
        .slice(before)
        .map((w) => `${w.method} ${w.path}`),
    ).to.deep.equal([]);
    await stop();
    await start();
    await new Promise((resolve) => setTimeout(resolve, 1_200));
    expect(
      api
        .writes()
        .slice(before)
        // The first process had up to ten seconds to count the node.
        .filter((w) => !/approvedmodels\/[^/]+\/status$/.test(w.path))
        .map((w) => `${w.method} ${w.path}`),
    ).to.deep.equal([]);
    expect(condition('Ready', node())?.status).to.equal('True');
  });

  it('writes four times until a node has its pod: a thousand of them are waited for', async () => {
    const { client } = await start();
    await client.create(KIND.network, networkManifest(network, NS) as unknown as ResultityNetwork);
    const inForce = () => api.objects<ResultityNetwork>('resultitynetworks')[0]?.status?.conditions;
    await until('the network', () => isTrue(inForce(), 'Ready'));
    const before = api.writes().length;
    await client.create(KIND.node, nodeManifest('gpu-a', NS) as unknown as ResultityNode);
    await until('its status', () => node()?.status?.podUID !== undefined);
    const own = api
      .writes()
      .slice(before)
      .filter((w) => /\/(resultitynodes\/|secrets|pods)/.test(w.path))
      .map((w) => `${w.method} ${w.path.replace(/^.*\/namespaces\/[^/]+\//, '')}`);
    expect(own).to.deep.equal([
      'PATCH resultitynodes/gpu-a',
      'POST secrets',
      'POST pods',
      'PATCH resultitynodes/gpu-a/status',
    ]);
  });

  it('finds a resource of any name on the Kubernetes nodes, as soon as a node asks for it', async () => {
    const { client } = await start();
    await client.create(KIND.kubernetesNode, { metadata: { name: 'machine' } });
    const status = { allocatable: { 'example.com/resource': '2' } };
    await client.patchMerge(KIND.kubernetesNode, { name: 'machine' }, { status }, { subresource: 'status' });
    await client.create(KIND.network, networkManifest(network, NS) as unknown as ResultityNetwork);
    const { spec, ...rest } = nodeManifest('gpu-a', NS) as unknown as ResultityNode;
    const placement = { ...spec.placement, gpu: { resourceName: 'example.com/resource' } };
    await client.create(KIND.node, { ...rest, spec: { ...spec, placement } });
    await until('its fit', () => condition('GPUFit', node())?.reason === 'FitFound');
    expect(condition('GPUFit', node())?.message).to.contain('fits example.com/resource');
  });

  it('comes to one identity, one Secret and one pod when it dies between the address and its Secret', async () => {
    api.fault({
      when: (r) => r.method === 'POST' && r.path.endsWith('/secrets') && r.query.get('dryRun') === null,
      times: 1,
      answer: { status: 500 },
    });
    const { client } = await start();
    await client.create(KIND.network, networkManifest(network, NS) as unknown as ResultityNetwork);
    await client.create(KIND.node, nodeManifest('gpu-a', NS) as unknown as ResultityNode);
    await until('its status', () => pod() !== undefined && node()?.status?.podUID !== undefined);
    const secrets = api.objects<SecretObject>('secrets');
    expect(secrets.map((s) => s.metadata?.name)).to.deep.equal([`gpu-a-${node()?.status?.nodeId}`]);
    expect(secrets[0]?.metadata?.ownerReferences).to.equal(undefined);
    expect(api.objects('pods')).to.have.length(1);
  });

  it('never reads a Secret', async () => {
    const { client } = await start();
    await client.create(KIND.network, networkManifest(network, NS) as unknown as ResultityNetwork);
    await client.create(
      KIND.node,
      nodeManifest('gpu-a', NS, { identity: { retain: false } }) as unknown as ResultityNode,
    );
    await until('the pod', () => pod() !== undefined);
    expect(api.requests.filter((r) => /\/secrets/.test(r.path)).map((r) => r.method)).to.satisfy((m: string[]) =>
      m.every((x) => x === 'POST'),
    );
    expect(api.objects<SecretObject>('secrets')[0]?.metadata?.ownerReferences?.[0]?.name).to.equal('gpu-a');
  });

  it('deletes and replaces no pod because of errors of the API server', async () => {
    const { client } = await start();
    await client.create(KIND.network, networkManifest(network, NS) as unknown as ResultityNetwork);
    await client.create(KIND.node, nodeManifest('gpu-a', NS) as unknown as ResultityNode);
    await serve(client);
    const uid = pod()?.metadata?.uid;
    api.fault({ when: (r) => !r.watch, times: 60, answer: { status: 500 } });
    api.cutWatches();
    network.states.clear();
    await new Promise((resolve) => setTimeout(resolve, 2_000));
    expect(api.requests.filter((r) => r.method === 'DELETE')).to.deep.equal([]);
    expect(pod()?.metadata?.uid).to.equal(uid);
  });

  it('removes a mirror whose model has left the snapshot, and judges one made by hand', async () => {
    const { client } = await start();
    network.kit.publish({ ttl: TTL, models: [testModel('tiny'), testModel('other')] });
    await client.create(KIND.network, networkManifest(network, NS) as unknown as ResultityNetwork);
    const models = () => api.objects<ApprovedModel>('approvedmodels');
    await until('two mirrors', () => models().length === 2);
    const [some] = models();
    await client.create(KIND.model, {
      ...some,
      metadata: { name: 'by-hand', namespace: NS },
      spec: { ...some!.spec, name: 'mine' },
    } as ApprovedModel);
    await until(
      'judged',
      () =>
        condition(
          'Approved',
          models().find((m) => m.metadata.name === 'by-hand'),
        )?.reason === 'NotInSnapshot',
    );
    network.kit.publish({ ttl: TTL, models: [testModel('tiny')] });
    await until('one mirror is left', () => models().filter((m) => m.metadata.name !== 'by-hand').length === 1);
    expect(
      models()
        .map((m) => m.spec.name)
        .sort(),
    ).to.deep.equal(['mine', 'tiny']);
  });

  it('refuses a configuration by a foreign key, keeps the old one, and counts nothing twice', async () => {
    const { client } = await start();
    await client.create(KIND.network, networkManifest(network, NS) as unknown as ResultityNetwork);
    const object = () => api.objects<ResultityNetwork>('resultitynetworks')[0];
    await until('ready', () => condition('Ready', object())?.status === 'True');
    const { kit } = network;
    const { digest } = object()!.status!;
    const made = kit.publish({ ttl: TTL });
    kit.serve(made, kit.freshKeys('foreign').config.slice(0, 2));
    await until('refused', () => condition('ConfigVerified', object())?.status === 'False');
    expect(condition('ConfigVerified', object())).to.include({ reason: 'SignatureInvalid' });
    expect(condition('ConfigVerified', object())?.message)
      .to.contain('threshold_not_met')
      .and.contain('v1 stays in force');
    expect(object()?.status).to.include({ digest, version: 1 });
    kit.serve(made);
    await until('accepted', () => object()?.status?.version === 2 && condition('Ready', object())?.status === 'True');
  });

  it('does not go below the floor of its status when the ConfigMap is lost', async () => {
    const first = await start();
    await first.client.create(KIND.network, networkManifest(network, NS) as unknown as ResultityNetwork);
    const { kit } = network;
    const old = kit.current!;
    const object = () => api.objects<ResultityNetwork>('resultitynetworks')[0];
    await until('ready', () => condition('Ready', object())?.status === 'True');
    kit.publish({ ttl: TTL });
    await until('version 2', () => object()?.status?.version === 2);
    await stop();
    const { client } = await start();
    await client.delete(KIND.configMap, { name: 'testnet-config', namespace: NS });
    await stop();
    kit.serve(old);
    await start();
    await until('rollback refused', () => condition('ConfigVerified', object())?.message.includes('rollback') === true);
    expect(object()?.status?.version).to.equal(2);
  });

  it('waits for approval where updates are manual', async () => {
    const { client } = await start();
    const made = await client.create(
      KIND.network,
      networkManifest(network, NS, { updates: 'Manual' }) as unknown as ResultityNetwork,
    );
    await client.create(KIND.node, nodeManifest('gpu-a', NS) as unknown as ResultityNode);
    const object = () => api.objects<ResultityNetwork>('resultitynetworks')[0];
    await until('held', () => condition('RolloutHeld', object())?.reason === 'ApprovalPending');
    expect(pod()).to.equal(undefined);
    await client.patchMerge(
      KIND.network,
      { name: made.metadata.name!, namespace: NS },
      { metadata: { annotations: { 'resultity.com/approve-digest': object()?.status?.digest } } },
    );
    await until('the pod', () => pod() !== undefined);
  });

  it('goes on with the approved configuration after a restart, while a newer one waits for approval', async () => {
    const { client } = await start();
    await client.create(
      KIND.network,
      networkManifest(network, NS, { updates: 'Manual' }) as unknown as ResultityNetwork,
    );
    const object = () => api.objects<ResultityNetwork>('resultitynetworks')[0];
    const approve = (digest: string | undefined) =>
      client.patchMerge(
        KIND.network,
        { name: 'testnet', namespace: NS },
        { metadata: { annotations: { 'resultity.com/approve-digest': digest } } },
      );
    await until('held', () => condition('RolloutHeld', object())?.reason === 'ApprovalPending');
    const first = object()?.status?.digest;
    await approve(first);
    await until('ready', () => condition('Ready', object())?.status === 'True');
    network.kit.publish({ ttl: TTL });
    await until('the second waits', () => object()?.status?.held?.digest === network.kit.current?.snapshot.digest);
    await stop();
    const again = await start();
    await again.client.create(KIND.node, nodeManifest('gpu-a', NS) as unknown as ResultityNode);
    await until('the pod', () => pod() !== undefined);
    expect(pod()?.metadata?.annotations?.['resultity.com/desired-digest']).to.equal(first);
    expect(condition('RolloutHeld', object())?.message).to.contain(network.kit.current?.snapshot.digest);
    await again.client.patchMerge(
      KIND.network,
      { name: 'testnet', namespace: NS },
      { metadata: { annotations: { 'resultity.com/approve-digest': network.kit.current?.snapshot.digest } } },
    );
    await until(
      'the second in force',
      () => pod()?.metadata?.annotations?.['resultity.com/desired-digest'] === network.kit.current?.snapshot.digest,
    );
  });

  it('keeps a fleet at its number of nodes, with stable names and pools', async () => {
    const { client } = await start();
    await client.create(KIND.network, networkManifest(network, NS) as unknown as ResultityNetwork);
    await client.create(KIND.fleet, {
      apiVersion: 'resultity.com/v1alpha1',
      kind: 'ResultityFleet',
      metadata: { name: 'h200', namespace: NS },
      spec: {
        replicas: 3,
        pools: [{ name: 'big', max: 1, nodeSelector: { zone: 'a' } }, { name: 'small' }],
        rollout: { mode: 'InPlace', maxUnavailable: 1, maxSurge: 0, pauseOnFailure: true },
        template: nodeManifest('x', NS).spec,
      },
    } as unknown as ResultityFleet);
    const nodes = () =>
      api
        .objects<ResultityNode>('resultitynodes')
        .map((n) => `${n.metadata.name} ${n.spec.placement.pool}`)
        .sort();
    await until('three nodes', () => nodes().length === 3);
    expect(nodes()).to.deep.equal(['h200-0 big', 'h200-1 small', 'h200-2 small']);
    await until('three pods', () => api.objects('pods').length === 3);
    await client.patchMerge(KIND.fleet, { name: 'h200', namespace: NS }, { spec: { replicas: 1 } });
    await until('one node', () => nodes().length === 1);
    expect(nodes()).to.deep.equal(['h200-0 big']);
    const fleet = () => api.objects<ResultityFleet>('resultityfleets')[0];
    await until('its status', () => fleet()?.status?.replicas === 1);
    expect(condition('Available', fleet())).to.include({ status: 'False', reason: 'TooFewAvailable' });
    expect(api.objects('secrets')).to.have.length(3);
    const budget = () => api.objects<DisruptionBudget>('poddisruptionbudgets')[0];
    await until('a budget that blocks no drain of the one node', () => budget()?.spec.minAvailable === 0);

    await client.patchMerge(KIND.fleet, { name: 'h200', namespace: NS }, { spec: { replicas: 3 } });
    await until('three pods again', () => api.objects('pods').length === 3);
    expect(api.objects('secrets'), 'no new identity was made').to.have.length(3);
    const secrets = api.objects<SecretObject>('secrets').map((secret) => secret.metadata?.name);
    for (const name of ['h200-1', 'h200-2'])
      expect(secrets).to.include(node(name)?.spec.identity.secretRef?.name, `${name} has its own key again`);
    await until('the budget', () => budget()?.spec.minAvailable === 2);
  });

  it('imports a key and takes the node’s id from the agent', async () => {
    const { client } = await start();
    await client.create(KIND.network, networkManifest(network, NS) as unknown as ResultityNetwork);
    await client.create(
      KIND.node,
      nodeManifest('gpu-a', NS, {
        identity: { retain: true, secretRef: { name: 'mine' } },
      }) as unknown as ResultityNode,
    );
    await until('says that it is missing', () => condition('Registered', node())?.reason === 'IdentitySecretMissing');
    expect(pod()).to.equal(undefined);
    await client.create(KIND.secret, { metadata: { name: 'mine', namespace: NS } });
    await client.patchMerge(
      KIND.node,
      { name: 'gpu-a', namespace: NS },
      { metadata: { annotations: { look: 'again' } } },
    );
    await until('the pod', () => pod() !== undefined);
    expect(node()?.status?.nodeId).to.equal(undefined);
    await client.applyStatus(
      KIND.node,
      {
        metadata: { name: 'gpu-a', namespace: NS },
        status: { agent: { nodeId: `0x${'cd'.repeat(20)}` } },
      } as unknown as ResultityNode,
      { fieldManager: 'resultity-agent' },
    );
    await until('the id', () => node()?.status?.nodeId === `0x${'cd'.repeat(20)}`);
  });
});
