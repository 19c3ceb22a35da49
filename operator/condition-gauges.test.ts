import { expect } from 'chai';
import { Metrics } from '../src/lib/index.ts';
import { ConditionGauges } from './condition-gauges.ts';
import { operatorMetrics } from './metrics.ts';

describe('the gauges of conditions', () => {
  it('show what each condition is now, no longer what it was, and nothing of an object that is gone', async () => {
    const metrics = new Metrics();
    const gauges = new ConditionGauges(operatorMetrics(metrics).networkCondition);
    const series = async (): Promise<string[]> =>
      (await metrics.text()).split('\n').filter((line) => line.startsWith('resultity_network_condition{'));
    const of = (network: string): { namespace: string; network: string } => ({ namespace: 'ns', network });

    gauges.show('ns/a', of('a'), [{ type: 'Ready', status: 'False' }]);
    gauges.show('ns/b', of('b'), [{ type: 'Ready', status: 'True' }]);
    gauges.show('ns/a', of('a'), [{ type: 'Ready', status: 'True' }]);
    expect(await series()).to.have.members([
      'resultity_network_condition{namespace="ns",network="a",type="Ready",status="True"} 1',
      'resultity_network_condition{namespace="ns",network="b",type="Ready",status="True"} 1',
    ]);
    gauges.forget('ns/a');
    expect(await series()).to.deep.equal([
      'resultity_network_condition{namespace="ns",network="b",type="Ready",status="True"} 1',
    ]);
  });
});
