import { createHash, randomBytes } from 'node:crypto';

/** A JSON object as it came over the wire: nothing about it is known yet. */
export type Json = Record<string, unknown>;

const sha = (data: string | Uint8Array): Buffer => createHash('sha256').update(data).digest();
const hex = (bytes: Uint8Array): string => `0x${Buffer.from(bytes).toString('hex')}`;

export const ZERO32 = `0x${'00'.repeat(32)}`;
export const ZERO_ADDRESS = `0x${'00'.repeat(20)}`;

/** sha256 as 0x-hex, the form of hashes inside structs. */
export const hash32 = (data: string | Uint8Array): string => hex(sha(data));
/** sha256 in the form of digests in JSON: `sha256:<64 lower-case hex>`. */
export const digestOf = (data: string | Uint8Array): string => `sha256:${sha(data).toString('hex')}`;
export const random32 = (): string => hex(randomBytes(32));

/** sid = sha256(serverNonce ‖ clientNonce ‖ node). */
export const sessionId = (serverNonce: string, clientNonce: string, node: string): string =>
  hash32(Buffer.concat([serverNonce, clientNonce, node].map((part) => Buffer.from(part.slice(2), 'hex'))));

export const isObject = (value: unknown): value is Json =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
/** The value as an object; anything else is an empty one, so that what is missing shows as a wrong field. */
export const object = (value: unknown): Json => (isObject(value) ? value : {});
export const list = (value: unknown): unknown[] => (Array.isArray(value) ? value : []);

/** The forms of §1. */
export const FORMS = {
  digest: /^sha256:[0-9a-f]{64}$/,
  bytes32: /^0x[0-9a-f]{64}$/,
  address: /^0x[0-9a-f]{40}$/,
  signature: /^0x[0-9a-f]{130}$/,
  reference: /^[a-z0-9][a-z0-9._/-]{0,127}:[A-Za-z0-9._-]{1,63}$/,
} as const;
export const isInteger = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0;
