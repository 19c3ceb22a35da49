import { hash } from 'node:crypto';

/** JSON with sorted keys and without undefined: equal values give equal text. */
export const stableJson = (value: unknown): string => {
  if (typeof value !== 'object' || value === null) return JSON.stringify(value) ?? 'null';
  let text = '';
  if (Array.isArray(value)) {
    for (const one of value) text += `${text === '' ? '' : ','}${stableJson(one)}`;
    return `[${text}]`;
  }
  for (const key of sortedKeys(value)) {
    const inner = (value as Record<string, unknown>)[key];
    if (inner !== undefined) text += `${text === '' ? '' : ','}${JSON.stringify(key)}:${stableJson(inner)}`;
  }
  return `{${text}}`;
};

/** Most objects come with their keys in order, and sorting costs more than to see that. */
const sortedKeys = (value: object): string[] => {
  const keys = Object.keys(value);
  for (let i = 1; i < keys.length; i++) if ((keys[i - 1] ?? '') > (keys[i] ?? '')) return keys.sort();
  return keys;
};

/** A short digest of a value, for comparing; equal for equal JSON whatever the order of keys. */
export const fingerprint = (value: unknown): string => hash('sha256', stableJson(value), 'base64url');
