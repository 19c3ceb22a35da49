import { expect } from 'chai';
import { type Gate, RESULTITY, startGate, verdicts } from '../support/admission-rig.ts';
import { until } from '../support/until.ts';

const NS = 'gpus';
const NODES = `${RESULTITY}/namespaces/${NS}/resultitynodes`;

describe('the admission policy of the agents', () => {
  let gate: Gate;
  const uids: Record<string, string> = {};

  before(async () => {
    gate = await startGate();
    for (const [namespace, name] of [
      [NS, 'a'],
      [NS, 'b'],
      ['other', 'a'],
    ] as const) {
      const { metadata } = await gate.make(`/api/v1/namespaces/${namespace}/pods`, {
        metadata: { name },
        spec: {
          serviceAccountName: 'resultity-agent',
          securityContext: { runAsNonRoot: true, seccompProfile: { type: 'RuntimeDefault' } },
          containers: [
            {
              name: 'x',
              image: 'x',
              securityContext: { allowPrivilegeEscalation: false, capabilities: { drop: ['ALL'] } },
            },
          ],
        },
      });
      uids[`${namespace}/${name}`] = metadata.uid;
      await gate.caller(`${namespace}/${name}`, namespace, 'resultity-agent', { name, uid: metadata.uid });
    }
    await gate.caller('unbound', NS, 'resultity-agent');
    for (const name of ['a', 'b']) {
      await gate.make(NODES, {
        apiVersion: 'resultity.com/v1alpha1',
        kind: 'ResultityNode',
        metadata: { name },
        spec: { networkRef: { name: 'net' }, owner: { email: 'ops@example.com' } },
      });
      const status = { phase: 'Active', podName: name, podUID: uids[`${NS}/${name}`], conditions: [condition('True')] };
      const answer = await gate.server.call(
        'PATCH',
        `${NODES}/${name}/status`,
        { status },
        'application/merge-patch+json',
      );
      expect(answer.status, JSON.stringify(answer.body)).to.equal(200);
    }
    await until(
      'the policy is in force',
      async () => (await gate.try(patch('unbound', `${NODES}/a/status?dryRun=All`, agentPart))).status !== 200,
      30_000,
    );
  });
  after(() => gate?.stop());

  const condition = (status: string): object => ({
    type: 'Ready',
    status,
    reason: 'Test',
    message: '',
    lastTransitionTime: '2026-11-21T00:00:00Z',
  });
  const agentPart = { status: { agent: { version: 'evil' } } };
  const patch = (who: string, path: string, body: object, type = 'application/merge-patch+json') =>
    ({ who, method: 'PATCH', path, body, type }) as const;

  it('lets an agent write status.agent of the node whose live pod it is, by server-side apply', async () => {
    const body = {
      apiVersion: 'resultity.com/v1alpha1',
      kind: 'ResultityNode',
      metadata: { name: 'a' },
      status: { agent: { version: '0.1.0', phase: 'Active' } },
    };
    const answer = await gate.try(
      patch(`${NS}/a`, `${NODES}/a/status?fieldManager=resultity-agent`, body, 'application/apply-patch+yaml'),
    );
    expect(answer.status, answer.message).to.equal(200);
    const node = await gate.server.call('GET', `${NODES}/a`);
    expect(node.body.status.agent.version).to.equal('0.1.0');
    expect(node.body.status.conditions[0].status).to.equal('True');
  });

  const own = 'status of its ResultityNode only';
  const only = 'status.agent only';
  verdicts(
    () => gate,
    [
      {
        title: 'status.agent of its own node',
        attempt: () => patch(`${NS}/a`, `${NODES}/a/status?dryRun=All`, agentPart),
      },
      {
        title: 'status.agent of another node of its namespace',
        attempt: () => patch(`${NS}/a`, `${NODES}/b/status`, agentPart),
        refused: 'is not the live pod of b',
      },
      {
        title: 'status.agent of a node of another namespace',
        attempt: () => patch('other/a', `${NODES}/a/status`, agentPart),
        refused: 'own namespace only',
      },
      {
        title: 'status.agent with a token that is bound to no pod',
        attempt: () => patch('unbound', `${NODES}/a/status`, agentPart),
        refused: 'is not the live pod of a',
      },
      {
        title: 'its own conditions',
        attempt: () => patch(`${NS}/a`, `${NODES}/a/status`, { status: { conditions: [condition('False')] } }),
        refused: only,
      },
      {
        title: 'its own phase',
        attempt: () => patch(`${NS}/a`, `${NODES}/a/status`, { status: { phase: 'Paused' } }),
        refused: only,
      },
      {
        title: 'its own nodeId',
        attempt: () => patch(`${NS}/a`, `${NODES}/a/status`, { status: { nodeId: `0x${'1'.repeat(40)}` } }),
        refused: only,
      },
      {
        title: 'a status key away',
        attempt: () => patch(`${NS}/a`, `${NODES}/a/status`, { status: { podName: null } }),
        refused: only,
      },
      {
        title: 'another podUID',
        attempt: () => patch(`${NS}/a`, `${NODES}/a/status`, { status: { podUID: 'x' } }),
        refused: only,
      },
      {
        title: 'its own spec',
        attempt: () => patch(`${NS}/a`, `${NODES}/a`, { spec: { paused: true } }),
        refused: own,
      },
      {
        title: 'its own deletion',
        attempt: () => ({ who: `${NS}/a`, method: 'DELETE', path: `${NODES}/a` }),
        refused: own,
      },
      {
        title: 'a ResultityNetwork of an agent’s own',
        attempt: () => ({
          who: `${NS}/a`,
          method: 'POST',
          path: NODES.replace('resultitynodes', 'resultitynetworks'),
          body: {
            apiVersion: 'resultity.com/v1alpha1',
            kind: 'ResultityNetwork',
            metadata: { name: 'x' },
            spec: { endpoint: 'https://example.com', trust: { root: '{}' } },
          },
        }),
        refused: own,
      },
    ],
  );

  it('changes no label by way of the status (the API server drops it)', async () => {
    await gate.try(patch(`${NS}/a`, `${NODES}/a/status`, { metadata: { labels: { stolen: 'yes' } } }));
    expect((await gate.server.call('GET', `${NODES}/a`)).body.metadata.labels).to.equal(undefined);
  });
  it('left everything but status.agent as it was', async () => {
    const { status, spec } = (await gate.server.call('GET', `${NODES}/a`)).body;
    expect(status).to.include({ phase: 'Active', podName: 'a', podUID: uids[`${NS}/a`] });
    expect(status.conditions[0].status).to.equal('True');
    expect(spec.paused).to.not.equal(true);
    expect((await gate.server.call('GET', `${NODES}/b`)).body.status.agent).to.equal(undefined);
  });
});
