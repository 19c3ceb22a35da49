import { inspect } from 'node:util';
import { expect } from 'chai';
import { recoverAddress as ethersRecover } from 'ethers';
import fc from 'fast-check';
import { createSigner, generatePrivateKey, isSignatureForm, recoverAddress } from './signature.ts';

const ORDER = 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141n;
const signer = createSigner(generatePrivateKey());
const digest = Buffer.alloc(32, 5);
const signature = signer.sign(digest);
const r = signature.slice(2, 66);
const s = signature.slice(66, 130);
const v = signature.slice(130);

describe('signatures', () => {
  it('agree with ethers for random digests', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 32, maxLength: 32 }), (d) => {
        const sig = signer.sign(d);
        expect(ethersRecover(d, sig).toLowerCase()).to.equal(signer.address);
        expect(recoverAddress(d, sig)).to.equal(signer.address);
      }),
      { numRuns: 50 },
    );
  });
  const highS = (ORDER - BigInt(`0x${s}`)).toString(16).padStart(64, '0');
  const malleated: Record<string, string> = {
    'high s with the other v (recovers to the same address)': `0x${r}${highS}${v === '1b' ? '1c' : '1b'}`,
    'v as 0 or 1': `0x${r}${s}${v === '1b' ? '00' : '01'}`,
    'v as 37 (EIP-155)': `0x${r}${s}25`,
    'upper case': `0x${signature.slice(2).toUpperCase()}`,
    'no 0x': signature.slice(2),
    'EIP-2098 compact form': `0x${r}${s}`,
    'a byte more': `${signature}00`,
    'r = 0': `0x${'0'.repeat(64)}${s}${v}`,
    's = 0': `0x${r}${'0'.repeat(64)}${v}`,
    'r = n': `0x${ORDER.toString(16)}${s}${v}`,
    's = n/2 + 1': `0x${r}${(ORDER / 2n + 1n).toString(16).padStart(64, '0')}${v}`,
  };
  for (const [name, text] of Object.entries(malleated))
    it(`refuse ${name}`, () => {
      expect(isSignatureForm(text)).to.equal(false);
      expect(recoverAddress(digest, text)).to.equal(undefined);
    });
  it('accept s = n/2, the largest low s, as a form', () => {
    expect(isSignatureForm(`0x${r}${(ORDER / 2n).toString(16).padStart(64, '0')}1b`)).to.equal(true);
  });
  it('never show the private key in a log, JSON or error', () => {
    const key = generatePrivateKey();
    const shown = `${key} ${JSON.stringify({ key })} ${inspect(key)}`;
    expect(shown).to.not.contain(key.reveal().slice(2));
  });
});
