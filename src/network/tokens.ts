import type { Kind } from '../protocol/index.ts';

/** Where a streamed line carries text of the answer; anything else (role, usage) is no token. */
interface Chunk {
  readonly choices?: readonly {
    readonly text?: unknown;
    readonly delta?: {
      readonly content?: unknown;
      readonly reasoning_content?: unknown;
      readonly tool_calls?: unknown;
    };
  }[];
}

/** Lines of a stream that carry text: a lower bound of the tokens, as an engine may put several into one line. */
export const countTokens = (kind: Kind, lines: readonly string[]): number =>
  kind === 'embeddings' ? 0 : lines.filter(carriesText).length;

const carriesText = (line: string): boolean => {
  const choice = parse(line)?.choices?.[0];
  if (!choice) return false;
  const { text, delta } = choice;
  return [text, delta?.content, delta?.reasoning_content, delta?.tool_calls].some(
    (v) => v !== undefined && v !== null && v !== '',
  );
};

/** True for the line that only tells usage: `choices` is empty. Callers who did not ask for it do not get it. */
export const isUsageLine = (line: string): boolean => {
  // the cheap test first: nearly every line is a delta
  if (!line.includes('"usage"')) return false;
  const chunk = parse(line);
  return chunk !== undefined && Array.isArray(chunk.choices) && chunk.choices.length === 0;
};

const parse = (line: string): Chunk | undefined => {
  try {
    const value: unknown = JSON.parse(line);
    return value !== null && typeof value === 'object' ? (value as Chunk) : undefined;
  } catch {
    return undefined;
  }
};
