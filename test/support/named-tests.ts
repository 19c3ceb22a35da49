/** Tests that documents name: rows of their tables, and whether what they name is there. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

const ROOT = join(import.meta.dirname, '../..');
const CELLS = /(?<!\\)\|/;

/** A file of the repository, by its path from the root. */
export const readDocument = (path: string): string => readFileSync(join(ROOT, path), 'utf8');

/** The cells of a table's line, or undefined for every other line and for the rule below a head. */
export const cellsOf = (line: string): readonly string[] | undefined =>
  line.startsWith('|') && !line.startsWith('|---')
    ? line
        .split(CELLS)
        .slice(1, -1)
        .map((cell) => cell.trim().replaceAll('\\|', '|'))
    : undefined;

/**
 * Those whose title does not stand in their file. A title is quoted in the source: in a template, an escape or another kind of
 * quote it stands as it is written there.
 */
export const missingTests = <T extends { readonly file: string; readonly test: string }>(named: readonly T[]): T[] =>
  named.filter(({ file, test }) => {
    if (!existsSync(join(ROOT, file))) return true;
    const text = readDocument(file);
    return !["'", '`', '"'].some((q) => text.includes(q + test + q));
  });
