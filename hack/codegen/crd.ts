/** The intermediate form → CustomResourceDefinitions. */
import { stringify } from 'yaml';
import type { Api, Field, Resolved, Resource, Shape } from './model.ts';
import { resolve, typeNamed } from './model.ts';
import { noTags, type Rule, type TagName, type Tags } from './tags.ts';

type Json = { [key: string]: unknown };

/** One file per resource, `crds/zz_generated.<plural>.yaml`. */
export function crdFiles(api: Api): Map<string, string> {
  return new Map(
    api.resources.map((resource) => [
      `crds/zz_generated.${resource.plural}.yaml`,
      `# Generated from src/api by hack/codegen; run \`npm run generate\` instead of editing.\n${stringify(crd(api, resource), { lineWidth: 0, aliasDuplicateObjects: false })}`,
    ]),
  );
}

/** The definition of one resource, as an object. */
export function crd(api: Api, resource: Resource): Json {
  const { scale } = resource;
  return {
    apiVersion: 'apiextensions.k8s.io/v1',
    kind: 'CustomResourceDefinition',
    metadata: {
      name: `${resource.plural}.${api.group}`,
      labels: { 'app.kubernetes.io/name': 'resultity', 'app.kubernetes.io/part-of': 'resultity' },
    },
    spec: {
      group: api.group,
      scope: 'Namespaced',
      names: {
        kind: resource.kind,
        listKind: `${resource.kind}List`,
        plural: resource.plural,
        singular: resource.singular,
        shortNames: resource.shortNames,
        categories: resource.categories,
      },
      versions: [
        {
          name: api.version,
          served: true,
          storage: true,
          subresources: { status: {}, ...(scale === undefined ? {} : { scale: { ...scale } }) },
          additionalPrinterColumns: resource.columns.map(({ name, jsonPath, type, wide }) => ({
            name,
            type,
            jsonPath,
            ...(wide ? { priority: 1 } : {}),
          })),
          schema: { openAPIV3Schema: rootSchema(api, resource) },
        },
      ],
    },
  };
}

function rootSchema(api: Api, resource: Resource): Json {
  const root = typeNamed(api, resource.kind);
  if (root.kind !== 'object') throw new Error(`${resource.kind} is no interface`);
  const fields = root.fields.filter((field) => !['apiVersion', 'kind', 'metadata'].includes(field.name));
  const common = { apiVersion: { type: 'string' }, kind: { type: 'string' }, metadata: { type: 'object' } };
  const { properties, ...made } = objectSchema(api, fields);
  return {
    description: root.tags.description,
    ...made,
    properties: Object.assign(common, properties),
    ...validations([...requiredRules(fields), ...root.tags.rules]),
  };
}

/** The structural schema of a shape with the tags of its place. */
export function schema(api: Api, shape: Shape, tags: Tags): Json {
  const resolved = resolve(api, shape, tags);
  const { shape: form } = resolved;
  const required = form.kind === 'object' && !form.type.external ? requiredRules(form.type.fields) : [];
  const rules = validations([...required, ...resolved.rules]);
  return { ...describe(resolved), ...shapeSchema(api, resolved), ...bounds(resolved), ...rules };
}

function describe({ description, defaultValue }: Resolved): Json {
  return {
    ...(description === '' ? {} : { description }),
    ...(defaultValue === undefined ? {} : { default: defaultValue }),
  };
}

function shapeSchema(api: Api, { shape, values }: Resolved): Json {
  switch (shape.kind) {
    case 'string':
    case 'boolean':
      return { type: shape.kind };
    case 'number':
      return { type: values.integer === true ? 'integer' : 'number' };
    case 'intOrString':
      return { 'x-kubernetes-int-or-string': true, anyOf: [{ type: 'integer' }, { type: 'string' }] };
    case 'enum':
      return { type: 'string', enum: shape.values };
    case 'list':
      return { type: 'array', items: itemSchema(api, shape.item, values) };
    case 'map':
      return { type: 'object', additionalProperties: itemSchema(api, shape.value, values) };
    case 'object': {
      if (shape.type.external) return { type: 'object' };
      return objectSchema(api, shape.type.fields);
    }
  }
}

function itemSchema(api: Api, item: Shape, values: Resolved['values']): Json {
  // What one item is has been said where the list is.
  const { description: _, ...made } = schema(api, item, noTags);
  const { itemMaxLength } = values;
  return itemMaxLength === undefined ? made : { ...made, maxLength: itemMaxLength };
}

/** Without prose and rules, which belong to the place. */
function objectSchema(api: Api, fields: readonly Field[]): Json {
  const required = fields.filter(isRequired).map((field) => field.name);
  return {
    type: 'object',
    ...(required.length === 0 ? {} : { required }),
    properties: Object.fromEntries(fields.map((field) => [field.name, schema(api, field.shape, field.tags)])),
  };
}

/** A field with a default may be left out; one with @requiredMessage is required by a rule that says what to write. */
function isRequired({ optional, tags }: Field): boolean {
  return !optional && tags.defaultValue === undefined && tags.values.requiredMessage === undefined;
}

function requiredRules(fields: readonly Field[]): Rule[] {
  return fields.flatMap(({ name, tags }) => {
    const message = tags.values.requiredMessage;
    if (typeof message !== 'string') return [];
    return [{ rule: `has(self.${name})`, message, fieldPath: `.${name}`, reason: 'FieldValueRequired' }];
  });
}

/** Tags that stand in the schema under their own name. */
const plain = [
  'format',
  'pattern',
  'minLength',
  'maxLength',
  'minimum',
  'maximum',
  'multipleOf',
  'minItems',
  'maxItems',
  'minProperties',
  'maxProperties',
] as const satisfies readonly TagName[];

function bounds({ values }: Resolved): Json {
  const made: Json = {};
  for (const name of plain) {
    if (values[name] !== undefined) made[name] = values[name];
  }
  if (values.listType !== undefined) made['x-kubernetes-list-type'] = values.listType;
  if (typeof values.listMapKey === 'string') made['x-kubernetes-list-map-keys'] = values.listMapKey.split(/[\s,]+/);
  if (values.mapType !== undefined) made['x-kubernetes-map-type'] = values.mapType;
  if (values.preserveUnknownFields === true) made['x-kubernetes-preserve-unknown-fields'] = true;
  return made;
}

function validations(rules: readonly Rule[]): Json {
  return rules.length === 0 ? {} : { 'x-kubernetes-validations': rules.map((rule) => ({ ...rule })) };
}
