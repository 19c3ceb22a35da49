import { isMap, isScalar, isSeq, type Pair, parse, parseDocument, type Scalar, type YAMLMap } from 'yaml';
import { z } from 'zod';

/** A JSON Schema of the draft that Helm reads; keys in the order in which they are written. */
type Schema = { readonly [key: string]: unknown };

/** A value of the chart: its path, what its comment says of it, and what it may be. */
export interface Value {
  /** `operator.replicas` */
  readonly path: string;
  readonly description: string;
  readonly schema: Schema;
  /** Of a value that has no values of its own below it. */
  readonly fallback?: unknown;
}

/** What a comment of the form `# @schema { … }` may say; everything else follows from the default. */
const zHint = z.strictObject({
  type: z.union([z.string(), z.array(z.string())]).optional(),
  shape: z.enum(['labels', 'resources', 'object', 'counts']).optional(),
  items: z.enum(['string', 'reference', 'object']).optional(),
  enum: z.array(z.unknown()).optional(),
  pattern: z.string().optional(),
  minLength: z.int().optional(),
  minItems: z.int().optional(),
  minimum: z.int().optional(),
  maximum: z.int().optional(),
});
type Hint = z.infer<typeof zHint>;

const QUANTITIES: Schema = { type: 'object', additionalProperties: { type: ['string', 'number'] } };

/** Maps whose keys are the user's. `resources` is a container's, `object` whatever Kubernetes takes there. */
const SHAPES: Readonly<Record<NonNullable<Hint['shape']>, Schema>> = {
  labels: { type: 'object', additionalProperties: { type: 'string' } },
  counts: { type: 'object', additionalProperties: { type: 'integer', minimum: 1 } },
  resources: { type: 'object', additionalProperties: false, properties: { requests: QUANTITIES, limits: QUANTITIES } },
  object: { type: 'object' },
};
const ITEMS: Readonly<Record<NonNullable<Hint['items']>, Schema>> = {
  string: { type: 'string', minLength: 1 },
  reference: { type: 'object', required: ['name'], properties: { name: { type: 'string', minLength: 1 } } },
  object: { type: 'object' },
};

/**
 * Reads values.yaml: each value's comment is its description, its default its type, and a line `# @schema { … }` adds
 * bounds. Maps with values of their own are closed.
 * @throws Error naming the value that has no comment, or a list or map whose contents nothing describes
 */
export const readValues = (text: string): { readonly schema: Schema; readonly values: readonly Value[] } => {
  const values: Value[] = [];
  const root = parseDocument(text).contents;
  if (!isMap(root)) throw new Error('values.yaml is no map');
  const { properties, ...closed } = objectOf(root as YAMLMap<Scalar<string>>, '', values);
  return { schema: { ...closed, properties: { global: GLOBAL, ...properties } }, values };
};

const GLOBAL: Schema = { description: 'Set by Helm for a chart among others; not read here.', type: 'object' };

const objectOf = (map: YAMLMap<Scalar<string>>, path: string, values: Value[]) => {
  const properties: Record<string, Schema> = {};
  for (const [i, pair] of (map.items as Pair<Scalar<string>>[]).entries()) {
    const name = pair.key.value;
    // the parser hangs the comment before a map's first key on the map
    const comment = pair.key.commentBefore ?? (i === 0 ? (map.commentBefore ?? '') : '');
    properties[name] = entryOf(pair, path === '' ? name : `${path}.${name}`, comment, values);
  }
  return { type: 'object', additionalProperties: false, properties } as const;
};

