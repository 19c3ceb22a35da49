import { type Clock, systemClock } from '../lib/clock.ts';
import { KubeError } from './errors.ts';
import type { Connection } from './kubeconfig.ts';
import type { KubeMetrics } from './metrics.ts';
import { breathe } from './timing.ts';
import { type Call, type Lane, Transport, type Verb } from './transport.ts';
import { apiVersionOf, type KubeObject, pathOf, type ResourceType } from './types.ts';

export interface KubeClientOptions {
  readonly connection: Connection;
  readonly clock?: Clock | undefined;
  readonly metrics?: KubeMetrics | undefined;
  /** The field manager of apply, when a call names none. */
  readonly fieldManager?: string | undefined;
  readonly userAgent?: string | undefined;
  /** Calls a second and burst; default 200 and 400. ≤ 0 = no limit. */
  readonly qps?: number | undefined;
  readonly burst?: number | undefined;
  readonly timeouts?: Partial<Record<Verb, number>> | undefined;
}

/** What every call may say. */
export interface CallOptions {
  readonly signal?: AbortSignal | undefined;
  readonly timeoutMs?: number | undefined;
  readonly lane?: Lane | undefined;
}

export interface ObjectRef {
  readonly name: string;
  readonly namespace?: string | undefined;
}

export interface ListOptions extends CallOptions {
  readonly namespace?: string | undefined;
  readonly labelSelector?: string | undefined;
  readonly fieldSelector?: string | undefined;
  readonly limit?: number | undefined;
  readonly continue?: string | undefined;
  readonly resourceVersion?: string | undefined;
}

export interface ApplyOptions extends CallOptions {
  readonly fieldManager?: string | undefined;
  /** Take over fields of other managers; default true, as controllers should. */
  readonly force?: boolean | undefined;
  readonly dryRun?: boolean | undefined;
}

export interface DeleteOptions extends CallOptions {
  /** Refuse (409) when the object is not this one any more. */
  readonly uid?: string | undefined;
  readonly resourceVersion?: string | undefined;
  readonly propagation?: 'Background' | 'Foreground' | 'Orphan' | undefined;
  readonly gracePeriodSeconds?: number | undefined;
}

export interface WatchOptions extends ListOptions {
  readonly signal: AbortSignal;
  readonly timeoutSeconds: number;
  readonly sendInitialEvents?: boolean | undefined;
  /** Called when the server has said 200. */
  readonly onOpen?: (() => void) | undefined;
}

export interface Page<T> {
  readonly items: readonly T[];
  readonly resourceVersion: string;
  readonly continue: string | undefined;
}

export interface JsonPatchOp {
  readonly op: 'add' | 'remove' | 'replace' | 'test' | 'move' | 'copy';
  readonly path: string;
  readonly from?: string;
  readonly value?: unknown;
}

/** Characters of lines that are handed out without a turn of the loop in between; a longer line comes alone. */
export const LINES_AT_ONCE = 256 * 1024;
/** One line of a watch may not be longer; an object in etcd is at most 1.5 MiB. */
const MAX_LINE = 16 * 1024 * 1024;

/**
 * The API of one cluster. Objects go in and out as raw JSON, unchecked: give them their type by the ResourceType.
 * Every method throws ApiError (the server refused) or KubeError (no answer, or a write while not leading).
 */
export class KubeClient {
  readonly connection: Connection;
  readonly clock: Clock;
  readonly #transport: Transport;
  readonly #fieldManager: string;
  #mayWrite: () => boolean = () => true;

  constructor(o: KubeClientOptions) {
    this.connection = o.connection;
    this.clock = o.clock ?? systemClock;
    this.#fieldManager = o.fieldManager ?? 'kube-runtime';
    this.#transport = new Transport({ ...o, clock: this.clock, qps: o.qps ?? 200, burst: o.burst ?? 400 });
  }

  /**
   * From now on each write (but on the lease lane) asks, again whenever it is sent after a wait; a refusal throws
   * kube_not_leader and sends nothing.
   */
  gateWrites(mayWrite: () => boolean): void {
    this.#mayWrite = mayWrite;
  }

