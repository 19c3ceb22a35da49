import { expect } from 'chai';
import { keccak256 as ethersKeccak, verifyTypedData } from 'ethers';
import { readVectors } from '../../test/support/vectors.ts';
import { Secret } from '../lib/secret.ts';
import { domainOf, type StructName, type StructValue, structDigest, typedData } from './eip712.ts';
import { keccak256 } from './keccak.ts';
import { createSigner, recoverAddress, signStruct } from './signature.ts';
import type { Address } from './values.ts';

interface StructVector {
  struct: StructName;
  message: StructValue<StructName>;
  digest: string;
  signature: string;
  signer: Address;
}
const vectors = readVectors<{
  network: string;
  chainId: number;
  keys: Record<string, string>;
  structs: StructVector[];
}>('structs');
const domain = domainOf(vectors.network, vectors.chainId);
const signers = Object.values(vectors.keys).map((key) => createSigner(new Secret(key)));

describe('EIP-712 structs', () => {
  it('covers every struct of the protocol with a vector', () => {
    expect(new Set(vectors.structs.map((v) => v.struct)).size).to.equal(8);
  });
  for (const [i, v] of vectors.structs.entries()) {
    it(`hashes, signs and recovers ${v.struct} (vector ${i}) as ethers does`, () => {
      const digest = structDigest(domain, v.struct, v.message);
      expect(`0x${Buffer.from(digest).toString('hex')}`).to.equal(v.digest);
      expect(recoverAddress(digest, v.signature)).to.equal(v.signer);
      const signer = signers.find((s) => s.address === v.signer);
      expect(signer && signStruct(signer, domain, v.struct, v.message)).to.equal(v.signature);
    });
  }
  it('gives typed data that a wallet library verifies', () => {
    const bind = vectors.structs.find((v) => v.struct === 'Bind')!;
    const data = typedData(domain, 'Bind', bind.message as StructValue<'Bind'>) as {
      types: Record<string, { name: string; type: string }[]>;
      domain: object;
      message: Record<string, unknown>;
    };
    const { EIP712Domain: _, ...types } = data.types;
    expect(verifyTypedData(data.domain, types, data.message, bind.signature).toLowerCase()).to.equal(bind.signer);
  });
  it('computes keccak256 as ethers does, whatever the length', () => {
    for (const length of [0, 1, 31, 32, 135, 136, 137, 400]) {
      const data = Buffer.alloc(length, length);
      expect(`0x${keccak256(data).toString('hex')}`).to.equal(ethersKeccak(data));
    }
  });
  it('separates networks and chains', () => {
    const ticket = vectors.structs.find((v) => v.struct === 'ConfigTicket')!;
    const here = structDigest(domain, 'ConfigTicket', ticket.message as StructValue<'ConfigTicket'>);
    for (const other of [domainOf('other-net', vectors.chainId), domainOf(vectors.network, 1)])
      expect(structDigest(other, 'ConfigTicket', ticket.message as StructValue<'ConfigTicket'>)).to.not.deep.equal(
        here,
      );
  });
  it('refuses values that do not fit their type', () => {
    const frame = vectors.structs[0]?.message as StructValue<'Frame'>;
    for (const bad of [{ seq: -1 }, { seq: 2 ** 53 }, { seq: 1.5 }, { node: '0x12' }, { sid: '0xzz' }, { type: 5 }])
      expect(() => structDigest(domain, 'Frame', { ...frame, ...bad } as StructValue<'Frame'>)).to.throw(/is no/);
  });
});
