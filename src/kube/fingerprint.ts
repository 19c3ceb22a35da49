import { hash } from 'node:crypto';

/** JSON with sorted keys and without undefined: equal values give equal text. */
export const stableJson = (value: unknown): string => {
  if (Array.isArray(value)) return `[${value.map((v) => (v === undefined ? 'null' : stableJson(v))).join(',')}]`;
  if (typeof value !== 'object' || value === null) return JSON.stringify(value) ?? 'null';
  const parts: string[] = [];
  for (const key of Object.keys(value).sort()) {
    const inner = (value as Record<string, unknown>)[key];
    if (inner !== undefined) parts.push(`${JSON.stringify(key)}:${stableJson(inner)}`);
  }
  return `{${parts.join(',')}}`;
};

/** A short digest of a value, for comparing; equal for equal JSON whatever the order of keys. */
export const fingerprint = (value: unknown): string => hash('sha256', stableJson(value), 'base64url');
