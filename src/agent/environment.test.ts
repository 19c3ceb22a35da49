import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { AgentRig } from '../../test/support/agent-rig.ts';
import { MiniNetwork } from '../../test/support/mini-network.ts';
import { SignerKit, testSigner } from '../../test/support/signer-kit.ts';
import { until } from '../../test/support/until.ts';
import { signStruct, verifyStruct } from '../protocol/index.ts';

describe('testnet and mainnet', function () {
  this.timeout(60_000);
  let network: MiniNetwork;
  let rig: AgentRig;
  const mainnet = new SignerKit({ network: 'mainnet', environment: 'mainnet', chainId: 1 });
  /** As another ResultityNode's pod that mounts the same state volume. */
  const startOn = (kit: SignerKit): Promise<unknown> => {
    writeFileSync(join(rig.paths.trust as string, 'root.json'), kit.pinnedRoot);
    const at = { name: kit.network, environment: kit.environment, endpoint: network.endpoint };
    return rig.startAgent({ network: { ...at, allowInsecureHosts: ['127.0.0.1'] } });
  };
  const files = (): string[] =>
    readdirSync(rig.paths.state as string, { recursive: true, withFileTypes: true })
      .filter((f) => f.isFile())
      .map((f) => `${f.name} ${readFileSync(join(f.parentPath, f.name)).toString('base64')}`)
      .sort();

  beforeEach(async () => {
    network = await new MiniNetwork().listen();
    rig = new AgentRig({ endpoint: network.endpoint, network: 'testnet', pinnedRoot: network.kit.pinnedRoot });
  });
  afterEach(async () => {
    await rig.close();
    await network.close();
  });

  it('never share a state folder: the agent of the other one refuses it, names the fix, and touches nothing', async () => {
    await startOn(network.kit);
    await until('accepted', () => rig.agent?.view().config.floor?.version === 1);
    await rig.agent?.kill();
    rig.agent = null;
    const before = files();
    const refused = await startOn(mainnet).then(
      () => 'started',
      (error: Error) => error.message,
    );
    expect(refused).to.contain(
      'belongs to testnet (testnet, chain 31337), this agent is of mainnet (mainnet, chain 1)',
    );
    expect(refused).to.contain('a state volume of its own (spec.storage.state)');
    expect(files()).to.deep.equal(before);
    await startOn(network.kit);
    await until('connected again', () => network.connected);
  });

  it('never take a pinned root of the other for their own', async () => {
    writeFileSync(join(rig.paths.trust as string, 'root.json'), mainnet.pinnedRoot);
    const refused = await rig.startAgent().then(
      () => 'started',
      (error: Error) => error.message,
    );
    expect(refused).to.contain('the pinned root is of mainnet (mainnet)');
  });

  it('never take a signature of one key in the other', () => {
    const signer = testSigner('node of both');
    const bind = { owner: signer.address, node: signer.address, nonce: `0x${'1'.repeat(64)}`, expiresAt: 1 } as const;
    const sig = signStruct(signer, network.kit.domain, 'Bind', bind);
    expect(verifyStruct(network.kit.domain, 'Bind', bind, sig, signer.address)).to.equal(true);
    expect(verifyStruct(mainnet.domain, 'Bind', bind, sig, signer.address)).to.equal(false);
  });

  it('are told apart in metrics', async () => {
    await startOn(network.kit);
    const text = await (await fetch(`http://127.0.0.1:${rig.agent?.port}/metrics`)).text();
    expect(text).to.match(/resultity_agent_info\{[^}]*network="testnet",environment="testnet"/);
  });
});
