import { computeAddress, recoverAddress, SigningKey, TypedDataEncoder, type TypedDataField } from 'ethers';
import { FORMS, hash32, type Json, ZERO32 } from './bytes.ts';

/** The structs as §1 of docs/protocol.md writes them. */
const TEXT = `
Frame(string type,address node,bytes32 sid,uint64 seq,uint64 ts,bytes32 bodyHash)
Request(string method,string authority,string path,address node,uint64 ts,bytes32 nonce,bytes32 bodyHash)
JobResult(string jobId,uint32 attempt,address node,string model,bytes32 modelDigest,bytes32 configDigest,bytes32 requestHash,bytes32 outputHash,uint32 promptTokens,uint32 completionTokens,string finishReason,uint64 finishedAt)
JobReceipt(string jobId,uint32 attempt,address node,bytes32 resultHash,string verdict,uint64 rootVersion,uint64 receivedAt)
ConfigSnapshot(string network,uint64 epoch,uint64 version,bytes32 digest,uint64 size,uint64 issuedAt,uint64 expiresAt,uint64 rootVersion,bytes32 rollbackOf)
ConfigTicket(string network,uint64 epoch,uint64 version,bytes32 digest,uint64 issuedAt,uint64 expiresAt)
Root(string network,uint64 version,uint64 epoch,bytes32 documentHash)
Bind(address owner,address node,bytes32 nonce,uint64 expiresAt)`;

const STRUCTS = new Map(
  TEXT.trim()
    .split('\n')
    .map((line): [string, TypedDataField[]] => {
      const [name = '', fields = ''] = line.slice(0, -1).split('(');
      return [name, fields.split(',').map((f) => ({ type: f.split(' ')[0] ?? '', name: f.split(' ')[1] ?? '' }))];
    }),
);
const HALF_N = BigInt('0x7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a0');
const N = BigInt('0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141');

/** What a signature belongs to: one network on one chain. */
export interface Domain {
  readonly network: string;
  readonly chainId: number;
}

/** A key and its address, lower case. */
export class Key {
  readonly address: string;
  readonly #key: SigningKey;
  constructor(secret: string) {
    this.#key = new SigningKey(secret);
    this.address = computeAddress(secret).toLowerCase();
  }
  /** A key made of a text: the same text gives the same key. */
  static of(seed: string): Key {
    return new Key(hash32(seed));
  }
  sign(domain: Domain, struct: string, message: Json): string {
    return this.#key.sign(structDigest(domain, struct, message)).serialized.toLowerCase();
  }
}

/** The EIP-712 digest. Digests may stand in the form of JSON, a null digest is 32 zero bytes. */
export const structDigest = (domain: Domain, struct: string, message: Json): string => {
  const fields = STRUCTS.get(struct);
  if (!fields) throw new Error(`no struct ${struct}`);
  const value: Json = {};
  for (const { name, type } of fields) {
    const given = message[name];
    value[name] = type === 'bytes32' ? (given === null ? ZERO32 : String(given).replace(/^sha256:/, '0x')) : given;
  }
  const about = {
    name: 'Resultity',
    version: '1',
    chainId: domain.chainId,
    salt: hash32(domain.network),
  };
  return TypedDataEncoder.hash(about, { [struct]: fields }, value);
};

/** Who signed, lower case; undefined for every form that §1 refuses. */
export const signerOf = (domain: Domain, struct: string, message: Json, sig: unknown): string | undefined => {
  if (typeof sig !== 'string' || !FORMS.signature.test(sig)) return undefined;
  const [r, s, v] = [BigInt(sig.slice(0, 66)), BigInt(`0x${sig.slice(66, 130)}`), Number(`0x${sig.slice(130)}`)];
  if (r < 1n || r >= N || s < 1n || s > HALF_N || (v !== 27 && v !== 28)) return undefined;
  try {
    return recoverAddress(structDigest(domain, struct, message), sig).toLowerCase();
  } catch {
    return undefined;
  }
};

const word = (value: bigint): string => value.toString(16).padStart(64, '0');

/** Every way to write a good signature that must be refused, by name. The first is the malleated twin (n − s, other v). */
export const spoiled = (sig: string): Record<string, string> => {
  const [r, s, v] = [sig.slice(2, 66), sig.slice(66, 130), sig.slice(130)];
  const twin = word(N - BigInt(`0x${s}`));
  const other = v === '1b' ? '1c' : '1b';
  return {
    'malleated (n − s)': `0x${r}${twin}${other}`,
    'v of 0 or 1': `0x${r}${s}0${v === '1b' ? 0 : 1}`,
    'the other v': `0x${r}${s}${other}`,
    'upper-case hex': `0x${sig.slice(2).toUpperCase()}`,
    'no 0x': sig.slice(2),
    'compact, 64 bytes': `0x${r}${word(BigInt(`0x${s}`) | (v === '1c' ? 1n << 255n : 0n))}`,
    'r of zero': `0x${word(0n)}${s}${v}`,
    's of zero': `0x${r}${word(0n)}${v}`,
    'r of n': `0x${word(N)}${s}${v}`,
    'one byte more': `${sig}00`,
    empty: '',
  };
};
