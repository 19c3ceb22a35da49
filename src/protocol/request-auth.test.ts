import { expect } from 'chai';
import { readVectors } from '../../test/support/vectors.ts';
import { domainOf } from './eip712.ts';
import { authorityOf, parseAuth, type SignedCall, verifyCall } from './request-auth.ts';
import type { Address } from './values.ts';

const vector = readVectors<{ network: string; chainId: number; request: SignedCall; header: string; signer: Address }>(
  'calls',
);
const domain = domainOf(vector.network, vector.chainId);

describe('signed calls', () => {
  it('verify the vector', () => {
    const auth = parseAuth(vector.header);
    expect(auth?.node).to.equal(vector.signer);
    expect(auth && verifyCall(domain, vector.request, auth)).to.equal(true);
  });
  it('refuse any other method, host, path, query or body', () => {
    const auth = parseAuth(vector.header)!;
    const others: Partial<SignedCall>[] = [
      { method: 'PUT' },
      { authority: 'other.example' },
      { path: '/v1/register' },
      { path: `${vector.request.path}?a=1` },
      { body: '{}' },
    ];
    for (const other of others) expect(verifyCall(domain, { ...vector.request, ...other }, auth)).to.equal(false);
  });
  it('refuse a missing, oversized or malformed header', () => {
    const header = JSON.parse(vector.header) as Record<string, unknown>;
    const bad = [
      undefined,
      '',
      'x',
      '[]',
      JSON.stringify({ ...header, v: 2 }),
      JSON.stringify({ ...header, node: String(header.node).toUpperCase() }),
      JSON.stringify({ ...header, sig: `${String(header.sig).slice(0, -2)}00` }),
      `${vector.header.slice(0, -1)},"v":1}`,
      JSON.stringify({ ...header, pad: 'x'.repeat(2048) }),
    ];
    for (const text of bad) expect(parseAuth(text)).to.equal(undefined);
  });
  it('name an authority by host and any port that is not the default', () => {
    expect(authorityOf('https://IO.Example:443/x')).to.equal('io.example');
    expect(authorityOf('https://io.example:8443')).to.equal('io.example:8443');
  });
});
