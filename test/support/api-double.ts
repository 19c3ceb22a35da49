import { randomUUID } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type Connection, fixedConnection } from '../../src/kube/index.ts';
import {
  ApplyConflict,
  applyTo,
  isObject,
  type Json,
  type JsonObject,
  jsonPatch,
  mergePatch,
  type Owners,
} from './api-double-apply.ts';
import { type At, answer, fail, matcher, meta, parsePath, Refused, same } from './api-double-parts.ts';
import { Watches } from './api-double-watches.ts';

/** Kinds whose status is no subresource. All others lose `status` in writes to the object itself, as on the real server. */
const PLAIN = new Set([
  'configmaps',
  'secrets',
  'leases',
  'events',
  'serviceaccounts',
  'roles',
  'rolebindings',
  'clusterroles',
  'clusterrolebindings',
  'networkpolicies',
]);

interface Stored {
  object: JsonObject;
  readonly owners: Map<string, Owners>;
}
export interface SeenRequest {
  readonly method: string;
  readonly path: string;
  readonly query: URLSearchParams;
  readonly watch: boolean;
  readonly body: Json | undefined;
}
export interface Fault {
  readonly when: (request: SeenRequest) => boolean;
  /** How often; default once. */
  times?: number;
  /** 'reset' breaks the connection; 'hang' never answers. */
  readonly answer:
    | { readonly status: number; readonly reason?: string; readonly retryAfter?: number }
    | 'reset'
    | 'hang';
}

/**
 * A server that answers as the Kubernetes API server does, as far as src/kube and the operator use it: CRUD, server-side
 * apply, status, finalizers, selectors, pages, watches with versions, bookmarks and 410. No schemas, no admission, no
 * garbage collection. test/contract/kube.contract.ts holds it against the real one.
 */
export class ApiDouble {
  /** Every request, in order. */
  readonly requests: SeenRequest[] = [];
  /** Answers as plain text what it gives a text for: logs, proxies. */
  text: (request: SeenRequest) => string | undefined = () => undefined;
  /** APIs that come and go, `group/version/plural`, and whether each is there now. All that is not named here is there. */
  readonly optional = new Map<string, boolean>();
  /** TCP connections that were opened so far. */
  connections = 0;
  readonly #server: Server;
  readonly #collections = new Map<string, Map<string, Stored>>();
  readonly #watches = new Watches();
  readonly #faults: Fault[] = [];

