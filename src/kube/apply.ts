import type { ApplyOptions, KubeClient } from './client.ts';
import { fingerprint } from './fingerprint.ts';
import type { KubeMetrics } from './metrics.ts';
import type { Store } from './store.ts';
import { apiVersionOf, type Key, type KubeObject, keyOf, type ResourceType } from './types.ts';

export interface ApplierOptions {
  readonly client: KubeClient;
  /** One per controller; never shared by two that apply the same object. */
  readonly fieldManager: string;
  readonly metrics?: KubeMetrics | undefined;
}

export interface Applied<T> {
  /** What the server answered; the cached object where nothing was sent. */
  readonly object: T;
  /** False: the same intent was applied to the very same object before, so nothing was sent. */
  readonly sent: boolean;
}

/**
 * Server-side apply that does not repeat itself. An apply is skipped when the last one of this intent left the object as
 * the cache shows it now (uid, and everything but version, managed fields and, for the main resource, status):
 * so drift made by others is mended, and a steady state sends nothing, a new process' first round included.
 * Bounded by the number of live objects: call `forget` when one is gone.
 */
export class Applier {
  readonly #o: ApplierOptions;
  /** Per object what was intended last, and how that left the object: the server's answer, then the cache's own. */
  readonly #last = new Map<string, { readonly intent: string; left: KubeObject }>();

  constructor(options: ApplierOptions) {
    this.#o = options;
  }

  apply<T extends KubeObject>(store: Store<T>, intent: T, o: ApplyOptions = {}): Promise<Applied<T>> {
    return this.#apply(store, intent, false, o);
  }

  /** `intent` carries name, namespace and status only. */
  applyStatus<T extends KubeObject>(store: Store<T>, intent: T, o: ApplyOptions = {}): Promise<Applied<T>> {
    return this.#apply(store, intent, true, o);
  }

  forget(type: ResourceType, key: Key): void {
    this.#last.delete(id(type, key, false));
    this.#last.delete(id(type, key, true));
  }

  get remembered(): number {
    return this.#last.size;
  }

  async #apply<T extends KubeObject>(
    store: Store<T>,
    intent: T,
    status: boolean,
    o: ApplyOptions,
  ): Promise<Applied<T>> {
    const { type } = store;
    const at = id(type, keyOf(intent), status);
    const wanted = fingerprint(intent);
    const live = store.get(keyOf(intent));
    const last = this.#last.get(at);
    // A new process has applied nothing yet: an object that is just as intended was applied by the one before it.
    if (live && !status && last === undefined && isAsIntended(live, store.project(intent))) {
      this.#last.set(at, { intent: wanted, left: live });
      this.#o.metrics?.applies.inc({ kind: type.kind, outcome: 'skipped' });
      return { object: live, sent: false };
    }
    if (live && last?.intent === wanted && isSame(last.left, live, status)) {
      last.left = live;
      this.#o.metrics?.applies.inc({ kind: type.kind, outcome: 'skipped' });
      return { object: live, sent: false };
    }
    const call = { fieldManager: this.#o.fieldManager, ...o };
    this.#last.delete(at);
    try {
      const answer = status
        ? await this.#o.client.applyStatus(type, intent, call)
        : await this.#o.client.apply(type, intent, call);
      this.#last.set(at, { intent: wanted, left: store.project(answer) });
      this.#o.metrics?.applies.inc({ kind: type.kind, outcome: 'sent' });
      return { object: answer, sent: true };
    } catch (error) {
      this.#o.metrics?.applies.inc({ kind: type.kind, outcome: 'failed' });
      throw error;
    }
  }
}

const id = (type: ResourceType, key: Key, status: boolean): string =>
  `${apiVersionOf(type)}/${type.kind}/${key}${status ? '/status' : ''}`;

/** Labels and annotations may be more than intended, for others set theirs; all else must be equal. */
const isAsIntended = (live: KubeObject, intent: KubeObject): boolean => {
  const holds = (have: Readonly<Record<string, string>> = {}, want: Readonly<Record<string, string>> = {}): boolean =>
    Object.entries(want).every(([key, value]) => have[key] === value);
  const rest = ({ metadata: _, ...object }: KubeObject): string =>
    fingerprint({ ...object, status: undefined, apiVersion: undefined, kind: undefined });
  const owners = ({ metadata }: KubeObject): string => fingerprint(metadata?.ownerReferences ?? []);
  return (
    holds(live.metadata?.labels, intent.metadata?.labels) &&
    holds(live.metadata?.annotations, intent.metadata?.annotations) &&
    (intent.metadata?.ownerReferences === undefined || owners(live) === owners(intent)) &&
    rest(live) === rest(intent)
  );
};

/** Whether nothing that an apply can have set differs. Two of one version are the same without a look. */
const isSame = (a: KubeObject, b: KubeObject, status: boolean): boolean =>
  (a.metadata?.uid === b.metadata?.uid && a.metadata?.resourceVersion === b.metadata?.resourceVersion) ||
  shape(a, status) === shape(b, status);

/** Objects of a store never change, so each is looked at once. */
const shapes = { main: new WeakMap<KubeObject, string>(), status: new WeakMap<KubeObject, string>() };

/** What of a frozen object an apply can have set: for status its status, otherwise all the rest. */
const shape = (live: KubeObject, status: boolean): string => {
  const known = status ? shapes.status : shapes.main;
  const text = known.get(live) ?? shapeOf(live, status);
  known.set(live, text);
  return text;
};

const shapeOf = (live: KubeObject, status: boolean): string => {
  const { metadata, ...rest } = live as KubeObject & { status?: unknown };
  if (status) return fingerprint([metadata?.uid, rest.status]);
  const { resourceVersion: _, managedFields: __, generation: ___, ...meta } = metadata ?? {};
  return fingerprint([meta, { ...rest, status: undefined, apiVersion: undefined, kind: undefined }]);
};
