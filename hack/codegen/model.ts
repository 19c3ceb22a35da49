/**
 * The intermediate form: what src/api says, without TypeScript.
 *
 * An Api has resources (what is registered on the API server) and named types (interfaces and aliases). A type is a
 * shape with the tags of the place where it is used; a shape of kind `ref` points to a named type by name. Tags of an
 * alias and of its use add up: bounds of the use win, rules of both hold (`resolve`). An output walks from a resource's
 * root type through fields; nothing in here knows of CRDs, zod or Markdown. A chart schema reads the same bounds; RBAC
 * needs `group`, `plural`, and whether there is a `scale`.
 */
import type { Rule, Tags } from './tags.ts';

export interface Api {
  readonly group: string;
  readonly version: string;
  readonly resources: readonly Resource[];
  readonly types: ReadonlyMap<string, NamedType>;
}

/** One kind on the API server; its root type has the kind's name. */
export interface Resource {
  readonly kind: string;
  readonly plural: string;
  readonly singular: string;
  readonly shortNames: readonly string[];
  readonly categories: readonly string[];
  readonly columns: readonly Column[];
  readonly scale?: Scale;
}

export interface Column {
  readonly name: string;
  readonly jsonPath: string;
  readonly type: string;
  /** Shown only by `kubectl get -o wide`. */
  readonly wide: boolean;
}

export interface Scale {
  readonly specReplicasPath: string;
  readonly statusReplicasPath: string;
  readonly labelSelectorPath: string;
}

export type NamedType = ObjectType | AliasType;

export interface ObjectType {
  readonly kind: 'object';
  readonly name: string;
  readonly tags: Tags;
  readonly fields: readonly Field[];
  /** Known to the API server; outputs say no more than `object`. */
  readonly external: boolean;
}

export interface AliasType {
  readonly kind: 'alias';
  readonly name: string;
  readonly tags: Tags;
  readonly shape: Shape;
}

export interface Field {
  readonly name: string;
  /** The `?` of TypeScript. A field with a default has none, though a manifest may leave it out. */
  readonly optional: boolean;
  readonly shape: Shape;
  readonly tags: Tags;
}

export type Shape =
  | { readonly kind: 'string' | 'number' | 'boolean' | 'intOrString' }
  | { readonly kind: 'enum'; readonly values: readonly string[] }
  | { readonly kind: 'list'; readonly item: Shape }
  | { readonly kind: 'map'; readonly value: Shape }
  | { readonly kind: 'ref'; readonly name: string };

/** A shape that is no alias any more, with all tags on the way to it. */
export interface Resolved {
  readonly shape: Exclude<Shape, { kind: 'ref' }> | { readonly kind: 'object'; readonly type: ObjectType };
  readonly values: Tags['values'];
  readonly rules: readonly Rule[];
  readonly defaultValue?: unknown;
  readonly description: string;
}

/** Follows aliases. Bounds of the use win over those of the alias; rules add up; the nearest prose describes. */
export function resolve(api: Api, shape: Shape, tags: Tags): Resolved {
  const own = {
    values: tags.values,
    rules: tags.rules,
    description: tags.description,
    ...(tags.defaultValue === undefined ? {} : { defaultValue: tags.defaultValue }),
  };
  if (shape.kind !== 'ref') return { shape, ...own };
  const named = typeNamed(api, shape.name);
  if (named.kind === 'object') {
    return {
      ...own,
      shape: { kind: 'object', type: named },
      rules: [...named.tags.rules, ...tags.rules],
      description: tags.description || named.tags.description,
    };
  }
  const inner = resolve(api, named.shape, named.tags);
  return {
    ...inner,
    ...own,
    values: { ...inner.values, ...tags.values },
    rules: [...inner.rules, ...tags.rules],
    description: tags.description || inner.description,
  };
}

export function typeNamed(api: Api, name: string): NamedType {
  const named = api.types.get(name);
  if (named === undefined) throw new Error(`${name} is used but not defined in src/api`);
  return named;
}
