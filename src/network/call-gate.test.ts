import { expect } from 'chai';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { SignerKit, testSigner } from '../../test/support/signer-kit.ts';
import { newNonce, type Signer, signCall } from '../protocol/index.ts';
import { CallGate } from './call-gate.ts';
import { HttpFailure } from './errors.ts';
import { systemRandom } from './random.ts';

const HOST = 'io.example';
const { domain } = new SignerKit();
const signer = testSigner('node');

describe('the gate of signed calls', () => {
  let clock: FakeClock;
  let gate: CallGate;
  /** `ok`, or the failure. */
  const call = (o: { ts?: number; nonce?: `0x${string}`; by?: Signer } = {}): HttpFailure | 'ok' => {
    const of = { method: 'POST', authority: HOST, path: '/v1/heartbeat', body: Buffer.from('{}') };
    const header = signCall(domain, o.by ?? signer, of, o.ts ?? clock.now(), o.nonce ?? newNonce());
    try {
      gate.admit({ ...of, header }, () => {});
      return 'ok';
    } catch (error) {
      if (error instanceof HttpFailure) return error;
      throw error;
    }
  };
  const code = (o: Parameters<typeof call>[0] = {}): string => {
    const end = call(o);
    return end === 'ok' ? end : end.code;
  };
  const serverNonce = (by = signer): `0x${string}` => {
    const end = call({ ts: clock.now() - 100_000, by });
    return end === 'ok' ? '0x' : (end.extras.serverNonce as `0x${string}`);
  };
  beforeEach(() => {
    clock = new FakeClock();
    gate = new CallGate(domain, [HOST], clock, systemRandom);
  });

  it('takes a call within 60 s of its clock, either way, and none beyond', async () => {
    await clock.advance(100_000);
    const now = clock.now();
    expect([60_000, -60_000].map((off) => code({ ts: now + off }))).to.deep.equal(['ok', 'ok']);
    expect([60_001, -60_001].map((off) => code({ ts: now + off }))).to.deep.equal(['bad_clock', 'bad_clock']);
  });
  it('takes no call dated before its start, as it has forgotten the nonces of that time', () => {
    expect(code({ ts: clock.now() - 1 })).to.equal('bad_clock');
    expect(code({ ts: clock.now() })).to.equal('ok');
  });
  it('remembers a nonce of a node for at least 150 s', async () => {
    const nonce = newNonce();
    expect(code({ nonce })).to.equal('ok');
    for (let s = 1; s < 150; s++) {
      await clock.advance(1_000);
      expect(code()).to.equal('ok');
    }
    expect(code({ nonce })).to.equal('replayed');
    expect(code({ nonce, by: testSigner('another') })).to.equal('ok');
  });
  it('gives a nonce that lets a wrong clock in: of this node alone, for 60 s, once', async () => {
    await clock.advance(200_000);
    const wrong = clock.now() - 3_600_000;
    const nonce = serverNonce();
    expect(code({ ts: wrong, nonce, by: testSigner('another') })).to.equal('bad_clock');
    expect(code({ ts: wrong, nonce })).to.equal('ok');
    expect(code({ ts: wrong, nonce })).to.equal('replayed');
    // it is made of node and time: within one millisecond it is the same
    await clock.advance(1);
    const late = serverNonce();
    await clock.advance(60_000);
    expect(code({ ts: wrong, nonce: late })).to.equal('ok');
    const tooLate = serverNonce();
    await clock.advance(60_001);
    expect(code({ ts: wrong, nonce: tooLate })).to.equal('bad_clock');
    expect(code({ ts: wrong, nonce: newNonce() })).to.equal('bad_clock');
  });
  it('forgets the nonces that it gave when it starts anew', async () => {
    await clock.advance(200_000);
    const nonce = serverNonce();
    gate = new CallGate(domain, [HOST], clock, systemRandom);
    expect(code({ ts: clock.now() - 3_600_000, nonce })).to.equal('bad_clock');
  });
});
