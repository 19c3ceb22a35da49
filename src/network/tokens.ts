import type { Kind } from '../protocol/index.ts';

/** What the network reads from an output itself. */
export interface OutputCount {
  /** At most so many completion tokens: what the engine's usage says, and what the text can hold. */
  readonly completion: number;
  /** Prompt tokens as the engine's usage says them; null where it says none. */
  readonly prompt: number | null;
}

/** Tokens of a choice that leave no text: end, stop words, marks of reasoning. */
const HIDDEN = 16;
/** What a parser takes away around one tool call. */
const HIDDEN_TOOL_CALL = 64;

/**
 * Counts an output without a tokenizer. A token that a caller sees has at least one byte of text, so the text bounds their
 * number; a line of a stream does not, as engines put several tokens into one line under load. The usage that the caller is
 * shown bounds it too: a node cannot be paid for more than it told. An honest claim is within both.
 */
export const countOutput = (kind: Kind, stream: boolean, output: string): OutputCount => {
  const parts = (stream ? output.split('\n') : [output]).map(parse);
  const indexes = new Set<number>();
  let [bytes, hidden] = [0, 0];
  let usage: Usage | undefined;
  for (const part of parts) {
    usage = part?.usage ?? usage;
    for (const choice of Array.isArray(part?.choices) ? part.choices : []) {
      indexes.add(typeof choice?.index === 'number' ? choice.index : 0);
      const spoken = choice?.delta ?? choice?.message;
      bytes += textBytes(choice?.text) + textBytes(spoken);
      const calls = spoken?.tool_calls;
      hidden += HIDDEN_TOOL_CALL * (Array.isArray(calls) ? calls.length : 0);
    }
  }
  const held = kind === 'embeddings' ? 0 : bytes + hidden + HIDDEN * indexes.size;
  return { completion: Math.min(held, count(usage?.completion_tokens) ?? held), prompt: count(usage?.prompt_tokens) };
};

/** True for the line that only tells usage: `choices` is empty. Callers who did not ask for it do not get it. */
export const isUsageLine = (line: string): boolean => {
  // the cheap test first: nearly every line is a delta
  if (!line.includes('"usage"')) return false;
  const chunk = parse(line);
  return chunk !== undefined && Array.isArray(chunk.choices) && chunk.choices.length === 0;
};

interface Usage {
  readonly prompt_tokens?: unknown;
  readonly completion_tokens?: unknown;
}
/** A whole answer or one chunk of it, as far as it is looked at. */
interface Part {
  readonly usage?: Usage | null;
  readonly choices?: readonly ({
    readonly index?: unknown;
    readonly text?: unknown;
    readonly delta?: { readonly tool_calls?: unknown } | null;
    readonly message?: { readonly tool_calls?: unknown } | null;
  } | null)[];
}

/** UTF-8 bytes of every text inside: content, reasoning, arguments, whatever an engine calls them. */
const textBytes = (value: unknown): number => {
  if (typeof value === 'string') return Buffer.byteLength(value);
  if (value === null || typeof value !== 'object') return 0;
  return Object.values(value).reduce((sum: number, v) => sum + textBytes(v), 0);
};

const count = (value: unknown): number | null =>
  Number.isSafeInteger(value) && (value as number) >= 0 ? (value as number) : null;

const parse = (text: string): Part | undefined => {
  try {
    const value: unknown = JSON.parse(text);
    return value !== null && typeof value === 'object' ? (value as Part) : undefined;
  } catch {
    return undefined;
  }
};