const entryOf = (pair: Pair<Scalar<string>>, path: string, comment: string, values: Value[]): Schema => {
  const { description, hint } = readComment(path, comment);
  if (description === '') throw new Error(`values.yaml: ${path} has no comment that says what it is`);
  const { shape, items, ...bounds } = hint;
  const at = values.length;
  const add = (schema: Schema, fallback?: unknown): Schema => {
    const whole = { description, ...schema, ...bounds };
    values.splice(at, 0, { path, description, schema: whole, ...(fallback !== undefined && { fallback }) });
    return whole;
  };
  const { value } = pair;
  if (isMap(value) && shape === undefined) {
    if (value.items.length === 0) throw new Error(`values.yaml: ${path} is empty: name its shape`);
    return add(objectOf(value as YAMLMap<Scalar<string>>, path, values));
  }
  if (isMap(value) && shape !== undefined) return add(SHAPES[shape], value.toJSON());
  if (isSeq(value)) {
    if (items === undefined) throw new Error(`values.yaml: ${path} is a list: name its items`);
    return add({ type: 'array', items: ITEMS[items] }, value.toJSON());
  }
  const plain = isScalar(value) ? value.value : undefined;
  if (hint.enum !== undefined) return add({}, plain);
  const type = typeof plain === 'number' ? 'integer' : typeof plain;
  return add({ type }, plain);
};

/** The last paragraph above a value, without its line @schema; what stands above a blank line is about more than the value. */
const readComment = (path: string, comment: string): { description: string; hint: Hint } => {
  const own = comment.split(/\n\s*\n/).at(-1) ?? '';
  const lines = own.split('\n').map((line) => line.trim());
  const [hint = '', second] = lines.filter((line) => line.startsWith('@schema'));
  if (second !== undefined) throw new Error(`values.yaml: ${path} has two @schema lines`);
  const parsed = zHint.safeParse(hint === '' ? {} : parse(hint.slice('@schema'.length)));
  if (!parsed.success) throw new Error(`values.yaml: @schema of ${path}: ${z.prettifyError(parsed.error)}`);
  const description = lines.filter((line) => line !== '' && !line.startsWith('@schema')).join(' ');
  return { description, hint: parsed.data };
};

/** values.schema.json, closed. */
export const schemaOf = (text: string): string =>
  `${JSON.stringify({ $schema: 'http://json-schema.org/draft-07/schema#', ...readValues(text).schema }, null, 2)}\n`;

/** docs/values.md: a table for each part of values.yaml. */
export const valuesReference = (text: string): string => {
  const { values } = readValues(text);
  const lines = [
    '<!-- Generated from charts/resultity-operator/values.yaml; run `npm run generate` instead of editing. -->',
    '# Values of the chart',
    '',
    'Given with `--set NAME=VALUE` or in a file with `--values FILE`. A name that is not listed here is refused, and so is a value of another type or out of its bounds, before anything is installed.',
  ];
  for (const { path, description, schema, fallback } of values) {
    if (!path.includes('.')) {
      lines.push('', `## ${path}`, '');
      if (fallback === undefined) lines.push(description, '');
      lines.push('| value | type | default | what |', '|---|---|---|---|');
    }
    if (fallback !== undefined)
      lines.push(`| \`${path}\` | ${typeOf(schema)} | ${defaultOf(fallback)} | ${cell(description)} |`);
  }
  return `${lines.join('\n')}\n`;
};

const typeOf = (schema: Schema): string => {
  const {
    enum: values,
    type,
    minimum,
    maximum,
    pattern,
    items,
  } = schema as {
    enum?: unknown[];
    type?: string;
    minimum?: number;
    maximum?: number;
    pattern?: string;
    items?: { type: string };
  };
  if (values !== undefined) return values.map((v) => `\`${v}\``).join(', ');
  if (items !== undefined) return `list of ${items.type}s`;
  if (minimum !== undefined && maximum !== undefined) return `${type}, ${minimum} to ${maximum}`;
  if (minimum !== undefined) return `${type}, at least ${minimum}`;
  return cell(pattern === undefined ? `${type}` : `${type}, \`${pattern}\``);
};

const defaultOf = (value: unknown): string => (value === '' ? '' : cell(`\`${JSON.stringify(value)}\``));

const cell = (text: string): string => text.replaceAll('|', '\\|').replaceAll('<', '&lt;');
