import type { Command } from 'commander';
import {
  ApiError,
  type Connection,
  isNotFound,
  KubeClient,
  type KubeObject,
  loadConnection,
  pathOf,
  type ResourceType,
} from '../kube/index.ts';
import { CodedError, errorText, isCoded, systemClock } from '../lib/index.ts';
import { nearest } from './nearest.ts';
import type { Io } from './program.ts';

/** What every command that asks a cluster takes. */
export interface ClusterFlags {
  readonly namespace?: string;
  readonly kubeconfig?: string;
  readonly context?: string;
}

/** Adds the options by which kubectl, too, is told where to go. */
export const clusterOptions = (command: Command): Command =>
  command
    .option('-n, --namespace <name>', 'the namespace (default: that of the kubeconfig’s context)')
    .option('--kubeconfig <file>', 'the kubeconfig (default: KUBECONFIG, else ~/.kube/config)')
    .option('--context <name>', 'the kubeconfig’s context');

/** Connects, works, closes. What the API server refuses comes out as an error that says what to do. */
export const withCluster = async (
  io: Io,
  flags: ClusterFlags,
  use: (cluster: Cluster) => Promise<void>,
): Promise<void> => {
  let connection: Connection;
  try {
    connection = await loadConnection({
      env: io.env ?? {},
      clock: systemClock,
      kubeconfig: flags.kubeconfig,
      context: flags.context,
    });
  } catch (error) {
    throw new CodedError('no_cluster', `${errorText(error)}; name one with --kubeconfig FILE, or set KUBECONFIG`);
  }
  const client = new KubeClient({ connection, fieldManager: 'kubectl-resultity', userAgent: 'kubectl-resultity' });
  try {
    await use(new Cluster(client, flags.namespace ?? connection.namespace, io));
  } finally {
    await client.close();
  }
};

type Verb = 'get' | 'list' | 'patch' | 'create' | 'delete';

/** One namespace of one cluster, as the person who calls may see it. Every method throws errors that name what to do. */
export class Cluster {
  readonly client: KubeClient;
  readonly namespace: string;
  readonly io: Io;

  constructor(client: KubeClient, namespace: string, io: Io) {
    this.client = client;
    this.namespace = namespace;
    this.io = io;
  }

