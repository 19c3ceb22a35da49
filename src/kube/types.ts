/** What every Kubernetes object carries, as raw JSON gives it (times are RFC 3339 strings). */
export interface ObjectMeta {
  readonly name?: string;
  readonly namespace?: string;
  readonly generateName?: string;
  readonly uid?: string;
  readonly resourceVersion?: string;
  readonly generation?: number;
  readonly creationTimestamp?: string;
  readonly deletionTimestamp?: string;
  readonly deletionGracePeriodSeconds?: number;
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly finalizers?: readonly string[];
  readonly ownerReferences?: readonly OwnerReference[];
  readonly managedFields?: readonly unknown[];
}

export interface OwnerReference {
  readonly apiVersion: string;
  readonly kind: string;
  readonly name: string;
  readonly uid: string;
  readonly controller?: boolean;
  readonly blockOwnerDeletion?: boolean;
}

export interface KubeObject {
  readonly apiVersion?: string;
  readonly kind?: string;
  readonly metadata?: ObjectMeta;
}

/** Where a kind lives in the API. `T` is the shape of its objects; it exists for the compiler only. */
export interface ResourceType<T extends KubeObject = KubeObject> {
  /** Empty for the core group. */
  readonly group: string;
  readonly version: string;
  readonly plural: string;
  readonly kind: string;
  readonly namespaced: boolean;
  /** Never set. */
  readonly shape?: T;
}

/** Declares a resource type: `const pods = resource<Pod>({ group: '', version: 'v1', plural: 'pods', kind: 'Pod' })`. */
export const resource = <T extends KubeObject = KubeObject>(
  spec: Omit<ResourceType<T>, 'namespaced' | 'shape'> & { readonly namespaced?: boolean },
): ResourceType<T> => Object.freeze({ namespaced: true, ...spec });

export const apiVersionOf = (type: ResourceType): string =>
  type.group === '' ? type.version : `${type.group}/${type.version}`;

/** `namespace/name`, or `name` for cluster-scoped objects: the key of stores and queues. */
export type Key = string;

export const keyOf = (object: KubeObject): Key => joinKey(object.metadata?.namespace, object.metadata?.name ?? '');

export const joinKey = (namespace: string | undefined, name: string): Key =>
  namespace === undefined || namespace === '' ? name : `${namespace}/${name}`;

export const splitKey = (key: Key): { namespace: string | undefined; name: string } => {
  const slash = key.indexOf('/');
  return slash < 0
    ? { namespace: undefined, name: key }
    : { namespace: key.slice(0, slash), name: key.slice(slash + 1) };
};

/** The owner that controls `object`, if it has one. */
export const controllerOf = (object: KubeObject): OwnerReference | undefined =>
  object.metadata?.ownerReferences?.find((o) => o.controller === true);

/** A controller reference to `owner`, to be put into a child's metadata. `owner` must have been read from the server. */
export const ownerReference = (type: ResourceType, owner: KubeObject): OwnerReference => ({
  apiVersion: apiVersionOf(type),
  kind: type.kind,
  name: owner.metadata?.name ?? '',
  uid: owner.metadata?.uid ?? '',
  controller: true,
  blockOwnerDeletion: true,
});

/** A resourceVersion as a number that can be compared within one resource type (guaranteed since Kubernetes 1.35, true before). */
export const versionOf = (object: KubeObject | string | undefined): bigint => {
  const text = typeof object === 'string' ? object : object?.metadata?.resourceVersion;
  return text !== undefined && /^\d+$/.test(text) ? BigInt(text) : 0n;
};

/** The path of a collection or of one object in it, with its subresource. */
export const pathOf = (
  type: ResourceType,
  at: {
    readonly namespace?: string | undefined;
    readonly name?: string | undefined;
    readonly subresource?: string | undefined;
  } = {},
): string => {
  const parts = [type.group === '' ? `/api/${type.version}` : `/apis/${type.group}/${type.version}`];
  if (type.namespaced && at.namespace) parts.push('namespaces', encodeURIComponent(at.namespace));
  parts.push(type.plural);
  if (at.name !== undefined) parts.push(encodeURIComponent(at.name));
  if (at.subresource !== undefined) parts.push(at.subresource);
  return parts.join('/');
};
