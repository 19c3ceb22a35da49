/** What the stand-in says: pure functions from a request to text, tokens and vectors. */

export interface Asked {
  readonly kind: 'chat' | 'completions' | 'embeddings';
  readonly model: string;
  readonly stream: boolean;
  readonly includeUsage: boolean;
  readonly maxTokens: number;
  readonly promptTokens: number;
  readonly question: string;
  readonly inputs: readonly string[];
  readonly user?: string;
}

type Json = Record<string, unknown>;
const object = (value: unknown): Json => (typeof value === 'object' && value !== null ? (value as Json) : {});
const text = (value: unknown): string =>
  typeof value === 'string'
    ? value
    : Array.isArray(value)
      ? value.map((part) => text(object(part).text ?? part)).join(' ')
      : '';

/** One token per word or mark, with the blank before it: joined again they are the text. */
export const pieces = (of: string): string[] => of.match(/\s*\S{1,12}|\s+$/g) ?? [];
export const estimateTokens = (of: string): number => pieces(of).length;

/** Reads an OpenAI request; a string is the reason of a 400. */
export const asked = (path: string, body: unknown): Asked | string => {
  const b = object(body);
  if (typeof b.model !== 'string') return 'model: Field required';
  const messages = Array.isArray(b.messages) ? b.messages.map((m) => text(object(m).content)) : [];
  const inputs = (Array.isArray(b.input) ? b.input : [b.input]).filter((x) => x !== undefined).map(text);
  const kind = path.endsWith('/embeddings') ? 'embeddings' : path.includes('/chat/') ? 'chat' : 'completions';
  if (kind === 'chat' && messages.length === 0) return 'messages: Field required';
  if (kind === 'completions' && b.prompt === undefined) return 'prompt: Field required';
  if (kind === 'embeddings' && inputs.length === 0) return 'input: Field required';
  const prompt = kind === 'chat' ? messages.join('\n') : kind === 'completions' ? text(b.prompt) : inputs.join('\n');
  const max = b.max_completion_tokens ?? b.max_tokens;
  return {
    kind,
    model: b.model,
    stream: b.stream === true,
    includeUsage: object(b.stream_options).include_usage === true,
    maxTokens: typeof max === 'number' && max >= 1 ? Math.floor(max) : kind === 'completions' ? 16 : 256,
    promptTokens: estimateTokens(prompt),
    question: kind === 'chat' ? (messages.at(-1) ?? '') : prompt,
    inputs,
    ...(typeof b.user === 'string' ? { user: b.user } : {}),
  };
};

/**
 * Always says what it is. It knows one fact, the capital of France, because the demo and the test inference ask for it
 * within 24 tokens; so that comes first.
 */
export const answerText = (ask: Asked, say?: string): string => {
  const fact = say ?? (/capital of France/i.test(ask.question) ? 'Paris.' : '');
  const question = ask.question.replace(/\s+/g, ' ').slice(0, 200);
  return `${fact ? `${fact} ` : ''}(I am resultity-runtime-sim, a stand-in, not a model. You asked: ${question})`;
};

/** Eight numbers that depend only on the text, unit length: enough to see that vectors arrive unchanged. */
export const embedding = (of: string): number[] => {
  const v = Array.from({ length: 8 }, (_, i) => {
    let h = 2166136261 ^ i;
    for (let at = 0; at < of.length; at++) h = Math.imul(h ^ of.charCodeAt(at), 16777619);
    return (h >>> 0) / 2 ** 31 - 1;
  });
  const length = Math.hypot(...v) || 1;
  return v.map((x) => x / length);
};
