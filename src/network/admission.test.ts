import { expect } from 'chai';
import { testSigner } from '../../test/support/signer-kit.ts';
import { domainOf, newNonce, type RegisterBody, signStruct } from '../protocol/index.ts';
import { type AdmissionRules, decideRegistration, type RegistrationCase } from './admission.ts';
import { HttpFailure } from './errors.ts';

const NOW = 1_000_000;
const domain = domainOf('testnet', 31337);
const node = testSigner('node').address;
const wallet = testSigner('wallet');
const rules = (over: Partial<AdmissionRules> = {}): AdmissionRules => ({
  policy: 'open',
  token: (text) => (text === 'for-ops' ? { email: 'ops@example.com' } : text === 'plain' ? {} : undefined),
  allowed: new Set(),
  ...over,
});
const body = (over: Partial<RegisterBody> = {}): RegisterBody => ({
  node,
  owner: { wallet: wallet.address },
  metadata: { agent: '1', runtime: '1', hardware: {}, labels: {} },
  ...over,
});
const bind = (expiresAt = NOW + 1_000, signer = wallet) => {
  const nonce = newNonce();
  const message = { owner: wallet.address, node, nonce, expiresAt };
  return { owner: wallet.address, nonce, expiresAt, sig: signStruct(signer, domain, 'Bind', message) };
};
const decide = (b: RegisterBody, r = rules(), existing?: RegistrationCase['existing']) =>
  decideRegistration(r, { node, body: b, existing, now: NOW, domain });
const code = (work: () => unknown): string => {
  try {
    work();
  } catch (error) {
    if (error instanceof HttpFailure) return `${error.status} ${error.code}`;
    throw error;
  }
  return 'admitted';
};

describe('admission', () => {
  it('admits an unproved owner under the open policy, and again without a change', () => {
    const first = decide(body());
    expect(first).to.deep.include({ isNew: true, vouched: false });
    expect(first.row.proved).to.equal(false);
    expect(decide(body(), rules(), first.row).row).to.deep.equal(first.row);
  });
  it('proves a wallet by its Bind and an email by the token issued for it', () => {
    expect(decide(body({ bind: bind() })).row.proved).to.equal(true);
    expect(decide(body({ owner: { email: 'OPS@example.com' }, enrolment: 'for-ops' })).row.proved).to.equal(true);
    expect(decide(body({ enrolment: 'plain' })).row.proved).to.equal(false);
  });
  it('keeps a proved owner proved with no or an expired Bind, and refuses another owner', () => {
    const { row } = decide(body({ bind: bind() }));
    expect(decide(body(), rules(), row).row.proved).to.equal(true);
    expect(decide(body({ bind: bind(NOW - 1) }), rules(), row).row.proved).to.equal(true);
    expect(code(() => decide(body({ owner: { email: 'a@b.cd' } }), rules(), row))).to.equal('409 owner_mismatch');
  });
  it('does not prove by an expired Bind, one of another wallet, or one too far ahead', () => {
    expect(decide(body({ bind: bind(NOW) })).row.proved).to.equal(false);
    expect(code(() => decide(body({ bind: bind(NOW + 9, testSigner('x')) })))).to.equal('401 bad_signature');
    expect(code(() => decide(body({ bind: bind(NOW + 86_400_001) })))).to.equal('400 bad_request');
    expect(code(() => decide(body({ owner: { email: 'a@b.cd' }, bind: bind() })))).to.equal('400 bad_request');
  });
  it('refuses whom the policy does not admit, but not who is in already', () => {
    const token = rules({ policy: 'token' });
    expect(code(() => decide(body(), token))).to.equal('403 not_admitted');
    expect(code(() => decide(body({ enrolment: 'plain' }), token))).to.equal('admitted');
    expect(code(() => decide(body(), token, decide(body()).row))).to.equal('admitted');
    const list = rules({ policy: 'allow-list', allowed: new Set([wallet.address]) });
    expect(code(() => decide(body(), list))).to.equal('admitted');
    expect(code(() => decide(body({ owner: { email: 'a@b.cd' } }), list))).to.equal('403 not_admitted');
  });
  it('refuses a token of another email, a revoked node and a body that names another node', () => {
    const other = body({ owner: { email: 'else@example.com' }, enrolment: 'for-ops' });
    expect(code(() => decide(other))).to.equal('403 not_admitted');
    const { row } = decide(body());
    expect(code(() => decide(body(), rules(), { ...row, admission: 'revoked' }))).to.equal('403 revoked');
    expect(code(() => decide(body({ node: wallet.address })))).to.equal('400 bad_request');
  });
});
