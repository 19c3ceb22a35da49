import type { Io } from './program.ts';

/** Colours for people; none in pipes and where NO_COLOR is set. */
const CODES = { red: 31, green: 32, yellow: 33, dim: 2 } as const;
export type Colour = keyof typeof CODES;

export const paint = (io: Io, colour: Colour, text: string): string =>
  io.color ? `\u001b[${CODES[colour]}m${text}\u001b[0m` : text;

/** Objects for programs, without what only the API server's bookkeeping needs. */
export const jsonText = (value: unknown): string =>
  JSON.stringify(value, (key, v: unknown) => (key === 'managedFields' ? undefined : v), 2);

/** A cell, and its colour where it has one. */
export type Cell = string | { readonly text: string; readonly colour: Colour };

const textOf = (cell: Cell): string => (typeof cell === 'string' ? cell : cell.text);

/** Columns under headings, two spaces apart; nothing is cut. */
export const tableLines = (io: Io, headings: readonly string[], rows: readonly (readonly Cell[])[]): string[] => {
  const widths = headings.map((h, i) => Math.max(h.length, ...rows.map((r) => textOf(r[i] ?? '').length)));
  const line = (cells: readonly Cell[]): string =>
    cells
      .map((cell, i) => {
        const text = textOf(cell);
        const padding = ' '.repeat(i === cells.length - 1 ? 0 : (widths[i] ?? 0) - text.length + 2);
        return `${typeof cell === 'string' ? text : paint(io, cell.colour, text)}${padding}`;
      })
      .join('')
      .trimEnd();
  return [line(headings), ...rows.map(line)];
};

/** 95 000 ms → `95 s`; the two largest units at most. */
export const ageText = (ms: number): string => {
  const s = Math.max(0, Math.floor(ms / 1000));
  if (s < 120) return `${s}s`;
  const m = Math.floor(s / 60);
  if (m < 120) return `${m}m`;
  const h = Math.floor(m / 60);
  return h < 48 ? `${h}h` : `${Math.floor(h / 24)}d`;
};
