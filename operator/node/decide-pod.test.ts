import { expect } from 'chai';
import { facts, NODE_ID, resultityNode, storedPod } from '../../test/support/node-facts.ts';
import { runningPod } from '../../test/support/operator-rig.ts';
import { condition, ready, seen, serving, steps } from '../../test/support/serving-node.ts';
import { type Decision, decideNode } from './decide.ts';
import { eventsOf } from './events.ts';
import { ownStatus } from './status.ts';

describe('a node with a pod', () => {
  it('is Ready when it serves, is registered, is seen, and nothing is under way', () => {
    const d = decideNode(serving());
    expect(d.status.conditions.filter((c) => c.status !== 'True').map((c) => c.type)).to.deep.equal([
      'Progressing',
      'Degraded',
      'Draining',
      'Paused',
    ]);
    expect(d.status).to.include({ phase: 'Active', modelSummary: 'tiny:v1', kubernetesNode: 'machine' });
    expect(d.status.gpu).to.include({ summary: 'NVIDIA-H200', count: 1 });
    expect(steps(d)).to.deep.equal(['writeStatus']);
  });

  it('is not Ready, and says why, when the network does not see it', () => {
    const d = decideNode(serving({}, {}, { sight: seen('out_of_rotation', ['HeartbeatStale']) }));
    expect(condition(d, 'Ready')).to.include({ status: 'False', reason: 'HeartbeatStale' });
    expect(condition(d, 'Serving').status).to.equal('True');
  });

  it('is Unknown, not unhealthy, when the network cannot be asked', () => {
    expect(
      condition(decideNode(serving({}, {}, { sight: { kind: 'unreachable', message: 'no route' } })), 'Ready'),
    ).to.include({ status: 'Unknown', reason: 'NetworkUnreachable' });
  });

  it('keeps what was known of the network’s view after a restart of the operator', () => {
    const conditions = [
      {
        type: 'NetworkVisible',
        status: 'True' as const,
        reason: 'NetworkSeesNode',
        message: 'm',
        lastTransitionTime: '2026-11-21T09:00:00Z',
      },
    ];
    expect(
      condition(decideNode(serving({ conditions }, {}, { sight: { kind: 'notAsked' } })), 'Ready').status,
    ).to.equal('True');
  });

  it('shows the download in the model column and in Progressing', () => {
    const agent = {
      ...serving().node.status!.agent!,
      phase: 'Installing' as const,
      models: [{ model: 'tiny:v1', state: 'pending' as const, reason: 'Downloading', progress: 40 }],
      runtime: { phase: 'waiting' as const },
    };
    const d = decideNode(serving({ agent }));
    expect(d.status.modelSummary).to.equal('tiny:v1 40%');
    expect(condition(d, 'Progressing')).to.include({ status: 'True', reason: 'Downloading' });
    expect(d.status.phase).to.equal('Preparing');
  });

  it('names a model whose digest does not match', () => {
    const agent = {
      ...serving().node.status!.agent!,
      phase: 'Failed' as const,
      models: [{ model: 'tiny:v1', state: 'failed' as const, reason: 'DigestMismatch' }],
    };
    const d = decideNode(serving({ agent }));
    expect(condition(d, 'ModelsVerified')).to.include({ status: 'False', reason: 'DigestMismatch' });
    expect(condition(d, 'Degraded')).to.include({ status: 'True', reason: 'DigestMismatch' });
    expect(d.status.phase).to.equal('Degraded');
    const events = eventsOf(resultityNode(), ownStatus(resultityNode(), d.status, 0));
    expect(events.map((e) => e.reason)).to.include('ModelQuarantined');
  });

  it('shows a container that cannot be pulled, crashes or runs out of memory', () => {
    const stuck = (state: object, lastState: object = {}): Decision =>
      decideNode(
        serving(
          {},
          {
            status: {
              ...runningPod,
              containerStatuses: [{ name: 'runtime', ready: false, restartCount: 3, state, lastState }],
            },
          },
        ),
      );
    expect(condition(stuck({ waiting: { reason: 'ImagePullBackOff' } }), 'RuntimeReady').reason).to.equal(
      'ImagePullError',
    );
    expect(
      condition(stuck({ waiting: { reason: 'CrashLoopBackOff' } }, { terminated: { exitCode: 3 } }), 'RuntimeReady')
        .message,
    ).to.contain('exit code 3');
    expect(condition(stuck({ running: {} }, { terminated: { reason: 'OOMKilled' } }), 'Degraded').reason).to.equal(
      'ContainerOOMKilled',
    );
  });

  it('names another node’s key', () => {
    expect(condition(decideNode(serving({ nodeId: `0x${'01'.repeat(20)}` })), 'Degraded')).to.include({
      status: 'True',
      reason: 'IdentityMismatch',
    });
  });

  it('takes the id of an imported key from the agent, once', () => {
    const f = serving();
    const { nodeId: _, ...status } = f.node.status!;
    const node = {
      ...f.node,
      spec: { ...f.node.spec, identity: { retain: true, secretRef: { name: 'mine' } } },
      status,
    };
    expect(decideNode({ ...f, node }).status.nodeId).to.equal(NODE_ID);
  });

  it('tells the agent what changed, by annotations alone', () => {
    const f = serving();
    const d = decideNode({
      ...f,
      network: { ...ready, version: 5, digest: `sha256:${'e'.repeat(64)}` },
      node: { ...f.node, spec: { ...f.node.spec, paused: true } },
    });
    expect(steps(d)).to.deep.equal(['writeStatus', 'markPod']);
    const mark = d.steps.find((s) => s.do === 'markPod')!;
    expect(mark).to.deep.include({
      uid: 'uid-pod',
      annotations: {
        'resultity.com/paused': 'true',
        'resultity.com/floor': '1,5',
        'resultity.com/desired-digest': `sha256:${'e'.repeat(64)}`,
      },
    });
    expect(condition(d, 'Paused')).to.include({ status: 'True', reason: 'PausedByUser' });
  });

  it('keeps the pod, whatever becomes of network, owner or images', () => {
    for (const over of [
      { network: { at: 'missing' } as const },
      { settings: { ...facts().settings, allowedRepositories: [] } },
      { offers: [] },
    ]) {
      const d = decideNode(serving({}, {}, over));
      expect(steps(d).filter((s) => s === 'deletePod' || s === 'createPod')).to.deep.equal([]);
    }
  });

  it('replaces a pod of an older template by draining it first', () => {
    const f = serving();
    const d = decideNode({ ...f, node: { ...f.node, spec: { ...f.node.spec, isolation: 'Sandbox' } } });
    expect(steps(d)).to.deep.equal(['writeStatus', 'markPod']);
    expect((d.steps.at(-1) as { annotations: object }).annotations).to.include({ 'resultity.com/drain': 'true' });
    expect(condition(d, 'Progressing')).to.include({ status: 'True', reason: 'Updating' });
    expect(d.status.phase).to.equal('Updating');
  });

  it('takes a template hash of an older rule for no change, and writes its own', () => {
    const f = serving();
    const old = { ...f.pod!.metadata!.annotations, 'resultity.com/template-hash': '0123456789abcdef' };
    const d = decideNode({ ...f, pod: { ...f.pod!, metadata: { ...f.pod!.metadata, annotations: old } } });
    expect(condition(d, 'Progressing').reason).to.equal('Settled');
    const mark = d.steps.find((s) => s.do === 'markPod') as { annotations: Record<string, string> };
    expect(mark.annotations['resultity.com/template-hash']).to.equal(
      f.pod!.metadata!.annotations!['resultity.com/template-hash'],
    );
  });

  it('says of a pod without a place what the scheduler says, and of no container that it is starting', () => {
    const f = facts();
    const pod = storedPod(f);
    const told = { type: 'PodScheduled', status: 'False', reason: 'Unschedulable', message: '0/2 nodes are available' };
    const d = decideNode({ ...f, pod: { ...pod, status: { ...pod.status, conditions: [told] } } });
    for (const type of ['PodScheduled', 'AgentReady', 'RuntimeReady', 'Ready'] as const)
      expect(condition(d, type), type).to.include({
        status: 'False',
        reason: 'Unschedulable',
        message: 'the scheduler finds no node: 0/2 nodes are available',
      });
  });

  it('says that a pod waits for its resource claims, until it has its place', () => {
    const resourceClaims = [{ name: 'gpu', resourceClaimTemplateName: 'one' }];
    const node = resultityNode(
      { placement: { unreachableSeconds: 1, fit: 'Advise', resourceClaims } },
      { nodeId: NODE_ID, podUID: 'uid-pod' },
    );
    const f = facts({ node });
    const pod = storedPod(f);
    expect(condition(decideNode({ ...f, pod }), 'GPUFit')).to.include({
      status: 'False',
      reason: 'ClaimPending',
      message: 'the pod waits for its resource claims (gpu); the scheduler allocates them',
    });
    const placed = { ...pod, spec: { ...pod.spec!, nodeName: 'machine-1' } };
    const fit = condition(decideNode({ ...f, pod: placed }), 'GPUFit');
    expect(fit).to.include({ status: 'True', reason: 'FitFound' });
    expect(fit.message).to.contain('its resource claims (gpu) are allocated');
  });

  it('repairs a lost template hash instead of taking it for a change', () => {
    const f = serving();
    const { 'resultity.com/template-hash': _, ...annotations } = f.pod!.metadata!.annotations!;
    const d = decideNode({ ...f, pod: { ...f.pod!, metadata: { ...f.pod!.metadata, annotations } } });
    expect(condition(d, 'Progressing').reason).to.equal('Settled');
    expect((d.steps.find((s) => s.do === 'markPod') as { annotations: object }).annotations).to.have.property(
      'resultity.com/template-hash',
    );
  });

  it('makes no second pod while the old one is ending, unless somebody forces it', () => {
    const ending = { metadata: { ...serving().pod!.metadata, deletionTimestamp: '2026-11-21T09:59:00Z' } };
    const d = decideNode(serving({}, ending));
    expect(steps(d)).to.deep.equal(['writeStatus']);
    expect(condition(d, 'PodScheduled').reason).to.equal('FencingWait');
    const f = serving({}, ending);
    const forced = decideNode({
      ...f,
      node: { ...f.node, metadata: { ...f.node.metadata, annotations: { 'resultity.com/force-replace': 'yes' } } },
    });
    expect(forced.steps.find((s) => s.do === 'deletePod')).to.include({ force: true });
  });

  it('deletes an evicted pod, so that the next one can be made, but not in a hot loop', () => {
    const evicted = { status: { phase: 'Failed', reason: 'Evicted' } };
    const d = decideNode(serving({}, evicted));
    expect(d.steps.find((s) => s.do === 'deletePod')).to.include({ uid: 'uid-pod', force: false });
    expect(condition(d, 'PodScheduled').reason).to.equal('PodEvicted');
    const soon = decideNode(serving({}, evicted, { now: Date.parse('2026-11-21T09:00:02Z') }));
    expect(steps(soon)).to.deep.equal(['writeStatus']);
    expect(soon.againMs).to.equal(8_000);
  });

  it('gives each pod a higher incarnation, within one second too', () => {
    const f = serving({ podUID: 'older', incarnation: Date.parse('2026-11-21T09:00:00Z') });
    expect(decideNode(f).status.pod?.incarnation).to.equal(Date.parse('2026-11-21T09:00:00Z') + 1);
  });
});
