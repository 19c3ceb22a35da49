/** The operator against a real API server: from a manifest to the pod, its story, and its end. No kubelet: the test plays it. */

import { expect } from 'chai';
import { AGENT_RULES, CLUSTER_RULES, NAMESPACED_RULES } from '../../operator/rbac.ts';
import { fixedConnection } from '../../src/kube/index.ts';
import { type ApiServer, startApiServer } from '../support/api-server.ts';
import { installCrds } from '../support/crds.ts';
import {
  activeAgent,
  KitNetwork,
  nodeManifest,
  type RunningOperator,
  runningPod,
  startOperator,
} from '../support/operator-rig.ts';
import { until } from '../support/until.ts';

// biome-ignore lint/suspicious/noExplicitAny: answers are read field by field in assertions
type Json = any;

const NS = 'nodes';
const at = (plural: string, name = ''): string =>
  `/apis/resultity.com/v1alpha1/namespaces/${NS}/${plural}${name === '' ? '' : `/${name}`}`;
const core = (plural: string, name = ''): string =>
  `/api/v1/namespaces/${NS}/${plural}${name === '' ? '' : `/${name}`}`;
const apply = 'application/apply-patch+yaml';
const merge = 'application/merge-patch+json';

describe('the operator on a real API server', function () {
  this.timeout(60_000);
  let api: ApiServer;
  let network: KitNetwork;
  let operator: RunningOperator;

  const get = async (path: string): Promise<Json> => {
    const answer = await api.call('GET', path);
    return answer.status === 200 ? answer.body : undefined;
  };
  const condition = async (path: string, type: string): Promise<Json> =>
    ((await get(path))?.status?.conditions ?? []).find((c: Json) => c.type === type);
  const create = async (path: string, body: unknown): Promise<Json> => {
    const answer = await api.call('POST', path, body);
    expect(answer.status, JSON.stringify(answer.body)).to.equal(201);
    return answer.body;
  };

  /** A token of an account that may do what operator/rbac.ts says, and nothing else. */
  const operatorToken = async (): Promise<string> => {
    const rbac = '/apis/rbac.authorization.k8s.io/v1';
    await create('/api/v1/namespaces', { metadata: { name: 'resultity-system' } });
    await create('/api/v1/namespaces/resultity-system/serviceaccounts', { metadata: { name: 'operator' } });
    const rules = [...NAMESPACED_RULES, ...CLUSTER_RULES].map(({ why: _, ...rule }) => ({
      ...rule,
      ...(rule.resourceNames
        ? { resourceNames: rule.resourceNames.map((n) => (n === 'AGENT_CLUSTER_ROLE' ? 'resultity-agent' : n)) }
        : {}),
    }));
    await create(`${rbac}/clusterroles`, { metadata: { name: 'operator' }, rules });
    await create(`${rbac}/clusterroles`, {
      metadata: { name: 'resultity-agent' },
      rules: AGENT_RULES.map(({ why: _, ...rule }) => rule),
    });
    await create(`${rbac}/clusterrolebindings`, {
      metadata: { name: 'operator' },
      roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: 'operator' },
      subjects: [{ kind: 'ServiceAccount', name: 'operator', namespace: 'resultity-system' }],
    });
    const made = await create('/api/v1/namespaces/resultity-system/serviceaccounts/operator/token', {
      spec: { expirationSeconds: 3600 },
    });
    return made.status.token;
  };

  before(async () => {
    api = await startApiServer();
    await installCrds(api);
    await create('/api/v1/namespaces', {
      metadata: {
        name: NS,
        labels: {
          'pod-security.kubernetes.io/enforce': 'restricted',
          'pod-security.kubernetes.io/enforce-version': 'latest',
        },
      },
    });
    network = await KitNetwork.start();
    network.kit.publish({
      ttl: { heartbeatMs: 15_000, missedHeartbeats: 3, pollMs: 300, retryMs: 300, cacheMs: 1000 },
    });
    operator = await startOperator(
      fixedConnection(api.url, { ca: api.admin.ca }, 'resultity-system', await operatorToken()),
    );
  });
  after(async () => {
    await operator?.stop();
    await network?.stop();
    await api?.stop();
  });

  it('says that the network is missing, and goes on by itself when it is applied', async () => {
    await create(at('resultitynodes'), {
      ...nodeManifest('gpu-a', NS),
      spec: {
        networkRef: { name: 'testnet' },
        owner: { email: 'ops@example.com' },
        placement: { gpu: { accelerator: 'cpu' } },
      },
    });
    await until(
      'NetworkNotFound',
      async () => (await condition(at('resultitynodes', 'gpu-a'), 'Ready'))?.reason === 'NetworkNotFound',
    );
    const { url, kit } = network;
    await create(at('resultitynetworks'), {
      apiVersion: 'resultity.com/v1alpha1',
      kind: 'ResultityNetwork',
      metadata: { name: 'testnet' },
      spec: {
        endpoint: url,
        environment: 'testnet',
        trust: { root: kit.pinnedRoot },
        tls: { allowInsecureHosts: ['127.0.0.1'] },
      },
    });
    await until(
      'the network is ready',
      async () => (await condition(at('resultitynetworks', 'testnet'), 'Ready'))?.status === 'True',
    );
    const { status } = await get(at('resultitynetworks', 'testnet'));
    expect(status).to.include({ network: 'testnet', version: 1, ticketAge: 'Fresh', configMapName: 'testnet-config' });
  });

  it('mirrors the snapshot’s model', async () => {
    await until('the mirror', async () => ((await get(at('approvedmodels')))?.items ?? []).length === 1);
    const [model] = (await get(at('approvedmodels'))).items;
    expect(model.metadata.name).to.match(/^testnet-tiny-v1-[0-9a-f]{8}$/);
    await until(
      'Approved',
      async () => (await condition(at('approvedmodels', model.metadata.name), 'Approved'))?.reason === 'InSnapshot',
    );
  });

  it('makes one key and one pod that the restricted profile admits', async () => {
    await until('the pod', async () => (await get(core('pods', 'gpu-a'))) !== undefined).catch((error: Error) => {
      throw new Error(`${error.message}\n${operator.complaints.slice(-5).join('\n')}`);
    });
    const pod = await get(core('pods', 'gpu-a'));
    await until('podUID', async () => (await get(at('resultitynodes', 'gpu-a'))).status?.podUID === pod.metadata.uid);
    const node = await get(at('resultitynodes', 'gpu-a'));
    expect(node.status.nodeId).to.match(/^0x[0-9a-f]{40}$/);
    const secrets = (await get(core('secrets'))).items;
    expect(secrets.map((s: Json) => s.metadata.name)).to.deep.equal([`gpu-a-${node.status.nodeId}`]);
    const { annotations } = pod.metadata;
    expect(annotations['resultity.com/incarnation']).to.equal(String(node.status.incarnation));
    expect(node.status.incarnation).to.be.closeTo(Date.parse(pod.metadata.creationTimestamp), 60_000);
    expect(annotations['resultity.com/floor']).to.equal('1,1');
    expect(annotations['resultity.com/assigned-model']).to.equal('tiny:v1');
    expect(await get(core('serviceaccounts', 'resultity-agent'))).to.not.equal(undefined);
    expect((await get(core('configmaps', 'testnet-trust'))).data['root.json']).to.equal(network.kit.pinnedRoot);
  });

  it('is Ready when agent, kubelet and network say so, and tells the story in events', async () => {
    const { nodeId } = (await get(at('resultitynodes', 'gpu-a'))).status;
    await api.call('POST', `${core('pods', 'gpu-a')}/binding`, {
      apiVersion: 'v1',
      kind: 'Binding',
      metadata: { name: 'gpu-a' },
      target: { kind: 'Node', name: 'machine' },
    });
    const played = await api.call('PATCH', `${core('pods', 'gpu-a')}/status`, { status: runningPod }, merge);
    expect(played.status, JSON.stringify(played.body)).to.equal(200);
    const agent = activeAgent(nodeId, network.kit.current?.snapshot.digest ?? '');
    const wrote = await api.call(
      'PATCH',
      `${at('resultitynodes', 'gpu-a')}/status?fieldManager=resultity-agent&force=true`,
      {
        apiVersion: 'resultity.com/v1alpha1',
        kind: 'ResultityNode',
        metadata: { name: 'gpu-a', namespace: NS },
        status: { agent },
      },
      apply,
    );
    expect(wrote.status, JSON.stringify(wrote.body)).to.equal(200);
    network.states.set(nodeId, { state: 'active', reasons: [] });
    await until(
      'Ready',
      async () => (await condition(at('resultitynodes', 'gpu-a'), 'Ready'))?.status === 'True',
      15_000,
    );
    const { status } = await get(at('resultitynodes', 'gpu-a'));
    expect(status).to.include({
      phase: 'Active',
      assignedModel: 'tiny:v1',
      modelSummary: 'tiny:v1',
      kubernetesNode: 'machine',
    });
    expect(status.config.shortDigest).to.have.length(12);
    expect(status.agent.phase).to.equal('Active');
    await until('events', async () => {
      const told = ((await get(`/apis/events.k8s.io/v1/namespaces/${NS}/events`))?.items ?? [])
        .filter((e: Json) => e.regarding?.name === 'gpu-a')
        .map((e: Json) => e.reason);
      return [
        'NetworkNotFound',
        'IdentityCreated',
        'CreatedPod',
        'NodeRegistered',
        'ModelVerified',
        'ConfigApplied',
        'Serving',
      ].every((r) => told.includes(r));
    });
  });

  it('writes nothing when nothing changes', async () => {
    const version = async (): Promise<string> =>
      JSON.stringify([
        (await get(at('resultitynodes', 'gpu-a'))).metadata.resourceVersion,
        (await get(at('resultitynetworks', 'testnet'))).metadata.resourceVersion,
        (await get(core('pods', 'gpu-a'))).metadata.resourceVersion,
      ]);
    const before = await version();
    await new Promise((resolve) => setTimeout(resolve, 1_500));
    expect(await version()).to.equal(before);
  });

  it('refuses a snapshot that was changed by one byte, says why, and keeps the old one in force', async () => {
    const { kit } = network;
    const before = (await get(at('resultitynetworks', 'testnet'))).status.digest;
    const made = kit.publish({
      ttl: { heartbeatMs: 15_000, missedHeartbeats: 3, pollMs: 300, retryMs: 300, cacheMs: 1000 },
    });
    const bent = Buffer.from(made.bytes);
    bent[20] = (bent[20] ?? 0) ^ 1;
    kit.snapshots.set(made.snapshot.digest, bent);
    await until(
      'refused',
      async () => (await condition(at('resultitynetworks', 'testnet'), 'ConfigVerified'))?.status === 'False',
      15_000,
    );
    const verdict = await condition(at('resultitynetworks', 'testnet'), 'ConfigVerified');
    expect(verdict.reason).to.equal('SignatureInvalid');
    expect(verdict.message).to.contain('digest_mismatch').and.contain('v1 stays in force');
    expect((await get(at('resultitynetworks', 'testnet'))).status.digest).to.equal(before);
    expect((await get(core('pods', 'gpu-a'))).metadata.annotations['resultity.com/desired-digest']).to.equal(before);
    kit.snapshots.set(made.snapshot.digest, made.bytes);
    await until('accepted', async () => (await get(at('resultitynetworks', 'testnet'))).status.version === 2, 15_000);
  });

  it('makes the next pod with the same identity when the pod is deleted', async () => {
    const before = await get(at('resultitynodes', 'gpu-a'));
    const old = await get(core('pods', 'gpu-a'));
    await api.call('DELETE', core('pods', 'gpu-a'), { kind: 'DeleteOptions', apiVersion: 'v1', gracePeriodSeconds: 0 });
    await until(
      'a new pod',
      async () => ((await get(core('pods', 'gpu-a')))?.metadata.uid ?? old.metadata.uid) !== old.metadata.uid,
      15_000,
    );
    await until(
      'the status knows it',
      async () => (await get(at('resultitynodes', 'gpu-a'))).status.podUID !== before.status.podUID,
    );
    const after = await get(at('resultitynodes', 'gpu-a'));
    expect(after.status.nodeId).to.equal(before.status.nodeId);
    expect(after.status.incarnation).to.be.greaterThan(before.status.incarnation);
    expect((await get(core('secrets'))).items).to.have.length(1);
  });

  it('drains, deletes the pod and lets the object go, with the network down; the key Secret stays', async () => {
    network.down = 503;
    const agentSays = (phase: string): Promise<unknown> =>
      api.call(
        'PATCH',
        `${at('resultitynodes', 'gpu-a')}/status?fieldManager=resultity-agent&force=true`,
        {
          apiVersion: 'resultity.com/v1alpha1',
          kind: 'ResultityNode',
          metadata: { name: 'gpu-a', namespace: NS },
          status: { agent: { phase } },
        },
        apply,
      );
    await api.call('PATCH', `${core('pods', 'gpu-a')}/status`, { status: runningPod }, merge);
    expect((await get(at('resultitynodes', 'gpu-a'))).status, 'the gone pod’s agent is forgotten').to.not.have.property(
      'agent',
    );
    await agentSays('Active');
    await api.call('DELETE', at('resultitynodes', 'gpu-a'));
    await until(
      'the drain',
      async () => (await get(core('pods', 'gpu-a')))?.metadata.annotations['resultity.com/drain'] === 'true',
      15_000,
    );
    expect((await get(at('resultitynodes', 'gpu-a'))).status.phase).to.equal('Terminating');
    await agentSays('Drained');
    await until(
      'the pod is being deleted',
      async () => {
        const pod = await get(core('pods', 'gpu-a'));
        return pod === undefined || pod.metadata.deletionTimestamp !== undefined;
      },
      15_000,
    );
    await api.call('DELETE', core('pods', 'gpu-a'), { kind: 'DeleteOptions', apiVersion: 'v1', gracePeriodSeconds: 0 });
    await until('the node is gone', async () => (await get(at('resultitynodes', 'gpu-a'))) === undefined, 15_000);
    expect((await get(core('secrets'))).items).to.have.length(1);
  });
});
