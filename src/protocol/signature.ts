import { randomBytes } from 'node:crypto';
import { createRequire } from 'node:module';
import { CodedError } from '../lib/errors.ts';
import { Secret } from '../lib/secret.ts';
import { type Domain, type StructName, type StructValue, structDigest } from './eip712.ts';
import { keccak256 } from './keccak.ts';
import type { Address } from './values.ts';

/** 65 bytes r‖s‖v as `0x` and 130 lower-case hex digits. */
export type Signature = `0x${string}`;

/** Signs 32-byte digests for one address. The key never leaves it. */
export interface Signer {
  readonly address: Address;
  sign(digest: Uint8Array): Signature;
}

/** What a curve library must do; r, s as 64 bytes, recovery id 0 or 1, uncompressed public key of 65 bytes. */
interface Backend {
  readonly name: 'native' | 'ethers';
  sign(digest: Uint8Array, key: Uint8Array): { rs: Uint8Array; recid: number };
  recover(digest: Uint8Array, rs: Uint8Array, recid: number): Uint8Array;
  publicKey(key: Uint8Array): Uint8Array;
}

const bytes = (hex: string): Buffer => Buffer.from(hex.slice(2), 'hex');
const hex = (data: Uint8Array): `0x${string}` => `0x${Buffer.from(data).toString('hex')}`;

/** Loaded only where the native library is not: it costs each start 60 ms and 8 MiB. */
const loadEthers = async (): Promise<Backend> => {
  const { SigningKey } = await import('ethers/crypto');
  return {
    name: 'ethers',
    sign(digest, key) {
      const s = new SigningKey(key).sign(digest);
      return { rs: Buffer.concat([bytes(s.r), bytes(s.s)]), recid: s.yParity };
    },
    recover: (digest, rs, recid) =>
      bytes(
        SigningKey.recoverPublicKey(digest, {
          r: hex(rs.subarray(0, 32)),
          s: hex(rs.subarray(32)),
          v: 27 + recid,
        }),
      ),
    publicKey: (key) => bytes(SigningKey.computePublicKey(key, false)),
  };
};

interface NativeModule {
  ecdsaSign(digest: Uint8Array, key: Uint8Array): { signature: Uint8Array; recid: number };
  ecdsaRecover(rs: Uint8Array, recid: number, digest: Uint8Array, compressed: boolean): Uint8Array;
  publicKeyCreate(key: Uint8Array, compressed: boolean): Uint8Array;
}

/** The native library when it loads and gives the known answers; otherwise undefined. */
const loadNative = (): Backend | undefined => {
  try {
    // its JavaScript fallback is slower than ethers, so only the compiled binding counts
    const lib = createRequire(import.meta.url)('secp256k1/bindings') as NativeModule;
    const backend: Backend = {
      name: 'native',
      sign(digest, key) {
        const { signature, recid } = lib.ecdsaSign(digest, key);
        return { rs: signature, recid };
      },
      recover: (digest, rs, recid) => lib.ecdsaRecover(rs, recid, digest, false),
      publicKey: (key) => lib.publicKeyCreate(key, false),
    };
    return selfTest(backend) ? backend : undefined;
  } catch {
    return undefined;
  }
};

/** What ethers says for the key 0x07…07 and the digest 0x09…09. */
const KNOWN = {
  rs: '7157050929571a762ab6e06207f74db146f165fead17acc7afe23000a091dc377b5faa50c021f3f9613f20531b8fc1a38744203a2f391c15e7b1455c3a296e4e',
  recid: 0,
  publicKey:
    '04989c0b76cb563971fdc9bef31ec06c3560f3249d6ee9e5d83c57625596e05f6f631f4d05b3ae518776ee08755a7703e64b2ebc32547504de0b55a142d4ecdf80',
};

