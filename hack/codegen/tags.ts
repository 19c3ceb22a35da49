/** The tags that a comment in src/api may carry, and how a comment is read. */

/** Tags with the kind of their value. A tag that is not here is an error. */
const known = {
  // of resources
  resource: 'text',
  column: 'text',
  scale: 'text',
  external: 'flag',
  // of values
  default: 'json',
  integer: 'flag',
  intOrString: 'flag',
  format: 'text',
  pattern: 'text',
  minLength: 'number',
  maxLength: 'number',
  itemMaxLength: 'number',
  minimum: 'number',
  maximum: 'number',
  multipleOf: 'number',
  minItems: 'number',
  maxItems: 'number',
  minProperties: 'number',
  maxProperties: 'number',
  listType: 'text',
  listMapKey: 'text',
  mapType: 'text',
  preserveUnknownFields: 'flag',
  rule: 'rule',
  requiredMessage: 'text',
} as const;

export type TagName = keyof typeof known;

/** One rule in CEL, in the words of `x-kubernetes-validations`. */
export interface Rule {
  readonly rule: string;
  readonly message: string;
  readonly messageExpression?: string;
  readonly fieldPath?: string;
  readonly reason?: string;
}

/** What a comment says: prose and tags. Tags that may stand more than once are lists. */
export interface Tags {
  readonly description: string;
  readonly values: Readonly<Partial<Record<TagName, string | number | true>>>;
  readonly defaultValue?: unknown;
  readonly rules: readonly Rule[];
  readonly columns: readonly string[];
}

export const noTags: Tags = { description: '', values: {}, rules: [], columns: [] };

/** Why a comment cannot be read; the message names the place. */
export class TagError extends Error {
  override readonly name = 'TagError';
}

/**
 * Reads a comment in JSDoc's form. A line that begins with `@word` opens a tag; the indented lines after it belong to it.
 * @param where what the message of an error names, for example `Owner.email`
 * @throws TagError for an unknown tag (with the nearest known one), a value of the wrong kind, a rule without message
 */
export function parseComment(comment: string, where: string): Tags {
  const lines = comment
    .replace(/^\/\*\*/, '')
    .replace(/\*\/$/, '')
    .split('\n')
    .map((line) => line.replace(/^\s*\*? ?/, '').trimEnd());
  const prose: string[] = [];
  const found: { name: string; first: string; more: string[] }[] = [];
  for (const line of lines) {
    const tag = /^\s?@([A-Za-z][\w-]*)\s*(.*)$/.exec(line);
    if (tag?.[1] !== undefined) found.push({ name: tag[1], first: tag[2] ?? '', more: [] });
    else if (found.length === 0) prose.push(line.trim());
    else if (line.trim() !== '') found.at(-1)?.more.push(line.trim());
  }
  const values: Partial<Record<TagName, string | number | true>> = {};
  const rules: Rule[] = [];
  const columns: string[] = [];
  let defaultValue: unknown;
  for (const { name, first, more } of found) {
    if (!isKnown(name)) throw new TagError(`${where}: unknown tag @${name}; did you mean @${nearest(name)}?`);
    const text = [first, ...more].join(' ').trim();
    if (name === 'rule') rules.push(parseRule(first, more, where));
    else if (name === 'column') columns.push(text);
    else if (name === 'default') defaultValue = parseJson(text, where);
    else if (name in values) throw new TagError(`${where}: @${name} stands twice`);
    else values[name] = parseValue(name, text, where);
  }
  const description = prose
    .join('\n')
    .trim()
    .replace(/\n(?!\n)/g, ' ');
  return { description, values, rules, columns, ...(defaultValue === undefined ? {} : { defaultValue }) };
}

function isKnown(name: string): name is TagName {
  return Object.hasOwn(known, name);
}

function parseValue(name: TagName, text: string, where: string): string | number | true {
  const kind = known[name];
  if (kind === 'flag') {
    if (text !== '') throw new TagError(`${where}: @${name} takes no value`);
    return true;
  }
  if (text === '') throw new TagError(`${where}: @${name} needs a value`);
  if (kind !== 'number') return text;
  const value = Number(text);
  if (!Number.isFinite(value)) throw new TagError(`${where}: @${name} needs a number, not ${text}`);
  return value;
}

function parseJson(text: string, where: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new TagError(`${where}: @default needs JSON, not ${text}`, { cause });
  }
}

const ruleKeys = ['message', 'messageExpression', 'fieldPath', 'reason'] as const;

function parseRule(rule: string, lines: readonly string[], where: string): Rule {
  const parts: Partial<Record<(typeof ruleKeys)[number], string>> = {};
  for (const line of lines) {
    const [, key, value] = /^(\w+):\s*(.+)$/.exec(line) ?? [];
    const name = ruleKeys.find((candidate) => candidate === key);
    if (name === undefined || value === undefined) {
      throw new TagError(`${where}: a line of @rule begins with one of ${ruleKeys.join(', ')}, not: ${line}`);
    }
    parts[name] = value;
  }
  const { message, ...others } = parts;
  if (rule === '' || message === undefined) throw new TagError(`${where}: @rule needs an expression and a message`);
  return { rule, message, ...others };
}

/** The known tag with the fewest edits. */
export function nearest(name: string): string {
  const candidates = Object.keys(known).map((tag) => ({
    tag,
    distance: distance(name.toLowerCase(), tag.toLowerCase()),
  }));
  candidates.sort((a, b) => a.distance - b.distance || a.tag.localeCompare(b.tag));
  return candidates[0]?.tag ?? '';
}

/** Levenshtein's distance. */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const replaced = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min((row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1, replaced));
    }
    row = next;
  }
  return row[b.length] ?? 0;
}
