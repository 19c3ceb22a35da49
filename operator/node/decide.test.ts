import { expect } from 'chai';
import fc from 'fast-check';
import { gpuOffers } from '../../src/placement/index.ts';
import {
  facts,
  gpuMachine,
  kitDocument,
  NODE_ID,
  resultityNetwork,
  resultityNode,
} from '../../test/support/node-facts.ts';
import { runningPod } from '../../test/support/operator-rig.ts';
import { condition, ready, seen, serving, steps } from '../../test/support/serving-node.ts';
import { decideNode } from './decide.ts';
import type { NodeFacts, Sight } from './facts.ts';
import { ownStatus } from './status.ts';

describe('what a node without a pod gets', () => {
  const table: [
    string,
    Partial<NodeFacts>,
    { steps: string[]; type?: string; reason?: string; phase?: string; says?: string },
  ][] = [
    ['everything is there: the pod', {}, { steps: ['makeGround', 'createPod', 'writeStatus'], phase: 'Pending' }],
    [
      'no finalizer yet: that first',
      { node: resultityNode({}, { nodeId: NODE_ID }, { finalizers: [] }) },
      { steps: ['addFinalizer', 'makeGround', 'createPod', 'writeStatus'] },
    ],
    [
      'no network: a condition',
      { network: { at: 'missing' } },
      { steps: ['writeStatus'], type: 'ConfigSynced', reason: 'NetworkNotFound', says: '"testnet"', phase: 'Pending' },
    ],
    [
      'a network that is not ready',
      { network: { at: 'notReady', object: resultityNetwork(), message: 'because', untried: false } },
      { steps: ['writeStatus'], type: 'ConfigSynced', reason: 'NetworkNotReady' },
    ],
    [
      'an owner with a bad checksum',
      { node: resultityNode({ owner: { wallet: '0x52908400098527886E0F7030069857D2E4169Ee7' } }, { nodeId: NODE_ID }) },
      { steps: ['writeStatus'], type: 'Registered', reason: 'OwnerInvalid', says: 'checksum' },
    ],
    [
      'a model that the snapshot does not list',
      { node: resultityNode({ models: { assigned: 'big:v9' } }, { nodeId: NODE_ID }) },
      { steps: ['writeStatus'], type: 'ModelsVerified', reason: 'ModelNotApproved', says: 'big:v9' },
    ],
    [
      'GPUs that are all too small',
      {
        offers: gpuOffers(
          [{ ...gpuMachine(), labels: { 'nvidia.com/gpu.memory': '256', 'nvidia.com/gpu.product': 'T4' } }],
          [],
        ),
      },
      {
        steps: ['writeStatus'],
        type: 'GPUFit',
        reason: 'InsufficientGPUMemory',
        says: 'T4 has 256 MiB, 256 short',
        phase: 'Unplaced',
      },
    ],
    [
      'no GPU node: the pod all the same, for an autoscaler',
      { offers: [] },
      { steps: ['makeGround', 'createPod', 'writeStatus'], type: 'GPUFit', reason: 'NoGPUNodes' },
    ],
    [
      'no GPU node and fit Require: no pod',
      {
        offers: [],
        node: resultityNode({ placement: { unreachableSeconds: 1, fit: 'Require' } }, { nodeId: NODE_ID }),
      },
      { steps: ['writeStatus'], type: 'GPUFit', reason: 'NoGPUNodes', phase: 'Unplaced' },
    ],
    [
      'nodes that may not be looked at',
      { offers: undefined },
      { steps: ['makeGround', 'createPod', 'writeStatus'], type: 'GPUFit', reason: 'FitUnknown' },
    ],
    [
      'an image outside the allowed repositories',
      { settings: { ...facts().settings, allowedRepositories: ['other.example'] } },
      { steps: ['writeStatus'], type: 'AgentReady', reason: 'ImageNotAllowed', says: 'registry.example/resultity' },
    ],
    [
      'no runtime image for the accelerator',
      { network: { ...ready, document: kitDocument({ runtimes: [] }) } },
      { steps: ['writeStatus'], type: 'RuntimeReady', reason: 'NoRuntimeImage' },
    ],
    ['no identity yet', { node: resultityNode(), keySecret: 'unknown' }, { steps: ['makeIdentity', 'writeStatus'] }],
    ['an identity whose Secret was never made', { keySecret: 'missing' }, { steps: ['makeIdentity', 'writeStatus'] }],
    [
      'a used identity whose Secret is gone: never another one',
      { keySecret: 'missing', node: resultityNode({}, { nodeId: NODE_ID, incarnation: 1 }) },
      { steps: ['writeStatus'], type: 'Registered', reason: 'IdentitySecretMissing', says: NODE_ID },
    ],
    [
      'an imported key that is not there yet',
      { keySecret: 'missing', node: resultityNode({ identity: { retain: true, secretRef: { name: 'mine' } } }) },
      { steps: ['writeStatus'], type: 'Registered', reason: 'IdentitySecretMissing', says: 'mine' },
    ],
    [
      'a foreign pod of that name',
      { pod: { metadata: { name: 'gpu-a', namespace: 'nodes', uid: 'x' } } },
      { steps: ['writeStatus'], type: 'PodScheduled', reason: 'PodRefused', phase: 'Degraded' },
    ],
    [
      'a pod that the server refused a moment ago',
      { refusal: { message: 'exceeded quota', at: facts().now - 1000 } },
      { steps: ['writeStatus'], type: 'PodScheduled', reason: 'PodRefused', says: 'exceeded quota' },
    ],
    [
      'a pod that it refused a while ago',
      { refusal: { message: 'exceeded quota', at: facts().now - 20_000 } },
      { steps: ['makeGround', 'createPod', 'writeStatus'] },
    ],
  ];
  for (const [name, over, wanted] of table)
    it(name, () => {
      const d = decideNode(facts(over));
      expect(steps(d)).to.deep.equal(wanted.steps);
      if (wanted.type !== undefined) expect(condition(d, wanted.type)).to.include({ reason: wanted.reason });
      if (wanted.says !== undefined) expect(condition(d, wanted.type!).message).to.contain(wanted.says);
      if (wanted.phase !== undefined) expect(d.status.phase).to.equal(wanted.phase);
      expect(condition(d, 'Ready').status).to.not.equal('True');
    });
});

