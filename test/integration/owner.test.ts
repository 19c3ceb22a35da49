import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { Wallet } from 'ethers';
import { buildProgram, runCommand } from '../../src/cli/index.ts';
import { AgentRig } from '../support/agent-rig.ts';
import { API_KEY, ServiceRig } from '../support/service-rig.ts';
import { until } from '../support/until.ts';

const wallet = new Wallet(`0x${'17'.repeat(32)}`);

describe('who owns a node: agent, command and network service', function () {
  this.timeout(60_000);
  let rig: ServiceRig;
  let pod: AgentRig;
  const token = (text: string) => (text === 'for-ops' ? { email: 'ops@example.com' } : undefined);
  beforeEach(async () => {
    rig = await ServiceRig.start({ admission: { policy: 'open', token, allowed: new Set() } });
    await rig.publish();
  });
  afterEach(async () => {
    await pod.close();
    await rig.stop();
  });
  const podOf = (owner: object): AgentRig => {
    pod = new AgentRig({ endpoint: rig.url, network: rig.kit.network, pinnedRoot: rig.kit.pinnedRoot, owner });
    return pod;
  };
  const shown = async (): Promise<{ owner: { kind: string; id: string; proved: boolean } }> => {
    const node = pod.agent?.node ?? '';
    const answer = await fetch(`${rig.url}/v1/admin/nodes/${node}`, {
      headers: { authorization: `Bearer ${API_KEY}` },
    });
    return (await answer.json()) as { owner: { kind: string; id: string; proved: boolean } };
  };
  const registered = (): Promise<void> => until('it is registered', async () => 'owner' in (await shown()));
  const resultity = async (...args: string[]): Promise<string> => {
    const out: string[] = [];
    const say = { out: (l: string) => void out.push(l), err: () => {}, color: false, now: () => Date.now() };
    const io = { ...say, stdin: async () => '' };
    expect(await runCommand(buildProgram(io, '0.0.0'), args, io)).to.equal(0);
    return out.join('\n');
  };

  it('is proved by a Bind that a wallet signed offline, and stays so after the Bind is gone', async () => {
    podOf({ wallet: wallet.address });
    const node = '0x17c5185167401ed00cf5f5b2fc97d9bbfdb7d025'; // the address of the pod's key
    const at = (name: string): string => join(pod.dir, name);
    writeFileSync(at('root.json'), rig.kit.pinnedRoot);
    const base = ['identity', 'bind', '--root', at('root.json')];
    const request = await resultity(...base, '--node', node, '--owner', wallet.address);
    writeFileSync(at('request.json'), request);
    const { domain, types, message } = JSON.parse(request);
    const signature = await wallet.signTypedData(domain, { Bind: types.Bind }, message);
    const bind = await resultity(...base, '--request', at('request.json'), '--signature', signature);
    writeFileSync(join(pod.paths.bind as string, 'bind.json'), bind);
    const agent = await pod.startAgent();
    expect(agent.node).to.equal(node);
    await registered();
    const owner = { kind: 'wallet', id: wallet.address.toLowerCase(), proved: true };
    expect((await shown()).owner).to.deep.equal(owner);
    await agent.kill();
    rmSync(join(pod.paths.bind as string, 'bind.json'));
    await pod.startAgent();
    await until('it registered again', () => pod.logs.filter((l) => l.includes('registered with')).length === 2);
    expect((await shown()).owner).to.deep.equal(owner);
    expect(pod.logs.join('')).to.contain('"ownerProved":true');
  });

  it('is proved for an email by the token that the network issued for it, and by no other', async () => {
    podOf({ email: 'ops@example.com' });
    await pod.startAgent();
    await registered();
    expect((await shown()).owner.proved).to.equal(false);
    await pod.agent?.kill();
    writeFileSync(join(pod.paths.enrolment as string, 'token'), 'for-ops');
    await pod.startAgent();
    await until('proved', async () => (await shown()).owner.proved);
    expect((await shown()).owner).to.deep.equal({ kind: 'email', id: 'ops@example.com', proved: true });
  });
});
