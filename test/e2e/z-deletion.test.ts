import { expect } from 'chai';
import { e2e, eventually } from './setup.ts';

// last in the alphabet, as it takes the node away
describe('deleting the node', () => {
  it('drains it and takes the pod away; the key’s Secret stays as identity.retain says', async () => {
    const { k, get } = e2e();
    const { status } = await get('rnode', 'demo-0');
    await k('delete', 'rnode', 'demo-0', '--timeout=300s');
    await eventually('the pod is gone', async () => (await k('get', 'pod', '-o', 'name')).trim() === '');
    const secrets = await k('get', 'secret', '-o', 'name');
    expect(secrets).to.contain(status.nodeId.toLowerCase());
    const events = await k('get', 'events', '-o', 'jsonpath={range .items[*]}{.reason} {end}');
    expect(events).to.contain('DrainStarted');
    expect(events).to.contain('DrainCompleted');
  });
});