  /** All objects of a kind in the namespace (or of the cluster, where it has none), by name. */
  async list<T extends KubeObject>(type: ResourceType<T>, labelSelector?: string): Promise<T[]> {
    const found = await this.#ask('list', type, async () => {
      const all: T[] = [];
      const at = { namespace: type.namespaced ? this.namespace : undefined, labelSelector, signal: this.io.signal };
      for await (const object of this.client.listAll(type, at)) all.push(object);
      return all;
    });
    return found.sort((a, b) => ((a.metadata?.name ?? '') < (b.metadata?.name ?? '') ? -1 : 1));
  }

  /** The same, or undefined where it may not be seen or the cluster does not have the kind: for what is only of help. */
  async listIfAllowed<T extends KubeObject>(type: ResourceType<T>, labelSelector?: string): Promise<T[] | undefined> {
    try {
      return await this.list(type, labelSelector);
    } catch (error) {
      if (isCoded(error, 'not_allowed', 'kind_missing')) return undefined;
      throw error;
    }
  }

  /** @throws CodedError `not_found`, with the names that may have been meant */
  async get<T extends KubeObject>(type: ResourceType<T>, name: string): Promise<T> {
    const found = await this.find(type, name);
    if (found !== undefined) return found;
    const names = (await this.list(type)).map((o) => o.metadata?.name ?? '');
    const close = nearest(name, names);
    const hint =
      close.length > 0
        ? `did you mean ${close.join(', ')}?`
        : names.length > 0
          ? `there are ${names.slice(0, 5).join(', ')}${names.length > 5 ? ` and ${names.length - 5} more` : ''}`
          : `there is none in this namespace; name another with -n`;
    throw new CodedError('not_found', `there is no ${type.kind} "${name}" in namespace ${this.namespace}; ${hint}`);
  }

  /** The object, or undefined. */
  async find<T extends KubeObject>(type: ResourceType<T>, name: string): Promise<T | undefined> {
    try {
      return await this.#ask('get', type, () =>
        this.client.get(type, this.#at(type, name), { signal: this.io.signal }),
      );
    } catch (error) {
      if (isNotFound(error)) return undefined;
      throw error;
    }
  }

  patch<T extends KubeObject>(type: ResourceType<T>, name: string, patch: unknown): Promise<T> {
    return this.#ask('patch', type, () =>
      this.client.patchMerge(type, this.#at(type, name), patch, { signal: this.io.signal }),
    );
  }
  create<T extends KubeObject>(type: ResourceType<T>, object: T): Promise<T> {
    return this.#ask('create', type, () => this.client.create(type, object, { signal: this.io.signal }));
  }
  /** Only this very object; that it is gone already is no error. */
  async remove(type: ResourceType, name: string, uid: string): Promise<void> {
    await this.#ask('delete', type, () =>
      this.client.delete(type, this.#at(type, name), { uid, signal: this.io.signal }),
    ).catch((error: unknown) => {
      if (!isNotFound(error)) throw error;
    });
  }

  /** A subresource of a pod as text lines (`log`), or as JSON (`proxy/…`). */
  lines(
    pod: string,
    query: Record<string, string | number | boolean | undefined>,
    signal: AbortSignal,
  ): AsyncGenerator<string> {
    return this.client.textLines(`${this.#podPath(pod)}/log`, { query, signal });
  }
  proxied(pod: string, port: number, path: string): Promise<unknown> {
    return this.client.raw('GET', `${this.#podPath(pod)}:${port}/proxy${path}`, {
      signal: this.io.signal,
      timeoutMs: 5_000,
    });
  }
  /** What the server said to a call that no method above makes, in the same words. */
  explain(error: unknown, verb: string, resource: string): unknown {
    return explained(error, verb, resource, this.namespace, this.client.connection.server);
  }

  #podPath(pod: string): string {
    return pathOf(
      { group: '', version: 'v1', plural: 'pods', kind: 'Pod', namespaced: true },
      { namespace: this.namespace, name: pod },
    );
  }
  #at(type: ResourceType, name: string): { name: string; namespace?: string } {
    return type.namespaced ? { name, namespace: this.namespace } : { name };
  }

  async #ask<R>(verb: Verb, type: ResourceType, call: () => Promise<R>): Promise<R> {
    try {
      return await call();
    } catch (error) {
      if (isNotFound(error)) {
        // Of one object it is the answer; of a collection the kind itself is missing.
        if (verb !== 'list') throw error;
        throw new CodedError(
          'kind_missing',
          type.group === 'resultity.com'
            ? `this cluster has no ${type.kind}s: install the chart resultity-operator first (helm install), or check --context`
            : `this cluster has no ${type.plural}`,
        );
      }
      throw this.explain(error, verb, type.group === '' ? type.plural : `${type.plural}.${type.group}`);
    }
  }
}

const explained = (error: unknown, verb: string, resource: string, namespace: string, server: string): unknown => {
  if (error instanceof ApiError) {
    if (error.status === 401)
      return new CodedError(
        'not_known',
        `${server} does not accept your credentials: log in again, or check --context`,
        { cause: error },
      );
    if (error.status === 403)
      return new CodedError(
        'not_allowed',
        `you may not ${verb} ${resource} in namespace ${namespace}: ask an administrator for a Role with verbs: [${verb}], resources: [${resource}] (docs/cli.md has one)`,
        { cause: error },
      );
    return error;
  }
  if (isCoded(error, 'kube_network', 'kube_timeout'))
    return new CodedError(
      'unreachable',
      `the API server ${server} does not answer: check --context and the connection`,
      { cause: error },
    );
  return error;
};
