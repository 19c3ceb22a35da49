import { CodedError } from '../lib/errors.ts';

/**
 * RFC 8785 (JSON Canonicalization Scheme): keys sorted by UTF-16 code units, ECMAScript numbers, no white space.
 * `undefined` members are left out, as JSON.stringify does.
 * @throws CodedError `not_canonical` for what JSON cannot say (NaN, lone surrogates, functions)
 */
export const canonicalJson = (value: unknown): string => {
  if (value instanceof Number) return canonicalJson(value.valueOf());
  if (value === null || typeof value === 'boolean') return JSON.stringify(value);
  if (typeof value === 'number') {
    if (!Number.isFinite(value)) throw new CodedError('not_canonical', 'a number is not finite');
    return JSON.stringify(value);
  }
  if (typeof value === 'string') {
    if (!value.isWellFormed()) throw new CodedError('not_canonical', 'a string has a lone surrogate');
    return JSON.stringify(value);
  }
  if (Array.isArray(value)) return `[${value.map((v) => canonicalJson(v === undefined ? null : v)).join(',')}]`;
  if (typeof value === 'object') {
    const members = Object.entries(value as Record<string, unknown>)
      .filter(([, v]) => v !== undefined)
      .sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0))
      .map(([k, v]) => `${canonicalJson(k)}:${canonicalJson(v)}`);
    return `{${members.join(',')}}`;
  }
  throw new CodedError('not_canonical', `JSON has no ${typeof value}`);
};