  async get<T extends KubeObject>(type: ResourceType<T>, ref: ObjectRef, o: CallOptions = {}): Promise<T> {
    return (await this.#call({ ...o, verb: 'get', method: 'GET', path: pathOf(type, ref) })) as T;
  }

  /** One page. `limit` and `continue` as the API has them; see `listAll`. Items get apiVersion and kind. */
  async list<T extends KubeObject>(type: ResourceType<T>, o: ListOptions = {}): Promise<Page<T>> {
    const answer = (await this.#call({
      ...o,
      verb: 'list',
      method: 'GET',
      path: pathOf(type, { namespace: o.namespace }),
      query: selectors(o),
    })) as { items?: T[] | null; metadata?: { resourceVersion?: string; continue?: string } };
    const apiVersion = apiVersionOf(type);
    return {
      items: (answer.items ?? []).map((item) => ({ ...item, apiVersion, kind: type.kind })),
      resourceVersion: answer.metadata?.resourceVersion ?? '',
      continue: answer.metadata?.continue || undefined,
    };
  }

  /** All objects, page by page. A continue token that expires throws 410: start again. */
  async *listAll<T extends KubeObject>(type: ResourceType<T>, o: ListOptions = {}): AsyncGenerator<T> {
    let page = await this.list(type, { limit: 500, ...o });
    yield* page.items;
    while (page.continue !== undefined) {
      page = await this.list(type, { limit: 500, ...o, continue: page.continue });
      yield* page.items;
    }
  }

  create<T extends KubeObject>(type: ResourceType<T>, object: T, o: CallOptions = {}): Promise<T> {
    return this.#create(type, object, o, false);
  }

  /** All checks and admission, nothing stored. 409 AlreadyExists tells that the name is taken, without the right to read it. */
  dryRunCreate<T extends KubeObject>(type: ResourceType<T>, object: T, o: CallOptions = {}): Promise<T> {
    return this.#create(type, object, o, true);
  }

  /** Replaces the object; its resourceVersion makes it fail (409) when somebody wrote in between. */
  update<T extends KubeObject>(type: ResourceType<T>, object: T, o: CallOptions = {}): Promise<T> {
    return this.#write({
      ...o,
      verb: 'update',
      method: 'PUT',
      path: at(type, object),
      query: this.#strict(),
      body: typed(type, object),
    });
  }

  /** Server-side apply of `intent`: exactly the fields this manager wants to own. */
  apply<T extends KubeObject>(type: ResourceType<T>, intent: T, o: ApplyOptions = {}): Promise<T> {
    return this.#apply(type, intent, undefined, o);
  }

  /** The same for the status subresource; `intent` carries name, namespace and status only. */
  applyStatus<T extends KubeObject>(type: ResourceType<T>, intent: T, o: ApplyOptions = {}): Promise<T> {
    return this.#apply(type, intent, 'status', o);
  }

  /** JSON merge patch (for metadata and for kinds without our field manager). */
  patchMerge<T extends KubeObject>(
    type: ResourceType<T>,
    ref: ObjectRef,
    patch: unknown,
    o: CallOptions & { readonly subresource?: string } = {},
  ): Promise<T> {
    return this.#patch(type, ref, 'application/merge-patch+json', patch, o);
  }

  patchJson<T extends KubeObject>(
    type: ResourceType<T>,
    ref: ObjectRef,
    patch: readonly JsonPatchOp[],
    o: CallOptions & { readonly subresource?: string } = {},
  ): Promise<T> {
    return this.#patch(type, ref, 'application/json-patch+json', patch, o);
  }

  /** Asks for deletion. Resolves when the server has taken it; finalizers may keep the object. 404 throws. */
  async delete(type: ResourceType, ref: ObjectRef, o: DeleteOptions = {}): Promise<void> {
    const { uid, resourceVersion, propagation, gracePeriodSeconds, ...call } = o;
    await this.#write({
      ...call,
      verb: 'delete',
      method: 'DELETE',
      path: pathOf(type, ref),
      body: {
        apiVersion: 'v1',
        kind: 'DeleteOptions',
        propagationPolicy: propagation ?? 'Background',
        ...(gracePeriodSeconds === undefined ? {} : { gracePeriodSeconds }),
        ...(uid === undefined && resourceVersion === undefined ? {} : { preconditions: { uid, resourceVersion } }),
      },
    });
  }

  /** The raw lines of one watch request, until the server ends it (return) or it breaks (throw). See watcher.ts. */
  async *watchLines(type: ResourceType, o: WatchOptions): AsyncGenerator<string, void> {
    const body = await this.#transport.stream({
      verb: 'watch',
      method: 'GET',
      path: pathOf(type, { namespace: o.namespace }),
      signal: o.signal,
      query: {
        ...selectors(o),
        watch: true,
        allowWatchBookmarks: true,
        timeoutSeconds: o.timeoutSeconds,
        ...(o.sendInitialEvents ? { sendInitialEvents: true, resourceVersionMatch: 'NotOlderThan' } : {}),
      },
    });
    o.onOpen?.();
    yield* lines(body, `watch ${type.plural}`, o.signal);
  }

  /** The lines of a text, as they come: a container's log, followed or not. Ends with the answer, or throws when it breaks. */
  async *textLines(
    path: string,
    o: { readonly signal: AbortSignal; readonly query?: Call['query'] },
  ): AsyncGenerator<string, void> {
    const body = await this.#transport.stream({ ...o, verb: 'watch', method: 'GET', path });
    yield* lines(body, `read ${path}`, o.signal);
  }

  /** Any other path: `/version`, discovery, a proxy. Gives parsed JSON, or text. Writes pass the gate too. */
  raw(
    method: Call['method'],
    path: string,
    o: CallOptions & { readonly body?: unknown; readonly query?: Call['query'] } = {},
  ): Promise<unknown> {
    const call: Call = { ...o, verb: 'raw', method, path };
    return method === 'GET' ? this.#call(call) : this.#write(call);
  }

  close(): Promise<void> {
    return this.#transport.close();
  }

  #create<T extends KubeObject>(type: ResourceType<T>, object: T, o: CallOptions, dryRun: boolean): Promise<T> {
    const path = pathOf(type, { namespace: object.metadata?.namespace });
    const query = { ...this.#strict(), ...(dryRun ? { dryRun: 'All' } : {}) };
    return this.#write({ ...o, verb: 'create', method: 'POST', path, query, body: typed(type, object) });
  }

  #apply<T extends KubeObject>(
    type: ResourceType<T>,
    intent: T,
    subresource: string | undefined,
    o: ApplyOptions,
  ): Promise<T> {
    const { fieldManager = this.#fieldManager, force = true, dryRun, ...call } = o;
    return this.#write({
      ...call,
      verb: 'apply',
      method: 'PATCH',
      path: at(type, intent, subresource),
      query: { fieldManager, force, fieldValidation: 'Strict', ...(dryRun ? { dryRun: 'All' } : {}) },
      contentType: 'application/apply-patch+yaml', // JSON is YAML
      body: typed(type, intent),
    });
  }

  #patch<T>(
    type: ResourceType,
    ref: ObjectRef,
    contentType: string,
    body: unknown,
    o: CallOptions & { readonly subresource?: string },
  ): Promise<T> {
    const { subresource, ...call } = o;
    return this.#write({
      ...call,
      verb: 'patch',
      method: 'PATCH',
      path: pathOf(type, { ...ref, subresource }),
      query: this.#strict(),
      contentType,
      body,
    });
  }

  #strict(): Record<string, string> {
    return { fieldManager: this.#fieldManager, fieldValidation: 'Strict' };
  }

  #call(call: Call): Promise<unknown> {
    return this.#transport.json(call);
  }

  async #write<T>(call: Call): Promise<T> {
    const gate = (): void => {
      if (call.lane !== 'lease' && !this.#mayWrite())
        throw new KubeError('kube_not_leader', `${call.verb} ${call.path}: refused, this process does not lead`);
    };
    gate();
    return (await this.#call({ ...call, gate })) as T;
  }
}

