/**
 * The intermediate form → zod parsers for objects read from the API server.
 *
 * They check shape, enumerations and required fields, fill in defaults, and let unknown fields through untouched, so that
 * an older program does not lose what a newer one wrote. Bounds and rules are the API server's and stand in the CRDs only.
 */
import type { Api, ObjectType, Shape } from './model.ts';
import { resolve, typeNamed } from './model.ts';
import { noTags, type Tags } from './tags.ts';

export function parsersFile(api: Api): Map<string, string> {
  const ordered: ObjectType[] = [];
  for (const { kind } of api.resources) collect(api, { kind: 'ref', name: kind }, ordered);
  const roots = new Set(api.resources.map(({ kind }) => kind));
  const lines = [
    '// Generated from src/api by hack/codegen; run `npm run generate` instead of editing.',
    '/** Parsers for objects read from the API server; unknown fields pass through untouched, defaults are filled in. */',
    "import { z } from 'zod';",
    "import type * as api from './index.ts';",
    '',
  ];
  for (const type of ordered) {
    const body = type.fields.map(
      (field) => `  ${key(field.name)}: ${place(api, field.shape, field.tags, field.optional)},`,
    );
    const exported = roots.has(type.name) ? 'export ' : '';
    lines.push(`${exported}const z${type.name}: z.ZodType<api.${type.name}> = z.looseObject({`, ...body, '});', '');
  }
  for (const kind of roots) {
    lines.push(
      `/** @throws z.ZodError naming the field that is not as the CRD says. */`,
      `export function parse${kind}(value: unknown): api.${kind} {`,
      `  return z${kind}.parse(value);`,
      '}',
      '',
    );
  }
  return new Map([['src/api/zz_generated.parsers.ts', lines.join('\n')]]);
}

/** Object types in the order in which they can be defined. */
function collect(api: Api, shape: Shape, into: ObjectType[]): void {
  if (shape.kind === 'list') collect(api, shape.item, into);
  else if (shape.kind === 'map') collect(api, shape.value, into);
  else if (shape.kind === 'ref') {
    const named = typeNamed(api, shape.name);
    if (named.kind === 'alias') collect(api, named.shape, into);
    else if (!into.includes(named)) {
      for (const field of named.fields) collect(api, field.shape, into);
      into.push(named);
    }
  }
}

function place(api: Api, shape: Shape, tags: Tags, optional: boolean): string {
  const resolved = resolve(api, shape, tags);
  const base = expression(api, shape, resolved.values.integer === true);
  if (resolved.defaultValue !== undefined) return `${base}.prefault(${JSON.stringify(resolved.defaultValue)})`;
  return optional ? `${base}.exactOptional()` : base;
}

function expression(api: Api, shape: Shape, integer = false): string {
  switch (shape.kind) {
    case 'string':
    case 'boolean':
      return `z.${shape.kind}()`;
    case 'number':
      return integer ? 'z.int()' : 'z.number()';
    case 'intOrString':
      return 'z.union([z.int(), z.string()])';
    case 'enum':
      return shape.values.length === 1
        ? `z.literal(${JSON.stringify(shape.values[0])})`
        : `z.enum(${JSON.stringify(shape.values)})`;
    case 'list':
      return `z.array(${expression(api, shape.item)})`;
    case 'map':
      return `z.record(z.string(), ${expression(api, shape.value)})`;
    case 'ref': {
      const named = typeNamed(api, shape.name);
      if (named.kind === 'object') return `z${named.name}`;
      const resolved = resolve(api, shape, noTags);
      return expression(api, named.shape, integer || resolved.values.integer === true);
    }
  }
}

function key(name: string): string {
  return /^[A-Za-z_]\w*$/.test(name) ? name : JSON.stringify(name);
}
