import { hash } from 'node:crypto';
import { z } from 'zod';
import { CodedError } from '../lib/errors.ts';
import { keccak256 } from './keccak.ts';

/** 20-byte Ethereum address, lower-case `0x` hex (docs/protocol.md §1). */
export type Address = `0x${string}`;
/** `sha256:` and 64 lower-case hex digits: every digest in JSON. */
export type Sha256 = `sha256:${string}`;
/** `0x` and 64 lower-case hex digits: sid, nonces, resultHash. */
export type Hex32 = `0x${string}`;

const matching = <T extends string>(pattern: RegExp, what: string): z.ZodType<T> =>
  z.custom<T>((v) => typeof v === 'string' && pattern.test(v), { error: `must be ${what}` });

export const zAddress = matching<Address>(/^0x[0-9a-f]{40}$/, '0x and 40 lower-case hex digits');
export const zSha256 = matching<Sha256>(/^sha256:[0-9a-f]{64}$/, 'sha256: and 64 lower-case hex digits');
export const zHex32 = matching<Hex32>(/^0x[0-9a-f]{64}$/, '0x and 64 lower-case hex digits');
export const zSignatureText = matching<`0x${string}`>(/^0x[0-9a-f]{130}$/, '0x and 130 lower-case hex digits');
export const zNetworkName = matching<string>(/^[a-z0-9][a-z0-9.-]{0,62}$/, 'a network name');
export const zModelRef = matching<string>(
  /^[a-z0-9][a-z0-9._/-]{0,127}:[A-Za-z0-9._-]{1,63}$/,
  'name:version of a model',
);
/** Integers are JSON numbers without fraction or exponent, 0 … 2^53 − 1 (strict-json.ts boxes the others). */
export const zUint = z.number().int().min(0).max(Number.MAX_SAFE_INTEGER);

export const ZERO_ADDRESS: Address = `0x${'0'.repeat(40)}`;
export const ZERO_32: Hex32 = `0x${'0'.repeat(64)}`;

/** sha256 of bytes, or of the UTF-8 of a text, in the form that JSON carries. */
export const sha256Hex = (data: string | Uint8Array): Sha256 => `sha256:${hash('sha256', data, 'hex')}`;

/** EIP-55 form, for people. */
export const checksumAddress = (address: Address): string => {
  const digits = address.slice(2).toLowerCase();
  const upper = keccak256(Buffer.from(digits)).toString('hex');
  return `0x${[...digits].map((c, i) => (Number.parseInt(upper[i] ?? '0', 16) >= 8 ? c.toUpperCase() : c)).join('')}`;
};

/**
 * Reads an address as a person writes it: any case, but a mixed case must be a valid EIP-55 checksum.
 * @throws CodedError `bad_address` with what to write instead
 */
export const parseAddress = (text: string): Address => {
  if (!/^0x[0-9a-fA-F]{40}$/.test(text))
    throw new CodedError('bad_address', `"${text.slice(0, 60)}" is not an address: write 0x and 40 hex digits`);
  const lower = text.toLowerCase() as Address;
  const digits = text.slice(2);
  if (digits !== digits.toLowerCase() && digits !== digits.toUpperCase() && checksumAddress(lower) !== text)
    throw new CodedError(
      'bad_address',
      `"${text}" has a wrong checksum (EIP-55): a digit is mistyped, or write it in lower case if you are sure`,
    );
  return lower;
};

/** Splits `name:version` at its only colon. */
export const splitModelRef = (ref: string): { name: string; version: string } => {
  const at = ref.indexOf(':');
  return { name: ref.slice(0, at), version: ref.slice(at + 1) };
};
