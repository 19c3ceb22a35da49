import { expect } from 'chai';
import { parseAnnotations, readOrders } from './annotations.ts';

describe('the pod annotations of the operator', () => {
  it('are read as the downward API writes them', () => {
    const text = 'a="x=\\"y\\""\nb="line\\nbreak \\x1b \\u00e9"\nbroken\nc=""\n';
    expect([...parseAnnotations(text)]).to.deep.equal([
      ['a', 'x="y"'],
      ['b', 'line\nbreak \u001b é'],
      ['c', ''],
    ]);
  });
  it('give orders; what is malformed gives none', () => {
    const orders = readOrders(
      'resultity.com/assigned-model="m:v1"\nresultity.com/drain="true"\nresultity.com/floor="1,7"\nresultity.com/incarnation="x"',
    );
    expect(orders).to.deep.include({ assignedModel: 'm:v1', drain: true, paused: false, incarnation: 0 });
    expect(orders.floor).to.deep.equal({ epoch: 1, version: 7 });
  });
});
