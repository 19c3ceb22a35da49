import { expect } from 'chai';
import { verifyPublication } from '../../src/config/index.ts';
import { newNonce, signCall, signStruct, verifyReceipt } from '../../src/protocol/index.ts';
import { malleated } from '../support/malleated.ts';
import { AgentEnd, NodeEnd } from '../support/replay-ends.ts';
import { API_KEY, ServiceRig } from '../support/service-rig.ts';
import { testSigner } from '../support/signer-kit.ts';
import { readVectors } from '../support/vectors.ts';

interface FrameVectors {
  readonly frames: readonly { readonly direction: 'node' | 'net'; readonly frame: string }[];
}
const FORMS = Object.keys(malleated(testSigner('any').sign(new Uint8Array(32))));

/** The frame with its signature written otherwise. */
const resigned = (text: string, how: string): string => {
  const at = text.indexOf('\n');
  const head = JSON.parse(text.slice(0, at));
  return JSON.stringify({ ...head, sig: malleated(head.sig)[how] }) + text.slice(at);
};
/** One payload of each type that this side may send after the handshake. */
const payloads = (direction: 'node' | 'net', not: readonly string[]): Map<string, string> => {
  const found = new Map<string, string>();
  for (const { direction: by, frame } of readVectors<FrameVectors>('frames').frames) {
    const at = frame.indexOf('\n');
    const { t } = JSON.parse(frame.slice(0, at));
    if (by === direction && !not.includes(t)) found.set(t, frame.slice(at + 1));
  }
  return found;
};

