import { createHash, randomBytes } from 'node:crypto';
import { z } from 'zod';
import type { Domain } from './eip712.ts';
import { isSignatureForm, type Signer, signStruct, verifyStruct } from './signature.ts';
import { parseStrictJson } from './strict-json.ts';
import { type Address, type Hex32, zAddress, zHex32, zUint } from './values.ts';

/** The header that carries the signature of a signed HTTP call (§2). */
export const AUTH_HEADER = 'resultity-auth';
/** Largest accepted difference between the call's ts and the receiver's clock. */
export const CLOCK_TOLERANCE_MS = 60_000;

/** The call as both ends see it: `path` is the raw request target with query, `authority` host plus non-default port. */
export interface SignedCall {
  readonly method: string;
  readonly authority: string;
  readonly path: string;
  readonly body: string | Uint8Array;
}

export interface RequestAuth {
  readonly node: Address;
  readonly ts: number;
  readonly nonce: Hex32;
  readonly sig: string;
}

const zAuth = z.object({ v: z.literal(1), node: zAddress, ts: zUint, nonce: zHex32, sig: z.string() });

const message = (call: SignedCall, auth: Omit<RequestAuth, 'sig'>) =>
  ({
    method: call.method,
    authority: call.authority,
    path: call.path,
    node: auth.node,
    ts: auth.ts,
    nonce: auth.nonce,
    bodyHash: `0x${createHash('sha256').update(call.body).digest('hex')}` as Hex32,
  }) as const;

/** 32 fresh random bytes. */
export const newNonce = (): Hex32 => `0x${randomBytes(32).toString('hex')}`;

/** The header's value for one call. Every retry is signed anew; pass the server's nonce to skip the clock check. */
export const signCall = (
  domain: Domain,
  signer: Signer,
  call: SignedCall,
  ts: number,
  nonce: Hex32 = newNonce(),
): string => {
  const auth = { node: signer.address, ts, nonce };
  return JSON.stringify({ v: 1, ...auth, sig: signStruct(signer, domain, 'Request', message(call, auth)) });
};

/** Reads the header; undefined when it is missing or malformed (401 bad_signature). */
export const parseAuth = (header: string | undefined): RequestAuth | undefined => {
  if (header === undefined || header.length > 2048) return undefined;
  try {
    const { node, ts, nonce, sig } = zAuth.parse(parseStrictJson(header));
    return isSignatureForm(sig) ? { node, ts, nonce, sig } : undefined;
  } catch {
    return undefined;
  }
};

/** True when the named node signed exactly this call. */
export const verifyCall = (domain: Domain, call: SignedCall, auth: RequestAuth): boolean =>
  verifyStruct(domain, 'Request', message(call, auth), auth.sig, auth.node);

/** Host and port of a URL as they are signed: lower case, `:port` unless it is the scheme's default. */
export const authorityOf = (url: string | URL): string => new URL(url).host.toLowerCase();