describe('a node that is being deleted', () => {
  const leaving = (agentPhase: string | undefined, over: Partial<NodeFacts> = {}): NodeFacts => {
    const f = serving({}, {}, over);
    const agent = agentPhase === undefined ? undefined : { ...f.node.status!.agent!, phase: agentPhase as 'Active' };
    const { agent: _, ...status } = f.node.status!;
    return {
      ...f,
      node: {
        ...f.node,
        metadata: { ...f.node.metadata, deletionTimestamp: '2026-11-21T09:59:00Z' },
        status: { ...status, ...(agent ? { agent } : {}) },
      },
    };
  };
  it('drains first', () => {
    const d = decideNode(leaving('Active'));
    expect(d.steps.find((s) => s.do === 'markPod')).to.deep.include({ annotations: { 'resultity.com/drain': 'true' } });
    expect(steps(d)).to.not.include('deletePod');
    expect(d.againMs).to.equal(240_000);
    expect(d.status.phase).to.equal('Terminating');
  });
  it('deletes the pod when it has drained, when its time is over, or when there is nothing to drain', () => {
    const why = (f: NodeFacts): unknown =>
      (decideNode(f).steps.find((s) => s.do === 'deletePod') as { why?: string } | undefined)?.why;
    expect(why(leaving('Drained'))).to.equal('drained');
    expect(why(leaving('Active', { now: Date.parse('2026-11-21T10:30:00Z') }))).to.equal('drain timed out');
    expect(why(leaving(undefined))).to.equal('nothing to drain');
  });
  it('gives a pod whose agent never spoke no time to drain: it may have missed the one SIGTERM that it gets', () => {
    const graceOf = (f: NodeFacts): unknown =>
      (decideNode(f).steps.find((s) => s.do === 'deletePod') as { graceSeconds?: number } | undefined)?.graceSeconds;
    expect(graceOf(leaving(undefined))).to.equal(60);
    expect(graceOf(leaving('Drained'))).to.equal(undefined);
  });
  it('waits for the pod’s object to be gone, and needs no network for it', () => {
    const f = leaving('Drained', { network: { at: 'missing' } });
    expect(
      steps(
        decideNode({
          ...f,
          pod: { ...f.pod!, metadata: { ...f.pod!.metadata, deletionTimestamp: '2026-11-21T09:59:30Z' } },
        }),
      ),
    ).to.deep.equal(['writeStatus']);
    expect(steps(decideNode({ ...f, pod: undefined }))).to.deep.equal(['removeFinalizer']);
  });
});

describe('any facts at all', () => {
  it('lead to a decision whose messages are bounded and that never deletes a pod that lives and is wanted', () => {
    const phases = ['Active', 'Starting', 'Failed', 'Drained', 'Draining', undefined] as const;
    fc.assert(
      fc.property(
        fc.record({
          phase: fc.constantFrom(...phases),
          network: fc.constantFrom<NodeFacts['network']>(
            ready,
            { at: 'missing' },
            { at: 'notReady', object: resultityNetwork(), message: 'x'.repeat(400), untried: true },
          ),
          secret: fc.constantFrom('there', 'missing', 'unknown'),
          sight: fc.constantFrom<Sight>({ kind: 'notAsked' }, { kind: 'absent' }, seen('active'), {
            kind: 'unreachable',
            message: 'm',
          }),
          podPhase: fc.constantFrom('Running', 'Pending', undefined),
          nodeId: fc.boolean(),
        }),
        ({ phase, network, secret, sight, podPhase, nodeId }) => {
          const f = serving(
            {},
            { status: { ...runningPod, ...(podPhase === undefined ? {} : { phase: podPhase }) } },
            { network, keySecret: secret as 'there', sight },
          );
          const { agent, nodeId: id, ...rest } = f.node.status!;
          const d = decideNode({
            ...f,
            node: {
              ...f.node,
              status: {
                ...rest,
                ...(nodeId ? { nodeId: id! } : {}),
                ...(phase === undefined ? {} : { agent: { ...agent, phase } }),
              },
            },
          });
          const status = ownStatus(f.node, d.status, f.now);
          return (
            !steps(d).includes('deletePod') &&
            !steps(d).includes('createPod') &&
            (status.conditions ?? []).every((c) => Array.from(c.message).length <= 256) &&
            status.conditions?.length === 15
          );
        },
      ),
      { numRuns: 200 },
    );
  });
});