describe('a signature written in another way than the protocol’s is refused', function () {
  this.timeout(60_000);
  let rig: ServiceRig;
  let agent: AgentEnd;
  const signer = testSigner('node');
  const join = (): Promise<NodeEnd> =>
    NodeEnd.join(rig.url, { domain: rig.kit.domain, signer, audience: rig.authority, incarnation: 1 });
  const kept = (): string => JSON.stringify([rig.ledger(), rig.service.registry.row(signer.address)]);

  before(async () => {
    rig = await ServiceRig.start();
    expect((await rig.publish()).status).to.equal(200);
    agent = await AgentEnd.listen({ domain: rig.kit.domain, network: rig.ticketSigner });
    await rig.node().register();
    // what is kept of the node includes its incarnation
    (await join()).close();
  });
  after(async () => {
    await agent.close();
    await rig.stop();
  });

  it('in every form that this test knows, of which none is the signature itself', () => {
    const signature = signer.sign(new Uint8Array(32).fill(7));
    expect(FORMS.length).to.be.at.least(12);
    expect(Object.values(malleated(signature))).to.not.include(signature);
  });

  for (const [t, payload] of payloads('node', ['hello']))
    it(`on a frame ${t} to the network: 4401`, async () => {
      const before = kept();
      for (const how of FORMS) {
        const end = await join();
        end.raw(resigned(end.sign(t, payload), how));
        expect(await end.refusal(), how).to.equal(4401);
        expect(
          end.heard.filter((f) => f !== 'welcome'),
          how,
        ).to.deep.equal([]);
      }
      expect(kept()).to.equal(before);
    });

  it('on hello: 4401, and no welcome', async () => {
    for (const how of FORMS) {
      const end = await NodeEnd.open(rig.url);
      const hello = end.hello({ domain: rig.kit.domain, signer, audience: rig.authority, incarnation: 1 });
      end.raw(resigned(hello, how));
      expect(await end.refusal(), how).to.equal(4401);
      expect(end.heard, how).to.not.include('welcome');
    }
  });

  for (const [t, payload] of payloads('net', ['challenge', 'welcome']))
    it(`on a frame ${t} to a node: 4401, and nothing of it is done`, async () => {
      for (const how of FORMS) {
        const saw = await agent.session({ node: signer }, (end) => end.send(resigned(end.sign(t, payload), how)));
        expect([saw.messages.length, saw.end.code, saw.end.own], how).to.deep.equal([0, 4401, true]);
      }
    });

  it('on a signed call: 401 bad_signature, whatever the call', async () => {
    const before = kept();
    for (const path of ['/v1/register', '/v1/heartbeat', '/v1/results', '/v1/logs'])
      for (const how of FORMS) {
        const call = { method: 'POST', authority: rig.authority, path, body: '{}' };
        const auth = JSON.parse(signCall(rig.kit.domain, signer, call, Date.now(), newNonce()));
        const header = JSON.stringify({ ...auth, sig: malleated(auth.sig)[how] });
        const answer = await rig.post(path, {}, { 'resultity-auth': header });
        const { error } = (await answer.json()) as { error: { code: string } };
        expect([answer.status, error.code], `${path} ${how}`).to.deep.equal([401, 'bad_signature']);
      }
    expect(kept()).to.equal(before);
  });

  it('on a Bind: no owner is proved by it', async () => {
    const wallet = testSigner('wallet');
    for (const how of FORMS) {
      const node = rig.node(`bound ${how}`);
      const bind = { owner: wallet.address, node: node.node, nonce: newNonce(), expiresAt: Date.now() + 60_000 };
      const sig = malleated(signStruct(wallet, rig.kit.domain, 'Bind', bind))[how];
      const { owner, nonce, expiresAt } = bind;
      const answer = await node.register({ owner: { wallet: owner }, bind: { owner, nonce, expiresAt, sig } });
      expect(answer.status, how).to.be.oneOf([400, 401]);
      expect(rig.service.registry.row(node.node), how).to.equal(undefined);
    }
  });

  it('on a root, a snapshot or a ticket: the publication is refused', async () => {
    const { kit } = rig;
    const verified = (roots: string, answer: string): Promise<string> =>
      verifyPublication({ roots: [roots], answer, bytes: kit.current?.bytes ?? new Uint8Array(), now: kit.now }).then(
        (outcome) => (outcome.kind === 'refused' ? outcome.code : outcome.kind),
        (error: { code?: string }) => String(error.code),
      );
    const rewrite = (text: string, list: string, how: string): string => {
      const answer = JSON.parse(text);
      answer[list][0].sig = malleated(answer[list][0].sig)[how];
      return JSON.stringify(answer);
    };
    const [root, answer] = [kit.pinnedRoot, kit.answer ?? ''];
    expect(await verified(root, answer)).to.equal('accepted');
    for (const how of FORMS) {
      const codes = [
        await verified(rewrite(root, 'signatures', how), answer),
        await verified(root, rewrite(answer, 'snapshotSignatures', how)),
        await verified(root, rewrite(answer, 'ticketSignatures', how)),
      ];
      expect(codes, how).to.deep.equal(['bad_signature', 'bad_signature', 'bad_signature']);
    }
  });

  it('inside a result, over the socket and over HTTP: no receipt; inside a receipt: it does not verify', async () => {
    const node = await rig.activeNode('worker');
    const asked = rig.post(
      '/v1/chat/completions',
      { model: rig.model.ref, messages: [{ role: 'user', content: 'hi' }] },
      { authorization: `Bearer ${API_KEY}` },
    );
    const { offer, payload } = await node.offer();
    node.accept(offer);
    const good = node.result(offer, payload, '{"choices":[]}');
    for (const how of FORMS) {
      const answer = await node.call('POST', '/v1/results', { ...good, sig: malleated(good.sig)[how] });
      expect(answer.status, how).to.be.oneOf([400, 401]);
      node.send('job.result', { ...good, sig: malleated(good.sig)[how] });
      expect(await node.gone(), how).to.be.oneOf([4400, 4401]);
      expect(
        node.frames.map((f) => f.t),
        how,
      ).to.not.include('job.receipt');
      await node.connect({ jobs: [{ jobId: offer.jobId, attempt: offer.attempt, state: 'result', deltas: 0 }] });
    }
    expect(rig.ledger()).to.deep.equal([]);
    node.send('job.result', good);
    const receipt = await node.receipt();
    expect([receipt.receipt.verdict, (await asked).status]).to.deep.equal(['accepted', 200]);
    const pair = { result: good.result, resultSig: good.sig, ...receipt };
    const authorities = [{ rootVersion: 1, keys: [rig.ticketSigner.address], issuedAt: 0 }];
    const holds = (over: object): boolean =>
      verifyReceipt(rig.kit.domain, { ...pair, ...over }, authorities).every((check) => check.ok);
    expect(holds({})).to.equal(true);
    for (const how of FORMS) {
      expect(holds({ sig: malleated(receipt.sig)[how] }), how).to.equal(false);
      expect(holds({ resultSig: malleated(good.sig)[how] }), how).to.equal(false);
    }
  });
});
