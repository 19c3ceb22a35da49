/** The intermediate form → the API reference. */
import type { Api, ObjectType, Resolved, Resource } from './model.ts';
import { resolve, typeNamed } from './model.ts';
import { noTags } from './tags.ts';

export function docsFile(api: Api): Map<string, string> {
  const parts = [
    '<!-- Generated from src/api by hack/codegen; run `npm run generate` instead of editing. -->',
    '# API reference',
    `Group \`${api.group}\`, version \`${api.version}\`. All resources are namespaced; \`kubectl get resultity\` lists them all. A field in **bold** must be written; the rest may be left out.`,
    api.resources
      .map(({ kind, shortNames }) => `- [${kind}](#${kind.toLowerCase()}) (\`${shortNames[0]}\`)`)
      .join('\n'),
    ...api.resources.map((resource) => resourceSection(api, resource)),
  ];
  return new Map([['docs/api.md', `${parts.join('\n\n')}\n`]]);
}

function resourceSection(api: Api, resource: Resource): string {
  const root = typeNamed(api, resource.kind);
  if (root.kind !== 'object') throw new Error(`${resource.kind} is no interface`);
  const columns = resource.columns.map(({ name, wide }) => (wide ? `${name} (wide)` : name)).join(', ');
  const sections: string[] = [];
  const seen = new Set<ObjectType>();
  const walk = (type: ObjectType): void => {
    if (seen.has(type) || type.external) return;
    seen.add(type);
    const rows: string[] = [];
    const inner: ObjectType[] = [];
    for (const field of type.fields) {
      if (type === root && ['apiVersion', 'kind', 'metadata'].includes(field.name)) continue;
      const resolved = resolve(api, field.shape, field.tags);
      const must = !field.optional && field.tags.defaultValue === undefined;
      rows.push(`| ${must ? `**${field.name}**` : field.name} | ${typeText(api, resolved)} | ${text(resolved)} |`);
      const next = innermost(api, resolved);
      if (next !== undefined) inner.push(next);
    }
    const rules = type.tags.rules.map(
      (rule) => `- ${rule.fieldPath === undefined ? '' : `\`${rule.fieldPath.slice(1)}\` `}${cell(rule.message)}`,
    );
    if (type !== root)
      sections.push(`### ${type.name}`, ...(type.tags.description === '' ? [] : [type.tags.description]));
    sections.push(
      ['| field | type | |', '|---|---|---|', ...rows].join('\n'),
      ...(rules.length === 0 ? [] : [`Rules:\n${rules.join('\n')}`]),
    );
    for (const next of inner) walk(next);
  };
  walk(root);
  return [`## ${resource.kind}`, root.tags.description, `Columns: ${columns}.`, ...sections].join('\n\n');
}

function innermost(api: Api, { shape }: Resolved): ObjectType | undefined {
  if (shape.kind === 'object') return shape.type;
  if (shape.kind === 'list') return innermost(api, resolve(api, shape.item, noTags));
  if (shape.kind === 'map') return innermost(api, resolve(api, shape.value, noTags));
  return undefined;
}

function typeText(api: Api, { shape, values }: Resolved): string {
  switch (shape.kind) {
    case 'object':
      return shape.type.external ? shape.type.name : `[${shape.type.name}](#${shape.type.name.toLowerCase()})`;
    case 'enum':
      return shape.values.map((value) => `\`${value}\``).join(', ');
    case 'list':
      return `list of ${typeText(api, resolve(api, shape.item, noTags))}`;
    case 'map':
      return `map of ${typeText(api, resolve(api, shape.value, noTags))}`;
    case 'intOrString':
      return 'number or string';
    case 'number':
      return values.integer === true ? 'integer' : 'number';
    default:
      return shape.kind;
  }
}

function text({ description, defaultValue, values }: Resolved): string {
  const parts = [description];
  if (defaultValue !== undefined && JSON.stringify(defaultValue) !== '{}')
    parts.push(`Default \`${JSON.stringify(defaultValue)}\`.`);
  if (values.minimum !== undefined && values.maximum !== undefined)
    parts.push(`From ${values.minimum} to ${values.maximum}.`);
  else if (values.minimum !== undefined) parts.push(`At least ${values.minimum}.`);
  if (values.maxLength !== undefined) parts.push(`At most ${values.maxLength} characters.`);
  if (values.maxItems !== undefined) parts.push(`At most ${values.maxItems} items.`);
  if (values.maxProperties !== undefined) parts.push(`At most ${values.maxProperties} entries.`);
  return cell(parts.filter((part) => part !== '').join(' '));
}

function cell(value: string): string {
  return value.replaceAll('|', '\\|').replaceAll('<', '&lt;');
}
