import { expect } from 'chai';
import { facts, NODE_ID, resultityNode } from '../../test/support/node-facts.ts';
import { decideNode } from './decide.ts';
import { nodeIdOf } from './ground.ts';

const SECOND = `0x${'cd'.repeat(20)}`;
const noted = { annotations: { 'resultity.com/node-id': SECOND } };

describe('the address of a node', () => {
  it('is the noted one while no pod was made with its key, whatever a status has said of a key that never came to be', () => {
    const node = resultityNode({}, { nodeId: NODE_ID }, noted);
    expect(nodeIdOf(node)).to.equal(SECOND);
    const d = decideNode({ ...facts(), node });
    expect(d.status.nodeId).to.equal(SECOND);
    const made = d.steps.find((s) => s.do === 'createPod');
    expect(JSON.stringify(made)).to.contain(`gpu-a-${SECOND}`).and.not.contain(NODE_ID);
  });
  it('stays what it was once a pod was made with its key, whatever is noted', () => {
    expect(nodeIdOf(resultityNode({}, { nodeId: NODE_ID, incarnation: 1 }, noted))).to.equal(NODE_ID);
    expect(nodeIdOf(resultityNode({}, { nodeId: NODE_ID, agent: { nodeId: NODE_ID } }, noted))).to.equal(NODE_ID);
    expect(nodeIdOf(resultityNode({}, { nodeId: NODE_ID }))).to.equal(NODE_ID);
    expect(nodeIdOf(resultityNode({}, {}, { annotations: { 'resultity.com/node-id': 'x' } }))).to.equal(undefined);
  });
});
