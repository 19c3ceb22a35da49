import { expect } from 'chai';
import { Agent, request } from 'undici';
import { type ApiServer, startApiServer } from '../support/api-server.ts';
import { collectionPath, renderChart } from '../support/chart.ts';

const NS = 'gpus';
const NODES = `/apis/resultity.com/v1alpha1/namespaces/${NS}/resultitynodes`;

describe('the admission policy of the agents', () => {
  let server: ApiServer;
  let agent: Agent;
  const tokens: Record<string, string> = {};
  const uids: Record<string, string> = {};

  before(async () => {
    server = await startApiServer();
    agent = new Agent({ connect: { ca: server.admin.ca }, allowH2: false });
    const create = async (path: string, body: object): Promise<Record<string, never>> => {
      const answer = await server.call('POST', path, body);
      expect(answer.status, JSON.stringify(answer.body)).to.equal(201);
      return answer.body;
    };
    for (const name of [NS, 'other', 'resultity-system'])
      await create('/api/v1/namespaces', { apiVersion: 'v1', kind: 'Namespace', metadata: { name } });
    const wanted = [
      'CustomResourceDefinition',
      'ClusterRole',
      'ValidatingAdmissionPolicy',
      'ValidatingAdmissionPolicyBinding',
    ];
    for (const object of await renderChart())
      if (wanted.includes(object.kind)) await create(collectionPath(object), object);
    for (const namespace of [NS, 'other']) {
      await create(`/api/v1/namespaces/${namespace}/serviceaccounts`, {
        apiVersion: 'v1',
        kind: 'ServiceAccount',
        metadata: { name: 'resultity-agent' },
      });
      // wider than the chart's role on purpose: what is refused below is refused by the policy, not by RBAC
      await create(`/apis/rbac.authorization.k8s.io/v1/clusterrolebindings`, {
        apiVersion: 'rbac.authorization.k8s.io/v1',
        kind: 'ClusterRoleBinding',
        metadata: { name: `wide-${namespace}` },
        roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: 'cluster-admin' },
        subjects: [{ kind: 'ServiceAccount', name: 'resultity-agent', namespace }],
      });
    }
    for (const [namespace, name] of [
      [NS, 'a'],
      [NS, 'b'],
      ['other', 'a'],
    ] as const) {
      const pod = (await create(`/api/v1/namespaces/${namespace}/pods`, {
        apiVersion: 'v1',
        kind: 'Pod',
        metadata: { name },
        spec: { serviceAccountName: 'resultity-agent', containers: [{ name: 'x', image: 'x' }] },
      })) as unknown as { metadata: { uid: string } };
      uids[`${namespace}/${name}`] = pod.metadata.uid;
      const token = (await create(`/api/v1/namespaces/${namespace}/serviceaccounts/resultity-agent/token`, {
        apiVersion: 'authentication.k8s.io/v1',
        kind: 'TokenRequest',
        spec: { boundObjectRef: { apiVersion: 'v1', kind: 'Pod', name, uid: pod.metadata.uid } },
      })) as unknown as { status: { token: string } };
      tokens[`${namespace}/${name}`] = token.status.token;
    }
    const unbound = (await create(`/api/v1/namespaces/${NS}/serviceaccounts/resultity-agent/token`, {
      apiVersion: 'authentication.k8s.io/v1',
      kind: 'TokenRequest',
      spec: {},
    })) as unknown as { status: { token: string } };
    tokens.unbound = unbound.status.token;
    for (const name of ['a', 'b']) {
      await create(NODES, {
        apiVersion: 'resultity.com/v1alpha1',
        kind: 'ResultityNode',
        metadata: { name },
        spec: { networkRef: { name: 'net' }, owner: { email: 'ops@example.com' } },
      });
      const status = { phase: 'Active', podName: name, podUID: uids[`${NS}/${name}`], conditions: [condition('True')] };
      const answer = await server.call('PATCH', `${NODES}/${name}/status`, { status }, 'application/merge-patch+json');
      expect(answer.status, JSON.stringify(answer.body)).to.equal(200);
    }
    await policyInForce();
  });
  after(async () => {
    await agent.close();
    await server.stop();
  });

  const condition = (status: string): object => ({
    type: 'Ready',
    status,
    reason: 'Test',
    message: '',
    lastTransitionTime: '2026-11-21T00:00:00Z',
  });
  const patch = async (token: string, path: string, body: object, type = 'application/merge-patch+json') => {
    const answer = await request(`${server.url}${path}`, {
      method: 'PATCH',
      dispatcher: agent,
      headers: { authorization: `Bearer ${tokens[token]}`, 'content-type': type },
      body: JSON.stringify(body),
    });
    return { status: answer.statusCode, message: ((await answer.body.json()) as { message?: string }).message ?? '' };
  };
  /** Policies take a moment until the API server has compiled them. */
  const policyInForce = async (): Promise<void> => {
    for (let i = 0; i < 100; i++) {
      const probe = await patch('unbound', `${NODES}/a/status?dryRun=All`, { status: { agent: { version: 'x' } } });
      if (probe.status !== 200) return;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    throw new Error('the policy never came into force');
  };

  it('lets an agent write status.agent of the node whose live pod it is, by server-side apply', async () => {
    const body = {
      apiVersion: 'resultity.com/v1alpha1',
      kind: 'ResultityNode',
      metadata: { name: 'a' },
      status: { agent: { version: '0.1.0', phase: 'Active' } },
    };
    const answer = await patch(
      `${NS}/a`,
      `${NODES}/a/status?fieldManager=resultity-agent`,
      body,
      'application/apply-patch+yaml',
    );
    expect(answer.status, answer.message).to.equal(200);
    const node = await server.call('GET', `${NODES}/a`);
    expect(node.body.status.agent.version).to.equal('0.1.0');
    expect(node.body.status.conditions[0].status).to.equal('True');
  });

  const agentPart = { status: { agent: { version: 'evil' } } };
  const refusals: [string, string, string, object, string][] = [
    ['another node of its namespace', `${NS}/a`, `${NODES}/b/status`, agentPart, 'is not the live pod of b'],
    ['a node of another namespace', 'other/a', `${NODES}/a/status`, agentPart, 'own namespace only'],
    ['with a token that is bound to no pod', 'unbound', `${NODES}/a/status`, agentPart, 'is not the live pod of a'],
    [
      'its own conditions',
      `${NS}/a`,
      `${NODES}/a/status`,
      { status: { conditions: [condition('False')] } },
      'status.agent only',
    ],
    ['its own phase', `${NS}/a`, `${NODES}/a/status`, { status: { phase: 'Paused' } }, 'status.agent only'],
    [
      'its own nodeId',
      `${NS}/a`,
      `${NODES}/a/status`,
      { status: { nodeId: `0x${'1'.repeat(40)}` } },
      'status.agent only',
    ],
    ['a status key away', `${NS}/a`, `${NODES}/a/status`, { status: { podName: null } }, 'status.agent only'],
    ['another podUID', `${NS}/a`, `${NODES}/a/status`, { status: { podUID: 'x' } }, 'status.agent only'],
    ['its own spec', `${NS}/a`, `${NODES}/a`, { spec: { paused: true } }, 'status of its ResultityNode only'],
  ];
  for (const [what, token, path, body, message] of refusals)
    it(`refuses to write ${what}`, async () => {
      const before = (await server.call('GET', path.replace('/status', ''))).body;
      const answer = await patch(token, path, body);
      expect(answer.status, answer.message).to.equal(422);
      expect(answer.message, answer.message).to.contain(message);
      const after = (await server.call('GET', path.replace('/status', ''))).body;
      expect(after.metadata.resourceVersion).to.equal(before.metadata.resourceVersion);
    });
  it('changes no label by way of the status (the API server drops it)', async () => {
    await patch(`${NS}/a`, `${NODES}/a/status`, { metadata: { labels: { stolen: 'yes' } } });
    expect((await server.call('GET', `${NODES}/a`)).body.metadata.labels).to.equal(undefined);
  });
  it('refuses to create, delete or touch other resources of the group', async () => {
    const headers = { authorization: `Bearer ${tokens[`${NS}/a`]}`, 'content-type': 'application/json' };
    const remove = await request(`${server.url}${NODES}/a`, { method: 'DELETE', dispatcher: agent, headers });
    expect(remove.statusCode).to.equal(422);
    await remove.body.dump();
    const network = await request(`${server.url}${NODES.replace('resultitynodes', 'resultitynetworks')}`, {
      method: 'POST',
      dispatcher: agent,
      headers,
      body: JSON.stringify({
        apiVersion: 'resultity.com/v1alpha1',
        kind: 'ResultityNetwork',
        metadata: { name: 'x' },
        spec: { endpoint: 'https://example.com', trust: { root: '{}' } },
      }),
    });
    expect(network.statusCode).to.equal(422);
    await network.body.dump();
  });
});