const selfTest = (candidate: Backend): boolean => {
  const key = Buffer.alloc(32, 7);
  const digest = Buffer.alloc(32, 9);
  const { rs, recid } = candidate.sign(digest, key);
  const is = (data: Uint8Array, known: string): boolean => Buffer.from(data).toString('hex') === known;
  return (
    is(rs, KNOWN.rs) &&
    recid === KNOWN.recid &&
    is(candidate.publicKey(key), KNOWN.publicKey) &&
    is(candidate.recover(digest, rs, recid), KNOWN.publicKey)
  );
};

const backend = loadNative() ?? (await loadEthers());

/** Which curve library signs and recovers in this process: `native` (compiled secp256k1) or `ethers`. */
export const signatureBackend: 'native' | 'ethers' = backend.name;

const addressOf = (publicKey: Uint8Array): Address =>
  `0x${keccak256(Buffer.from(publicKey).subarray(1)).toString('hex').slice(-40)}`;

const ORDER = 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141n;
const HALF_ORDER = ORDER / 2n;

/** A signer over a 32-byte private key (`0x` hex or bytes). @throws CodedError `bad_key` */
export const createSigner = (privateKey: Secret | Secret<Uint8Array>): Signer => {
  const raw = privateKey.reveal();
  const key = typeof raw === 'string' ? parsePrivateKey(raw) : Buffer.from(raw);
  const scalar = key.length === 32 ? BigInt(`0x${key.toString('hex')}`) : 0n;
  if (scalar <= 0n || scalar >= ORDER) throw new CodedError('bad_key', 'the private key is not a secp256k1 key');
  return {
    address: addressOf(backend.publicKey(key)),
    sign(digest) {
      const { rs, recid } = backend.sign(digest, key);
      return `0x${Buffer.from(rs).toString('hex')}${recid === 0 ? '1b' : '1c'}`;
    },
  };
};

const parsePrivateKey = (text: string): Buffer => {
  const digits = text.trim().replace(/^0x/, '');
  if (!/^[0-9a-fA-F]{64}$/.test(digits))
    throw new CodedError('bad_key', 'a private key is 64 hex digits, with or without 0x');
  return Buffer.from(digits, 'hex');
};

/** A new private key from the system's random source, as `0x` hex. */
export const generatePrivateKey = (): Secret => {
  for (;;) {
    const key = randomBytes(32);
    const scalar = BigInt(`0x${key.toString('hex')}`);
    if (scalar > 0n && scalar < ORDER) return new Secret(hex(key));
  }
};

/** True when the text is a signature in the one form that the protocol knows: v 27 or 28, 1 ≤ r < n, 1 ≤ s ≤ n/2. */
export const isSignatureForm = (text: string): text is Signature => {
  if (!/^0x[0-9a-f]{128}(?:1b|1c)$/.test(text)) return false;
  const r = BigInt(`0x${text.slice(2, 66)}`);
  const s = BigInt(`0x${text.slice(66, 130)}`);
  return r > 0n && r < ORDER && s > 0n && s <= HALF_ORDER;
};

/** The address that signed `digest`, or undefined when the signature is malformed or recovers to nothing. */
export const recoverAddress = (digest: Uint8Array, signature: string): Address | undefined => {
  if (!isSignatureForm(signature)) return undefined;
  const raw = bytes(signature);
  try {
    return addressOf(backend.recover(digest, raw.subarray(0, 64), (raw[64] ?? 27) - 27));
  } catch {
    return undefined;
  }
};

/** Signs one struct of the protocol. */
export const signStruct = <N extends StructName>(
  signer: Signer,
  domain: Domain,
  name: N,
  value: StructValue<N>,
): Signature => signer.sign(structDigest(domain, name, value));

/** True when `signature` over the struct recovers to `expected`. The comparison is with whom it must be, never whom it claims. */
export const verifyStruct = <N extends StructName>(
  domain: Domain,
  name: N,
  value: StructValue<N>,
  signature: string,
  expected: Address,
): boolean => recoverAddress(structDigest(domain, name, value), signature) === expected;
