import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { compareVersions, openRoot, stepRoot, type TrustedRoot } from '../../config/index.ts';
import { CodedError } from '../../lib/errors.ts';
import { parseStrictJson } from '../../protocol/index.ts';
import { type Publication, zPublication } from '../publications.ts';

/** Roles whose keys a network's folder may hold. */
export type RoleName = 'root' | 'config' | 'ticket' | 'online';

/** A file's text; undefined where there is none. */
export const readIfThere = async (path: string): Promise<string | undefined> => {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
};

/** Every root of the folder, oldest first, each step checked. @throws CodedError `bad_usage` where there is none */
export const readRoots = async (dir: string): Promise<readonly [TrustedRoot, ...TrustedRoot[]]> => {
  const read = (n: number): Promise<string | undefined> => readIfThere(join(dir, 'roots', `${n}.json`));
  const first = await read(1);
  if (first === undefined)
    throw new CodedError('bad_usage', `${dir} has no roots/1.json: make a network with resultity-network init`);
  const roots: [TrustedRoot, ...TrustedRoot[]] = [openRoot(first)];
  for (let last = roots[0]; ; ) {
    const text = await read(last.version + 1);
    if (text === undefined) return roots;
    last = stepRoot(last, text);
    roots.push(last);
  }
};

export const newestRoot = async (dir: string): Promise<TrustedRoot> => {
  const roots = await readRoots(dir);
  return roots.at(-1) ?? roots[0];
};

/** The key files to sign with: those named, else all encrypted ones of the role in the folder. */
export const keyFiles = async (dir: string, role: RoleName, named: readonly string[]): Promise<readonly string[]> => {
  if (named.length > 0) return named;
  const names = await readdir(join(dir, 'keys')).catch(() => []);
  const mine = names.filter((n) => new RegExp(`^${role}(-[0-9]+)?\\.(json|key)$`).test(n)).sort();
  return mine.map((n) => join(dir, 'keys', n));
};

/** `publication/<name>.json`: `next` waits for signatures, `current` has enough. */
export const readPublication = async (dir: string, name: string): Promise<Publication | undefined> => {
  const text = await readIfThere(join(dir, 'publication', `${name}.json`));
  return text === undefined ? undefined : zPublication.parse(parseStrictJson(text));
};

/** Where a publication that has enough signatures is kept for good, below `publication/`. */
export const historyName = ({ epoch, version }: { readonly epoch: number; readonly version: number }): string =>
  `history/${epoch}-${version}`;

/** Everything that was published from this folder, oldest first. */
export const readHistory = async (dir: string): Promise<readonly Publication[]> => {
  const names = await readdir(join(dir, 'publication', 'history')).catch(() => []);
  const found = new Map<string, Publication>();
  for (const name of [...names.filter((n) => n.endsWith('.json')).map((n) => `history/${n.slice(0, -5)}`), 'current']) {
    const publication = await readPublication(dir, name);
    if (publication) found.set(publication.snapshot.digest, publication);
  }
  return [...found.values()].sort((a, b) => compareVersions(a.snapshot, b.snapshot));
};

/**
 * One publication by what a person calls it: `current`, `next`, `VERSION` (of the newest epoch that has it) or
 * `EPOCH,VERSION`. Undefined for any other word. @throws CodedError `bad_usage` when it is not kept here
 */
export const findPublication = async (dir: string, word: string): Promise<Publication | undefined> => {
  const match = /^(?:(\d{1,15}),)?(\d{1,16})$/.exec(word);
  if (!match && word !== 'current' && word !== 'next') return undefined;
  const all = await readHistory(dir);
  const found = match
    ? all.findLast(
        ({ snapshot }) =>
          snapshot.version === Number(match[2]) && (match[1] === undefined || snapshot.epoch === Number(match[1])),
      )
    : await readPublication(dir, word);
  if (found) return found;
  const known = all.map(({ snapshot }) => `${snapshot.epoch},${snapshot.version}`).join(' ') || 'nothing';
  throw new CodedError('bad_usage', `${dir} does not hold configuration ${word}; it holds (epoch,version): ${known}`);
};
