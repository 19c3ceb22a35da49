import { canonicalJson } from '../../protocol/index.ts';

/** Fields that every publication changes or that a draft leaves open. */
const FRAME = ['schema', 'network', 'environment', 'epoch', 'version'];

/** By what an entry of a list is the same entry in two documents. */
const KEYS: Readonly<Record<string, (entry: Item) => string>> = {
  models: (e) => `${text(e.name)}:${text(e.version)}`,
  runtimes: (e) => `${text(e.engine)} ${text(e.version)} ${text(e.accelerator)}`,
  subclouds: (e) => text(e.id),
  files: (e) => text(e.path),
};
type Item = Readonly<Record<string, unknown>>;

/**
 * What changes from one snapshot document to another, a line each: `+` added, `-` removed, `~` changed. Every field
 * counts, also those that this version does not know; a draft may lack schema, network, environment, epoch and version.
 */
export const diffDocuments = (before: unknown, after: unknown): readonly string[] => {
  const a = isItem(before) ? before : {};
  const b = isItem(after) ? after : {};
  const lines: string[] = [];
  for (const name of union(a, b)) {
    if (FRAME.includes(name) && (name === 'version' || a[name] === undefined || b[name] === undefined)) continue;
    compare(name, a[name], b[name], lines);
  }
  return lines;
};

const compare = (path: string, a: unknown, b: unknown, lines: string[]): void => {
  if (same(a, b)) return;
  const name = path.slice(path.lastIndexOf('.') + 1);
  if (Array.isArray(a) && Array.isArray(b)) {
    const key = KEYS[name];
    if (key && [...a, ...b].every(isItem)) compareEntries(path, a, b, key, lines);
    else compareSets(path, a, b, lines);
  } else if (isItem(a) && isItem(b))
    for (const field of union(a, b)) compare(`${path}.${field}`, a[field], b[field], lines);
  else if (a === undefined) lines.push(`+ ${path}: ${show(b)}`);
  else if (b === undefined) lines.push(`- ${path}: was ${show(a)}`);
  else lines.push(`~ ${path}: ${show(a)} → ${show(b)}`);
};

const compareEntries = (path: string, a: Item[], b: Item[], key: (e: Item) => string, lines: string[]): void => {
  const before = new Map(a.map((e) => [key(e), e]));
  const after = new Map(b.map((e) => [key(e), e]));
  const what = path.endsWith('s') ? path.slice(0, -1) : path;
  for (const [k, entry] of after) if (!before.has(k)) lines.push(`+ ${what} ${k}${about(path, entry)}`);
  for (const [k, entry] of before) if (!after.has(k)) lines.push(`- ${what} ${k}${about(path, entry)}`);
  for (const [k, entry] of after) {
    const old = before.get(k);
    if (old === undefined) continue;
    for (const field of union(old, entry)) compare(`${what} ${k} ${field}`, old[field], entry[field], lines);
  }
};

/** Lists of words: order is shown only when nothing else differs. */
const compareSets = (path: string, a: unknown[], b: unknown[], lines: string[]): void => {
  const before = new Set(a.map(show));
  const after = new Set(b.map(show));
  const added = [...after].filter((v) => !before.has(v));
  const removed = [...before].filter((v) => !after.has(v));
  for (const value of added) lines.push(`+ ${path}: ${value}`);
  for (const value of removed) lines.push(`- ${path}: ${value}`);
  if (added.length === 0 && removed.length === 0) lines.push(`~ ${path}: another order`);
};

const about = (path: string, entry: Item): string => {
  if (path !== 'models') return '';
  const files = Array.isArray(entry.files) ? (entry.files as { size?: unknown }[]) : [];
  return ` (${text(entry.state)}, ${files.length} files, ${toMib(files.reduce((n, f) => n + Number(f.size ?? 0), 0))})`;
};

/** Whole MiB, rounded up. */
export const toMib = (bytes: number): string => `${Math.ceil(bytes / 1_048_576)} MiB`;

const isItem = (value: unknown): value is Item =>
  typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Number);
const union = (a: Item, b: Item): string[] => [...new Set([...Object.keys(a), ...Object.keys(b)])];
const text = (value: unknown): string => (typeof value === 'string' ? value : '?');
const same = (a: unknown, b: unknown): boolean =>
  a === b || (a !== undefined && b !== undefined && canonicalJson(a) === canonicalJson(b));
const show = (value: unknown): string => {
  const shown = typeof value === 'string' ? value : canonicalJson(value);
  return shown.length > 160 ? `${shown.slice(0, 160)}…` : shown;
};
