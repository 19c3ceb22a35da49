import { FORMS, hash32, isInteger, isObject, type Json } from './bytes.ts';
import { parseJson } from './json.ts';
import { type Domain, type Key, signerOf } from './sign.ts';

/** What the header `resultity-auth` signs. */
export interface CallFacts {
  readonly method: string;
  readonly authority: string;
  readonly path: string;
  readonly body: string;
  readonly ts: number;
  readonly nonce: string;
}

const request = (facts: CallFacts, node: string): Json => ({
  method: facts.method,
  authority: facts.authority,
  path: facts.path,
  node,
  ts: facts.ts,
  nonce: facts.nonce,
  bodyHash: hash32(facts.body),
});

/** The value of the header for this call. */
export const writeAuth = (key: Key, domain: Domain, facts: CallFacts): string => {
  const sig = key.sign(domain, 'Request', request(facts, key.address));
  return JSON.stringify({ v: 1, node: key.address, ts: facts.ts, nonce: facts.nonce, sig });
};

/** The node that a call proves to come from; throws with what is wrong. */
export const readAuth = (
  domain: Domain,
  header: string | undefined,
  call: Omit<CallFacts, 'ts' | 'nonce'>,
): { node: string; ts: number; nonce: string } => {
  if (header === undefined || header.length > 2_048) throw new Error('resultity-auth is missing or too long');
  const auth = parseJson(header);
  if (!isObject(auth) || auth.v !== 1) throw new Error('resultity-auth is no object of v 1');
  const { node, ts, nonce, sig } = auth;
  if (typeof node !== 'string' || !FORMS.address.test(node)) throw new Error('resultity-auth: form of node');
  if (typeof nonce !== 'string' || !FORMS.bytes32.test(nonce)) throw new Error('resultity-auth: form of nonce');
  if (!isInteger(ts)) throw new Error('resultity-auth: form of ts');
  if (signerOf(domain, 'Request', request({ ...call, ts, nonce }, node), sig) !== node)
    throw new Error(`resultity-auth: not signed by ${node} for ${call.method} ${call.authority} ${call.path}`);
  return { node, ts, nonce };
};