const at = (type: ResourceType, object: KubeObject, subresource?: string): string => {
  const { name, namespace } = object.metadata ?? {};
  if (!name) throw new KubeError('kube_config', `a ${type.kind} without a name cannot be written`);
  return pathOf(type, { name, namespace, subresource });
};

const typed = <T extends KubeObject>(type: ResourceType<T>, object: T): T => ({
  ...object,
  apiVersion: apiVersionOf(type),
  kind: type.kind,
});

/** Lines of a body, without empty ones. Throws kube_network when the stream breaks, kube_watch when a line has no end. */
async function* lines(
  body: Awaited<ReturnType<Transport['stream']>>,
  what: string,
  signal: AbortSignal,
): AsyncGenerator<string, void> {
  const decoder = new TextDecoder();
  let rest = '';
  let handed = 0;
  try {
    for await (const chunk of body) {
      rest += decoder.decode(chunk as Uint8Array, { stream: true });
      let from = 0;
      for (let end = rest.indexOf('\n', from); end >= 0; end = rest.indexOf('\n', from)) {
        const line = rest.slice(from, end);
        from = end + 1;
        if (line === '') continue;
        handed += line.length;
        if (handed > LINES_AT_ONCE) {
          handed = line.length;
          await breathe();
        }
        yield line;
      }
      rest = from === 0 ? rest : rest.slice(from);
      if (rest.length > MAX_LINE) throw new KubeError('kube_watch', `${what}: a line is longer than ${MAX_LINE} bytes`);
    }
  } catch (cause) {
    if (cause instanceof KubeError || signal.aborted) throw cause;
    throw new KubeError('kube_network', `${what}: the stream broke`, { cause });
  } finally {
    body.destroy();
  }
}

const selectors = (o: ListOptions): Record<string, string | number | undefined> => ({
  labelSelector: o.labelSelector,
  fieldSelector: o.fieldSelector,
  limit: o.limit,
  continue: o.continue,
  resourceVersion: o.resourceVersion,
});
