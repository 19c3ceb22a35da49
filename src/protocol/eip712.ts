import { createHash } from 'node:crypto';
import { CodedError } from '../lib/errors.ts';
import { keccak256 } from './keccak.ts';
import type { Address, Hex32, Sha256 } from './values.ts';

/** The structs of docs/protocol.md §1, field by field, in the order that is hashed. */
export const STRUCTS = {
  Frame: 'string type,address node,bytes32 sid,uint64 seq,uint64 ts,bytes32 bodyHash',
  Request: 'string method,string authority,string path,address node,uint64 ts,bytes32 nonce,bytes32 bodyHash',
  JobResult:
    'string jobId,uint32 attempt,address node,string model,bytes32 modelDigest,bytes32 configDigest,bytes32 requestHash,bytes32 outputHash,uint32 promptTokens,uint32 completionTokens,string finishReason,uint64 finishedAt',
  JobReceipt:
    'string jobId,uint32 attempt,address node,bytes32 resultHash,string verdict,uint64 rootVersion,uint64 receivedAt',
  ConfigSnapshot:
    'string network,uint64 epoch,uint64 version,bytes32 digest,uint64 size,uint64 issuedAt,uint64 expiresAt,uint64 rootVersion,bytes32 rollbackOf',
  ConfigTicket: 'string network,uint64 epoch,uint64 version,bytes32 digest,uint64 issuedAt,uint64 expiresAt',
  Root: 'string network,uint64 version,uint64 epoch,bytes32 documentHash',
  Bind: 'address owner,address node,bytes32 nonce,uint64 expiresAt',
} as const;

export type StructName = keyof typeof STRUCTS;

/** TypeScript value of a Solidity type; a bytes32 may be given in either JSON form of a digest. */
type ValueOf<S extends string> = S extends 'string'
  ? string
  : S extends 'address'
    ? Address
    : S extends 'bytes32'
      ? Hex32 | Sha256
      : number;
type Fields<S extends string> = S extends `${infer Field},${infer Rest}` ? Field | Fields<Rest> : S;
/** The message of a struct, derived from its type string. */
export type StructValue<N extends StructName> = {
  readonly [F in Fields<(typeof STRUCTS)[N]> as F extends `${string} ${infer Name}`
    ? Name
    : never]: F extends `${infer Type} ${string}` ? ValueOf<Type> : never;
};

/** A network's signing domain: EIP712Domain(name, version, chainId, salt = sha256(network name)). */
export interface Domain {
  readonly network: string;
  readonly chainId: number;
  /** hashStruct of the domain, computed once. */
  readonly separator: Uint8Array;
}

const keccakText = (text: string): Buffer => keccak256(Buffer.from(text, 'utf8'));

interface Compiled {
  readonly typeHash: Buffer;
  readonly fields: readonly { readonly type: string; readonly name: string }[];
}
const compile = (name: string, body: string): Compiled => ({
  typeHash: keccakText(`${name}(${body})`),
  fields: body.split(',').map((field) => {
    const [type = '', fieldName = ''] = field.split(' ');
    return { type, name: fieldName };
  }),
});
const COMPILED = Object.fromEntries(Object.entries(STRUCTS).map(([name, body]) => [name, compile(name, body)])) as {
  readonly [N in StructName]: Compiled;
};
const DOMAIN_TYPE = keccakText('EIP712Domain(string name,string version,uint256 chainId,bytes32 salt)');

const word = (): Buffer => Buffer.alloc(32);
const uint = (value: unknown, bits: number, name: string): Buffer => {
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 0 || (bits === 32 && value > 0xffff_ffff))
    throw new CodedError('bad_value', `${name} is no uint${bits}`);
  const out = word();
  out.writeBigUInt64BE(BigInt(value), 24);
  return out;
};
const hex = (value: unknown, bytes: number, name: string): Buffer => {
  const digits = typeof value === 'string' ? value.replace(/^(?:0x|sha256:)/, '') : '';
  if (digits.length !== bytes * 2 || !/^[0-9a-f]+$/.test(digits))
    throw new CodedError('bad_value', `${name} is no ${bytes}-byte value`);
  return Buffer.from(digits.padStart(64, '0'), 'hex');
};
const encodeField = (type: string, value: unknown, name: string): Buffer => {
  switch (type) {
    case 'string':
      if (typeof value !== 'string') throw new CodedError('bad_value', `${name} is no text`);
      return keccakText(value);
    case 'address':
      return hex(value, 20, name);
    case 'bytes32':
      return hex(value, 32, name);
    case 'uint32':
      return uint(value, 32, name);
    default:
      return uint(value, 64, name);
  }
};

/** The domain of a network (docs/protocol.md §1). */
export const domainOf = (network: string, chainId: number): Domain => ({
  network,
  chainId,
  separator: keccak256(
    Buffer.concat([
      DOMAIN_TYPE,
      keccakText('Resultity'),
      keccakText('1'),
      uint(chainId, 64, 'chainId'),
      createHash('sha256').update(network, 'utf8').digest(),
    ]),
  ),
});

/** EIP-712 digest (32 bytes): keccak256(0x1901 ‖ domain ‖ hashStruct(value)). Extra members of `value` are ignored. */
export const structDigest = <N extends StructName>(domain: Domain, name: N, value: StructValue<N>): Uint8Array => {
  const { typeHash, fields } = COMPILED[name];
  const members = value as Record<string, unknown>;
  const encoded = fields.map((f) => encodeField(f.type, members[f.name], f.name));
  const hashed = keccak256(Buffer.concat([typeHash, ...encoded]));
  return keccak256(Buffer.concat([Buffer.from([0x19, 0x01]), domain.separator, hashed]));
};

/** The typed data in the form that wallets take (eth_signTypedData_v4), for signing offline. */
export const typedData = <N extends StructName>(domain: Domain, name: N, value: StructValue<N>): unknown => ({
  types: {
    EIP712Domain: [
      { name: 'name', type: 'string' },
      { name: 'version', type: 'string' },
      { name: 'chainId', type: 'uint256' },
      { name: 'salt', type: 'bytes32' },
    ],
    [name]: COMPILED[name].fields.map((f) => ({ name: f.name, type: f.type })),
  },
  primaryType: name,
  domain: {
    name: 'Resultity',
    version: '1',
    chainId: domain.chainId,
    salt: `0x${createHash('sha256').update(domain.network, 'utf8').digest('hex')}`,
  },
  message: value,
});
