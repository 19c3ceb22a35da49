import type { ServerResponse } from 'node:http';
import { isObject, type Json, type JsonObject } from './api-double-apply.ts';

/** What a path names. */
export interface At {
  readonly collection: string;
  readonly plural: string;
  readonly namespace: string | undefined;
  readonly name: string | undefined;
  readonly subresource: string | undefined;
}

export const parsePath = (path: string): At | undefined => {
  const found =
    /^\/(?:api|apis\/([^/]+))\/([^/]+)(?:\/namespaces\/([^/]+)(?=\/.))?\/([^/]+)(?:\/([^/]+))?(?:\/([^/]+))?$/.exec(
      path,
    );
  if (!found) return undefined;
  const [, group = '', version, namespace, plural = '', name, subresource] = found;
  return {
    collection: `${group}/${version}/${plural}`,
    plural,
    namespace,
    name: name && decodeURIComponent(name),
    subresource,
  };
};

export const meta = (o: JsonObject): JsonObject => (isObject(o.metadata) ? o.metadata : {});

export const same = (a: JsonObject, b: JsonObject): boolean => {
  const text = (o: JsonObject): string =>
    JSON.stringify(sorted({ ...o, metadata: { ...meta(o), managedFields: null, resourceVersion: null } }));
  return text(a) === text(b);
};
const sorted = (v: Json): Json =>
  Array.isArray(v)
    ? v.map(sorted)
    : isObject(v)
      ? Object.fromEntries(
          Object.keys(v)
            .sort()
            .map((k) => [k, sorted(v[k] ?? null)]),
        )
      : v;

/** Label selectors with =, ==, !=, exists, !exists; field selectors with = and !=. */
export const matcher = (at: At, query: URLSearchParams): ((o: JsonObject) => boolean) => {
  const terms = (text: string | null): string[] => (text ?? '').split(',').filter(Boolean);
  const holds = (term: string, value: (name: string) => Json | undefined): boolean => {
    const [, name = '', op, wanted] = /^([^=!]+)(?:(==?|!=)(.*))?$/.exec(term) ?? [];
    if (term.startsWith('!')) return value(term.slice(1)) === undefined;
    if (op === undefined) return value(name) !== undefined;
    return (String(value(name) ?? '') === wanted) === (op !== '!=');
  };
  return (o) =>
    (at.namespace === undefined || meta(o).namespace === at.namespace) &&
    terms(query.get('labelSelector')).every((t) =>
      holds(t, (n) => (isObject(meta(o).labels) ? (meta(o).labels as JsonObject)[n] : undefined)),
    ) &&
    terms(query.get('fieldSelector')).every((t) =>
      holds(t, (n) => n.split('.').reduce<Json | undefined>((v, k) => (isObject(v) ? v[k] : undefined), o)),
    );
};

export const bookmarkOf = (collection: string, rv: number, end = false): JsonObject => ({
  type: 'BOOKMARK',
  object: {
    kind: collection,
    metadata: { resourceVersion: String(rv), ...(end ? { annotations: { 'k8s.io/initial-events-end': 'true' } } : {}) },
  },
});

/** Answered as a Status with this reason. */
export class Refused extends Error {
  readonly status: number;
  readonly reason: string;
  constructor(status: number, reason: string, message: string) {
    super(message);
    this.status = status;
    this.reason = reason;
  }
}

export const answer = (response: ServerResponse, status: number, body: Json): void => {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
};

export const fail = (response: ServerResponse, error: unknown): void => {
  const refused = error instanceof Refused ? error : new Refused(500, 'InternalError', String(error));
  if (response.headersSent) return void response.destroy();
  answer(response, refused.status, {
    kind: 'Status',
    apiVersion: 'v1',
    status: 'Failure',
    message: refused.message,
    reason: refused.reason,
    code: refused.status,
  });
};
