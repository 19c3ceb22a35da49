import { expect } from 'chai';
import { DIGEST, facts, kitDocument, NODE_ID, resultityNode, storedPod } from '../../test/support/node-facts.ts';
import { activeAgent, runningPod } from '../../test/support/operator-rig.ts';
import { testModel } from '../../test/support/signer-kit.ts';
import { decideNode } from './decide.ts';
import type { NodeFacts } from './facts.ts';
import { desiredPod } from './pod.ts';
import { prepare } from './prepare.ts';

const image = (name: string, c: string): string => `registry.example/${name}@sha256:${c.repeat(64)}`;
/** Facts under another snapshot. */
const under = (over: Record<string, unknown>, spec: object = {}): NodeFacts => {
  const base = facts();
  const document = { ...(base.network as { document: object }).document, ...kitDocument(over) };
  return { ...base, network: { ...base.network, document } as never, node: resultityNode(spec, { nodeId: NODE_ID }) };
};
const containers = (f: NodeFacts): Record<string, string | undefined> => {
  const { input } = prepare(f);
  if (!input) throw new Error(prepare(f).blocked?.message);
  const { spec } = desiredPod(input, {});
  return Object.fromEntries(
    [...(spec?.initContainers ?? []), ...(spec?.containers ?? [])].map((c) => [c.name, c.image]),
  );
};
const runtimes = (['nvidia', 'amd', 'cpu'] as const).map((accelerator, i) => ({
  engine: 'vllm',
  version: '0.32.0',
  image: image(`vllm-${accelerator}`, String(i)),
  accelerator,
}));

describe('what a snapshot says of pods', () => {
  it('each accelerator gets its runtime image', () => {
    const of = (resourceName: string): string | undefined =>
      containers(under({ runtimes }, { placement: { unreachableSeconds: 1, fit: 'Advise', gpu: { resourceName } } }))
        .runtime;
    expect(of('nvidia.com/gpu')).to.equal(image('vllm-nvidia', '0'));
    const none = prepare(under({ runtimes: runtimes.slice(1) })).blocked;
    expect(none?.reason).to.equal('NoRuntimeImage');
    const amd = { unreachableSeconds: 1, fit: 'Advise', gpu: { resourceName: 'nvidia.com/gpu', accelerator: 'amd' } };
    expect(containers(under({ runtimes }, { placement: amd })).runtime).to.equal(image('vllm-amd', '1'));
  });

  it('the agent container gets the agent’s image', () => {
    const agent = { version: '0.2.0', image: image('agent', 'c'), minVersion: '0.1.0' };
    expect(containers(under({ agent, runtimes })).agent).to.equal(image('agent', 'c'));
  });

  it('a model for some subclouds is assigned to nodes in one of them only', () => {
    const subclouds = [{ id: 'eu', access: 'semi-open', filters: {} }];
    const models = [testModel('tiny', { weight: 9, subclouds: ['eu'] }), testModel('other')];
    const assigned = (spec: object): string | undefined => {
      const { assignment } = prepare(under({ models, subclouds, runtimes }, spec));
      return assignment?.kind === 'assigned' ? assignment.model : undefined;
    };
    expect(assigned({})).to.equal('other:v1');
    expect(assigned({ models: { include: ['tiny'] }, subclouds: { join: ['eu'] } })).to.equal('tiny:v1');
    const named = prepare(under({ models, subclouds, runtimes }, { models: { assigned: 'tiny:v1' } })).blocked;
    expect(named?.message).to.equal('tiny:v1 is for nodes of other subclouds; this one is in none');
  });

  it('an agent below the version that the network names is shown as outdated', () => {
    const shown = (version: string): string | undefined => {
      const f = under({ agent: { version: '0.2.0', image: image('agent', 'c'), minVersion: '0.1.0' }, runtimes });
      const made = storedPod(f);
      const agent = { ...(activeAgent(NODE_ID, DIGEST) as object), version };
      const pod = { ...made, spec: { ...made.spec!, nodeName: 'machine' }, status: runningPod };
      const node = resultityNode({}, { nodeId: NODE_ID, podUID: 'uid-pod', agent });
      const c = decideNode({ ...f, pod, node }).status.conditions.find((x) => x.type === 'AgentReady');
      return `${c?.status} ${c?.reason}: ${c?.message}`;
    };
    expect(shown('0.1.0')).to.equal('True AgentOutdated: agent 0.1.0 runs and reports; the network names 0.2.0');
    expect(shown('0.2.0')).to.contain('True AgentRunning');
  });
});
