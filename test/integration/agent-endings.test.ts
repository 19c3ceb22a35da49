import { expect } from 'chai';
import { CLOSE } from '../../src/protocol/index.ts';
import { AgentRig } from '../support/agent-rig.ts';
import { MiniNetwork } from '../support/mini-network.ts';
import { until } from '../support/until.ts';

describe('what ends a session, or the agent, from the network’s side', function () {
  this.timeout(60_000);
  let network: MiniNetwork;
  let rig: AgentRig;
  beforeEach(async () => {
    network = await new MiniNetwork().listen();
    rig = new AgentRig({ endpoint: network.endpoint, network: 'testnet', pinnedRoot: network.kit.pinnedRoot });
    await rig.startAgent();
    await until('connected', () => network.connected && network.of('heartbeat').length > 0, 20_000);
  });
  afterEach(async () => {
    await rig.close();
    await network.close();
  });

  it('a newest root that no longer names the session’s key: closed 4401, and back under the new key at once', async () => {
    network.kit.rotate('second');
    network.publish();
    const { epoch, version, digest } = network.kit.current!.snapshot;
    // still by the old key, which signed this session from its beginning
    network.send('config.notice', { epoch, version, digest });
    await until('the end of the old session', () => network.closes.length > 0, 20_000);
    expect(network.closes).to.deep.equal([CLOSE.auth]);
    await until('a session under the new key', () => network.sessions === 2 && network.connected, 20_000);
  });

  it('an order to shut down: what runs is finished, then bye, and the process ends', async () => {
    let ended = false;
    void rig.agent?.ended.then(() => {
      ended = true;
    });
    network.send('control', { action: 'shutdown', reason: 'maintenance', graceMs: 1_000 });
    await until('the end of the agent', () => ended, 20_000);
    expect(network.of('bye').length).to.equal(1);
    expect(network.closes).to.deep.equal([CLOSE.bye]);
  });
});
