import { expect } from 'chai';
import type { ResultityNode } from '../../src/api/index.ts';
import { Metrics } from '../../src/lib/index.ts';
import { resultityNode } from '../../test/support/node-facts.ts';
import { operatorMetrics } from '../metrics.ts';
import type { StatusIntent } from './decide.ts';
import { NodeGauges } from './observed.ts';

describe('the gauges of a node', () => {
  it('tell what is not as usual, Ready and Serving always, and nothing of a node that is gone', async () => {
    const metrics = new Metrics();
    const gauges = new NodeGauges(operatorMetrics(metrics));
    const node: ResultityNode = resultityNode({}, {});
    const show = (conditions: Record<string, string>): void => {
      const told = Object.entries(conditions).map(([type, status]) => ({ type, status, reason: 'Ready', message: '' }));
      gauges.show('ns/n', node, { phase: 'Active', conditions: told } as unknown as StatusIntent);
    };
    const series = async (): Promise<string[]> =>
      [...(await metrics.text()).matchAll(/^resultity_node_condition\{.*type="(.*)",status="(.*)"\} 1$/gm)].map(
        ([, type, status]) => `${type} ${status}`,
      );

    show({ Ready: 'True', Serving: 'True', ConfigSynced: 'True', Draining: 'False', Progressing: 'False' });
    expect(await series()).to.have.members(['Ready True', 'Serving True']);
    show({ Ready: 'False', Serving: 'Unknown', ConfigSynced: 'False', Draining: 'True', Progressing: 'False' });
    expect(await series()).to.have.members(['Ready False', 'Serving Unknown', 'ConfigSynced False', 'Draining True']);
    gauges.forget('ns/n');
    expect(await series()).to.deep.equal([]);
    expect(await metrics.text()).to.not.match(/^resultity_node_info\{/m);
  });
});
