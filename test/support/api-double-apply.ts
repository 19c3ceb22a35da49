/** Server-side apply, as much of it as tests need: ownership by leaf, keyed lists, sets; no schema. */

export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };
export type JsonObject = { [key: string]: Json };

/** Lists that merge by a key, as the real schemas say; all other lists are atomic. '' = a set of scalars. */
const LIST_KEYS: Readonly<Record<string, string>> = {
  conditions: 'type',
  containers: 'name',
  initContainers: 'name',
  env: 'name',
  volumes: 'name',
  volumeMounts: 'mountPath',
  imagePullSecrets: 'name',
  ownerReferences: 'uid',
  finalizers: '',
};
const MARK = '\u0000';

export const isObject = (v: Json | undefined): v is JsonObject =>
  typeof v === 'object' && v !== null && !Array.isArray(v);

/** Keyed lists as objects, so that merging knows only objects and leaves. */
const encode = (value: Json, field = ''): Json => {
  if (Array.isArray(value)) {
    const key = LIST_KEYS[field];
    if (key === undefined) return value;
    const entries = value.map((v): [string, Json] =>
      key === '' ? [`${MARK}${String(v)}`, v] : [`${MARK}${String(isObject(v) ? v[key] : '')}`, encode(v)],
    );
    return Object.fromEntries(entries);
  }
  if (!isObject(value)) return value;
  return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, encode(v, k)]));
};

const decode = (value: Json): Json => {
  if (!isObject(value)) return value;
  const keys = Object.keys(value);
  if (keys.length > 0 && keys.every((k) => k.startsWith(MARK))) return keys.map((k) => decode(value[k] ?? null));
  return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, decode(v)]));
};

const leaves = (value: Json, path: string[] = [], into = new Map<string, Json>()): Map<string, Json> => {
  if (isObject(value) && Object.keys(value).length > 0) {
    for (const [k, v] of Object.entries(value)) leaves(v, [...path, k], into);
  } else into.set(JSON.stringify(path), value);
  return into;
};

const at = (value: Json | undefined, path: string[]): Json | undefined => {
  let here = value;
  for (const k of path) here = isObject(here) ? here[k] : undefined;
  return here;
};

const set = (root: JsonObject, path: string[], value: Json): void => {
  let here = root;
  for (const k of path.slice(0, -1)) {
    const next = here[k];
    here[k] = isObject(next) ? next : {};
    here = here[k] as JsonObject;
  }
  const last = path.at(-1);
  if (last !== undefined) here[last] = value;
};

const unset = (root: JsonObject, path: string[]): void => {
  const parent = path.length > 1 ? at(root, path.slice(0, -1)) : root;
  const last = path.at(-1);
  if (!isObject(parent) || last === undefined) return;
  delete parent[last];
  if (Object.keys(parent).length === 0 && path.length > 1) unset(root, path.slice(0, -1));
};

export class ApplyConflict extends Error {
  readonly fields: string[];
  constructor(manager: string, fields: string[]) {
    super(`Apply failed with ${fields.length} conflict(s) with "${manager}": ${fields.join(', ')}`);
    this.fields = fields;
  }
}

/** Which manager owns which leaves of one object (one such map for the object, one for each subresource). */
export type Owners = Map<string, Set<string>>;

/** Applies `intent` to `live`; both without what the server sets itself. Changes `owners`. Throws ApplyConflict. */
export const applyTo = (
  live: JsonObject,
  intent: JsonObject,
  manager: string,
  force: boolean,
  owners: Owners,
): JsonObject => {
  const root = encode(structuredClone(live)) as JsonObject;
  const wanted = leaves(encode(intent));
  for (const [other, owned] of owners) {
    if (other === manager) continue;
    const taken = [...wanted].filter(
      ([p, v]) => owned.has(p) && JSON.stringify(at(root, JSON.parse(p))) !== JSON.stringify(v),
    );
    if (taken.length > 0 && !force)
      throw new ApplyConflict(
        other,
        taken.map(([p]) => `.${(JSON.parse(p) as string[]).join('.')}`),
      );
    for (const [p] of taken) owned.delete(p);
  }
  const before = owners.get(manager) ?? new Set<string>();
  owners.set(manager, new Set(wanted.keys()));
  for (const path of before) {
    if (!wanted.has(path) && ![...owners.values()].some((o) => o.has(path))) unset(root, JSON.parse(path));
  }
  for (const [path, value] of wanted) set(root, JSON.parse(path), value);
  return decode(root) as JsonObject;
};

/** RFC 7386. */
export const mergePatch = (target: Json | undefined, patch: Json): Json => {
  if (!isObject(patch)) return patch;
  const result: JsonObject = isObject(target) ? { ...target } : {};
  for (const [k, v] of Object.entries(patch)) {
    if (v === null) delete result[k];
    else result[k] = mergePatch(result[k], v);
  }
  return result;
};

/** RFC 6902: add, remove, replace, test. Throws on a failed test or a missing path. */
export const jsonPatch = (target: JsonObject, ops: { op: string; path: string; value?: Json }[]): JsonObject => {
  const root = structuredClone(target);
  for (const { op, path, value } of ops) {
    const parts = path
      .split('/')
      .slice(1)
      .map((p) => p.replaceAll('~1', '/').replaceAll('~0', '~'));
    const last = parts.pop() ?? '';
    const parent = parts.reduce<Json | undefined>(
      (v, k) => (Array.isArray(v) ? v[Number(k)] : isObject(v) ? v[k] : undefined),
      root,
    );
    if (Array.isArray(parent)) {
      const index = last === '-' ? parent.length : Number(last);
      if (op === 'test' && JSON.stringify(parent[index]) !== JSON.stringify(value))
        throw new Error(`test failed at ${path}`);
      if (op === 'add') parent.splice(index, 0, value ?? null);
      if (op === 'replace') parent[index] = value ?? null;
      if (op === 'remove') parent.splice(index, 1);
    } else if (isObject(parent)) {
      if (op === 'test' && JSON.stringify(parent[last] ?? null) !== JSON.stringify(value ?? null))
        throw new Error(`test failed at ${path}`);
      if (op === 'remove' || op === 'replace') if (!(last in parent)) throw new Error(`nothing at ${path}`);
      if (op === 'add' || op === 'replace') parent[last] = value ?? null;
      if (op === 'remove') delete parent[last];
    } else throw new Error(`nothing at ${path}`);
  }
  return root;
};
