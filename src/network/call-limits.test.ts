import { expect } from 'chai';
import { ServiceRig } from '../../test/support/service-rig.ts';
import { testSigner } from '../../test/support/signer-kit.ts';
import { newNonce, signStruct } from '../protocol/index.ts';

describe('limits of calls', () => {
  let rig: ServiceRig;
  afterEach(() => rig.stop());

  it('let so many new nodes of one address register, those that know each other again and again', async () => {
    rig = await ServiceRig.start({}, { registrationsPerAddress: 2 });
    const nodes = ['a', 'b', 'c'].map((name) => rig.node(name));
    const answers = [];
    for (const node of [...nodes, nodes[0]!]) answers.push(await node.register());
    expect(answers.map((a) => a.status)).to.deep.equal([200, 200, 429, 200]);
    expect(answers[2]?.json.error).to.include({ code: 'rate', retryable: true });
    expect(answers[2]?.json.error.retryAfterMs).to.be.above(0);
  });

  it('count those with a token of the network by owner instead', async () => {
    const admission = {
      policy: 'open',
      token: () => ({ email: 'ops@example.com' }),
      allowed: new Set<string>(),
    } as const;
    rig = await ServiceRig.start(
      { admission },
      { registrationsPerAddress: 0, callsPerAddress: 0, registrationsPerOwner: 2 },
    );
    expect((await rig.node('a').register()).status).to.equal(429);
    const with2 = ['b', 'c', 'd'].map((name) => rig.node(name));
    const statuses = [];
    for (const node of with2) statuses.push((await node.register({ enrolment: 'token' })).status);
    expect(statuses).to.deep.equal([200, 200, 429]);
  });

  it('bound signed calls and status calls of an address', async () => {
    rig = await ServiceRig.start({}, { callsPerAddress: 2, statusPerAddress: 3 });
    const node = rig.node();
    expect((await node.register()).status).to.equal(200);
    const beats = [];
    for (let i = 0; i < 2; i++) beats.push((await node.call('POST', '/v1/heartbeat', {})).status);
    expect(beats).to.deep.equal([400, 429]);
    const seen = [];
    for (let i = 0; i < 4; i++) seen.push((await fetch(`${rig.url}/v1/status`)).status);
    expect(seen).to.deep.equal([200, 200, 200, 429]);
  });

  it('take a Bind’s nonce once: a second Bind with it proves nothing, and turns nobody away', async () => {
    rig = await ServiceRig.start();
    const wallet = testSigner('wallet');
    const nonce = newNonce();
    const proved = [];
    for (const name of ['a', 'b', 'a']) {
      const node = rig.node(name);
      const message = { owner: wallet.address, node: node.node, nonce, expiresAt: Date.now() + 60_000 };
      const sig = signStruct(wallet, rig.kit.domain, 'Bind', message);
      const { owner, expiresAt } = message;
      const answer = await node.register({ owner: { wallet: owner }, bind: { owner, nonce, expiresAt, sig } });
      proved.push([answer.status, answer.json.ownerProved]);
    }
    expect(proved).to.deep.equal([
      [200, true],
      [200, false],
      [200, true],
    ]);
  });
});