  constructor() {
    this.#server = createServer((request, response) => {
      this.#serve(request, response).catch((error) => fail(response, error));
    });
    this.#server.on('connection', () => {
      this.connections += 1;
    });
    this.#server.keepAliveTimeout = 60_000;
  }

  static async start(): Promise<ApiDouble> {
    const double = new ApiDouble();
    await new Promise<void>((resolve) => double.#server.listen(0, '127.0.0.1', resolve));
    return double;
  }
  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }
  get connection(): Connection {
    return fixedConnection(this.url);
  }
  async stop(): Promise<void> {
    this.#watches.close();
    const closed = new Promise((resolve) => this.#server.close(resolve));
    this.#server.closeAllConnections();
    await closed;
  }

  /** All objects of a plural, of any group. */
  objects<T = JsonObject>(plural: string): T[] {
    return [...this.#collections]
      .filter(([c]) => c.endsWith(`/${plural}`))
      .flatMap(([, all]) => [...all.values()].map((s) => s.object as T));
  }
  /** Writes seen, without leases and events: what a steady state must not have. */
  writes(): SeenRequest[] {
    return this.requests.filter((r) => r.method !== 'GET' && !/\/(leases|events)(\/|$)/.test(r.path));
  }
  /** The next requests that match go wrong. */
  fault(fault: Fault): void {
    this.#faults.push(fault);
  }
  get openWatches(): number {
    return this.#watches.size;
  }
  /** Breaks (or, `gently`, ends) all watches. */
  cutWatches(gently = false): void {
    this.#watches.cut(gently);
  }
  /** Says this line on all watches. */
  say(line: string | JsonObject): void {
    this.#watches.say(line);
  }
  bookmark(): void {
    this.#watches.bookmark();
  }
  /** From now on versions up to now are too old to watch from. */
  compact(): void {
    this.#watches.compact();
  }
  /** Watches say nothing until `release`: a slow cache. */
  hold(): void {
    this.#watches.hold();
  }
  release(): void {
    this.#watches.release();
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? '/', 'http://double');
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const text = Buffer.concat(chunks).toString();
    const query = url.searchParams;
    const seen: SeenRequest = {
      method: request.method ?? 'GET',
      path: url.pathname,
      query,
      watch: query.get('watch') === 'true',
      body: text ? JSON.parse(text) : undefined,
    };
    this.requests.push(seen);
    const fault = this.#faults.find((f) => f.when(seen));
    if (fault) {
      fault.times = (fault.times ?? 1) - 1;
      if (fault.times <= 0) this.#faults.splice(this.#faults.indexOf(fault), 1);
      const { answer } = fault;
      if (answer === 'hang') return;
      if (answer === 'reset') return void request.socket.destroy();
      if (answer.retryAfter !== undefined) response.setHeader('retry-after', String(answer.retryAfter));
      return fail(response, new Refused(answer.status, answer.reason ?? 'Injected', 'injected'));
    }
    const plain = this.text(seen);
    if (plain !== undefined) return void response.writeHead(200, { 'content-type': 'text/plain' }).end(plain);
    if (url.pathname === '/version') return answer(response, 200, { major: '1', minor: '36', gitVersion: 'v1.36.3' });
    const group = /^\/apis\/([^/]+\/[^/]+)$/.exec(url.pathname)?.[1];
    if (group !== undefined) {
      const names = [...this.optional].filter(([api, there]) => there && api.startsWith(`${group}/`));
      if (names.length > 0)
        return answer(response, 200, { resources: names.map(([api]) => ({ name: api.split('/')[2] ?? '' })) });
    }
    const at = parsePath(url.pathname);
    if (at && this.optional.get(at.collection) === false)
      throw new Refused(404, 'NotFound', `the server could not find ${url.pathname}`);
    if (!at) throw new Refused(404, 'NotFound', `the server could not find ${url.pathname}`);
    const all = this.#collections.get(at.collection) ?? new Map<string, Stored>();
    this.#collections.set(at.collection, all);
    if (at.name === undefined) {
      if (seen.method === 'POST') return answer(response, 201, this.#create(at, all, seen));
      if (seen.method !== 'GET') throw new Refused(405, 'MethodNotAllowed', seen.method);
      return seen.watch
        ? this.#watches.open(at, all.values(), query, response)
        : answer(response, 200, this.#list(at, all, query));
    }
    const key = `${at.namespace ?? ''}/${at.name}`;
    const stored = all.get(key);
    const type = request.headers['content-type'] ?? '';
    if (type.includes('apply-patch')) return answer(response, stored ? 200 : 201, this.#apply(at, all, seen));
    if (!stored) throw new Refused(404, 'NotFound', `${at.plural} "${at.name}" not found`);
    if (seen.method === 'GET') return answer(response, 200, stored.object);
    if (seen.method === 'DELETE') return answer(response, 200, this.#delete(at, all, key, stored, seen));
    let next: Json;
    if (seen.method === 'PUT') next = seen.body ?? null;
    else if (type.includes('merge-patch')) next = mergePatch(stored.object, seen.body ?? null);
    else {
      try {
        next = jsonPatch(stored.object, seen.body as never);
      } catch (error) {
        throw new Refused(422, 'Invalid', String(error));
      }
    }
    if (!isObject(next)) throw new Refused(400, 'BadRequest', 'no object');
    const given = meta(next);
    if (given.resourceVersion !== undefined && given.resourceVersion !== meta(stored.object).resourceVersion)
      throw new Refused(409, 'Conflict', 'the object has been modified');
    if (given.uid !== undefined && given.uid !== meta(stored.object).uid)
      throw new Refused(409, 'Conflict', 'Precondition failed: UID');
    return answer(response, 200, this.#store(at, all, key, stored, next, query));
  }

  #create(at: At, all: Map<string, Stored>, { body, query }: SeenRequest): JsonObject {
    if (!isObject(body)) throw new Refused(400, 'BadRequest', 'no object');
    const given = meta(body);
    const name =
      typeof given.name === 'string' ? given.name : `${String(given.generateName ?? 'x')}${randomUUID().slice(0, 5)}`;
    const key = `${at.namespace ?? ''}/${name}`;
    if (all.has(key)) throw new Refused(409, 'AlreadyExists', `${at.plural} "${name}" already exists`);
    const stored: Stored = { object: {}, owners: new Map() };
    return this.#store({ ...at, name }, all, key, stored, { ...body, metadata: { ...given, name } }, query);
  }

  #apply(at: At, all: Map<string, Stored>, { body, query }: SeenRequest): JsonObject {
    if (!isObject(body)) throw new Refused(400, 'BadRequest', 'no object');
    const key = `${at.namespace ?? ''}/${at.name}`;
    const stored = all.get(key) ?? { object: {}, owners: new Map<string, Owners>() };
    if (at.subresource !== undefined && !all.has(key))
      throw new Refused(404, 'NotFound', `${at.plural} "${at.name}" not found`);
    const manager = query.get('fieldManager');
    if (!manager) throw new Refused(400, 'BadRequest', 'PatchOptions: fieldManager is required for apply patch');
    const { apiVersion, kind, metadata: _, ...intent } = body;
    const { name: __, namespace: ___, uid, resourceVersion, ...intentMeta } = meta(body);
    if (resourceVersion !== undefined && resourceVersion !== meta(stored.object).resourceVersion)
      throw new Refused(409, 'Conflict', 'the object has been modified');
    if (uid !== undefined && uid !== meta(stored.object).uid)
      throw new Refused(409, 'Conflict', 'Precondition failed: UID');
    const wanted = { ...intent, ...(Object.keys(intentMeta).length > 0 ? { metadata: intentMeta } : {}) };
    if (at.subresource === undefined && !PLAIN.has(at.plural)) delete (wanted as JsonObject).status;
    const owners: Owners = new Map(
      [...(stored.owners.get(at.subresource ?? '') ?? [])].map(([m, o]) => [m, new Set(o)]),
    );
    let next: JsonObject;
    try {
      next = applyTo(stored.object, wanted, manager, query.get('force') === 'true', owners);
    } catch (error) {
      if (error instanceof ApplyConflict) throw new Refused(409, 'Conflict', error.message);
      throw error;
    }
    if (!query.has('dryRun')) stored.owners.set(at.subresource ?? '', owners);
    return this.#store(at, all, key, stored, { ...next, apiVersion: apiVersion ?? '', kind: kind ?? '' }, query);
  }

  /** Stores `next` as the new state, with what the server itself keeps; tells the watches. Unchanged = no new version. */
  #store(
    at: At,
    all: Map<string, Stored>,
    key: string,
    stored: Stored,
    next: JsonObject,
    query: URLSearchParams,
  ): JsonObject {
    const old = stored.object;
    const exists = all.has(key);
    const oldMeta = meta(old);
    const hasStatus = !PLAIN.has(at.plural);
    if (at.subresource === 'status') next = { ...old, ...(next.status === undefined ? {} : { status: next.status }) };
    else if (hasStatus) {
      const { status: _, ...rest } = next;
      next = old.status === undefined ? rest : { ...rest, status: old.status };
    }
    const metadata: JsonObject = {
      ...(at.subresource === undefined ? meta(next) : oldMeta),
      name: at.name ?? '',
      ...(at.namespace === undefined ? {} : { namespace: at.namespace }),
      uid: oldMeta.uid ?? randomUUID(),
      creationTimestamp: oldMeta.creationTimestamp ?? new Date().toISOString().replace(/\.\d+/, ''),
      ...(oldMeta.deletionTimestamp === undefined ? {} : { deletionTimestamp: oldMeta.deletionTimestamp }),
      resourceVersion: oldMeta.resourceVersion ?? '',
      generation: oldMeta.generation ?? 1,
      managedFields: [...stored.owners].flatMap(([sub, owners]) =>
        [...owners.keys()].map((manager) => ({ manager, operation: 'Apply', ...(sub ? { subresource: sub } : {}) })),
      ),
    };
    if (Array.isArray(metadata.finalizers) && metadata.finalizers.length === 0) delete metadata.finalizers;
    const object: JsonObject = { ...next, metadata };
    if (exists && same(object, old)) return old;
    if (query.has('dryRun')) return object;
    const spec = (o: JsonObject): string => JSON.stringify({ ...o, metadata: null, status: null });
    if (exists && spec(object) !== spec(old)) metadata.generation = Number(metadata.generation) + 1;
    metadata.resourceVersion = String(this.#watches.nextVersion());
    stored.object = object;
    if (metadata.deletionTimestamp !== undefined && metadata.finalizers === undefined) {
      all.delete(key);
      this.#watches.happened(
        { collection: at.collection, rv: this.#watches.version, before: old, after: undefined },
        object,
      );
      return object;
    }
    all.set(key, stored);
    this.#watches.happened({
      collection: at.collection,
      rv: this.#watches.version,
      before: exists ? old : undefined,
      after: object,
    });
    return object;
  }

  #delete(at: At, all: Map<string, Stored>, key: string, stored: Stored, { body, query }: SeenRequest): JsonObject {
    const m = meta(stored.object);
    const wanted = isObject(body) && isObject(body.preconditions) ? body.preconditions : {};
    for (const field of ['uid', 'resourceVersion'] as const) {
      if (wanted[field] !== undefined && wanted[field] !== m[field])
        throw new Refused(409, 'Conflict', `Precondition failed: ${field}`);
    }
    if (query.has('dryRun') || m.deletionTimestamp !== undefined) return stored.object;
    const deleted = {
      ...stored.object,
      metadata: {
        ...m,
        deletionTimestamp: new Date().toISOString(),
        resourceVersion: String(this.#watches.nextVersion()),
      },
    };
    const before = stored.object;
    stored.object = deleted;
    if (m.finalizers !== undefined)
      this.#watches.happened({ collection: at.collection, rv: this.#watches.version, before, after: deleted });
    else {
      all.delete(key);
      this.#watches.happened(
        { collection: at.collection, rv: this.#watches.version, before, after: undefined },
        deleted,
      );
    }
    return deleted;
  }

  #list(at: At, all: Map<string, Stored>, query: URLSearchParams): JsonObject {
    const matches = matcher(at, query);
    const token = query.get('continue');
    const [from, rv] = token ? token.split('@').map(Number) : [0, this.#watches.version];
    if (token && (rv ?? 0) < this.#watches.oldest) throw new Refused(410, 'Expired', 'the continue token is too old');
    const found = [...all.values()].map((s) => s.object).filter(matches);
    const limit = Number(query.get('limit') ?? 0) || found.length;
    const end = (from ?? 0) + limit;
    return {
      kind: 'List',
      apiVersion: 'v1',
      metadata: { resourceVersion: String(rv), ...(end < found.length ? { continue: `${end}@${rv}` } : {}) },
      items: found.slice(from, end).map(({ apiVersion: _, kind: __, ...item }) => item),
    };
  }
}
