import { expect } from 'chai';
import { DIGEST, facts, NODE_ID, resultityNode, storedPod } from '../../test/support/node-facts.ts';
import { activeAgent, runningPod } from '../../test/support/operator-rig.ts';
import { decideNode } from './decide.ts';

const NEWER = `sha256:${'e'.repeat(64)}`;
type Blocked = { step: 'validate' | 'test'; reason: string };

/** A node on one configuration while a newer one is accepted. */
const between = (blocked?: Blocked, annotations: Record<string, string> = {}, onPod: Record<string, string> = {}) => {
  const base = facts();
  const made = storedPod(base);
  const agent = activeAgent(NODE_ID, DIGEST) as object;
  const config = { applied: DIGEST, pending: NEWER, restrictedBy: NEWER, ...(blocked ? { blocked } : {}) };
  return decideNode({
    ...base,
    pod: {
      ...made,
      spec: { ...made.spec!, nodeName: 'machine' },
      status: runningPod,
      metadata: { ...made.metadata, annotations: { ...made.metadata?.annotations, ...onPod } },
    },
    node: resultityNode({}, { nodeId: NODE_ID, podUID: 'uid-pod', agent: { ...agent, config } }, { annotations }),
    network: { ...(base.network as object), digest: NEWER } as never,
  });
};
const shown = (d: ReturnType<typeof between>, type: string): string => {
  const c = d.status.conditions.find((x) => x.type === type);
  return `${c?.status} ${c?.reason}: ${c?.message}`;
};
const old = DIGEST.slice(7, 19);

describe('a node that has accepted a configuration and not applied it', () => {
  it('is on its way while nothing stands in the way', () => {
    expect(shown(between(), 'ConfigSynced')).to.contain('False DigestPending: eeeeeeeeeeee is accepted');
    expect(shown(between(), 'Progressing')).to.contain('True DigestPending');
  });

  it('names the step that failed and what goes on, and is not on its way any more', () => {
    const d = between({ step: 'test', reason: 'TestInferenceFailed' });
    expect(shown(d, 'ConfigSynced')).to.equal(
      `False RolledBack: eeeeeeeeeeee failed at step test (TestInferenceFailed); ${old} goes on`,
    );
    expect(shown(d, 'Progressing')).to.match(/^False/);
    expect(d.status.config).not.to.have.property('heldAt');
  });

  it('shows where a person holds it, and tells the agent', () => {
    const hold = { 'resultity.com/hold': 'true' };
    const d = between({ step: 'validate', reason: 'Held' }, hold);
    expect(shown(d, 'ConfigSynced')).to.contain('False Held: eeeeeeeeeeee waits: resultity.com/hold is set');
    expect(d.status.config).to.include({ heldAt: DIGEST });
    const mark = d.steps.find((s) => s.do === 'markPod');
    expect(mark).to.have.nested.property('annotations.resultity\\.com/hold', 'true');
  });

  it('shows where it is held before anything newer comes, once its agent is told', () => {
    const hold = { 'resultity.com/hold': 'true' };
    expect(between(undefined, hold).status.config).not.to.have.property('heldAt');
    expect(between(undefined, hold, hold).status.config).to.include({ heldAt: DIGEST });
    expect(between(undefined, {}, hold).status.config).not.to.have.property('heldAt');
  });

  it('tells the agent when it is released', () => {
    const mark = between(undefined, {}, { 'resultity.com/hold': 'true' }).steps.find((s) => s.do === 'markPod');
    expect(mark).to.have.nested.property('annotations.resultity\\.com/hold', 'false');
  });
});
