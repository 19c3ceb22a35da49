import type { Kind } from '../protocol/index.ts';
import { OpenAiFailure } from './openai-errors.ts';

type Rule = readonly [what: string, holds: (value: unknown) => boolean];

const range = (low: number, high: number): Rule => [
  `must be a number from ${low} to ${high}`,
  // an integer that was written as 1.0 comes boxed from the strict parser
  (v) => (typeof v === 'number' || v instanceof Number) && Number(v) >= low && Number(v) <= high,
];
const whole = (low: number, high: number): Rule => [
  `must be a whole number from ${low} to ${high}`,
  (v) => typeof v === 'number' && Number.isInteger(v) && v >= low && v <= high,
];
const isObject = (v: unknown): boolean => typeof v === 'object' && v !== null && !Array.isArray(v);
const isText = (v: unknown): boolean => typeof v === 'string';
const FLAG: Rule = ['must be true or false', (v) => typeof v === 'boolean'];
const OBJECT: Rule = ['must be an object', isObject];
const MESSAGES: Rule = [
  'must be a list of messages, each with a role',
  (v) => Array.isArray(v) && v.length > 0 && v.every((m) => isObject(m) && isText((m as { role?: unknown }).role)),
];
const TEXTS: Rule = [
  'must be a text or a list that is not empty',
  (v) => isText(v) || (Array.isArray(v) && v.length > 0),
];
const STOP: Rule = ['must be a text or a list of texts', (v) => isText(v) || (Array.isArray(v) && v.every(isText))];

const COMMON: Readonly<Record<string, Rule>> = {
  stream: FLAG,
  stream_options: OBJECT,
  temperature: range(0, 2),
  top_p: range(0, 1),
  presence_penalty: range(-2, 2),
  frequency_penalty: range(-2, 2),
  n: whole(1, 128),
  max_tokens: whole(1, Number.MAX_SAFE_INTEGER),
  max_completion_tokens: whole(1, Number.MAX_SAFE_INTEGER),
  stop: STOP,
};
const REQUIRED: Readonly<Record<Kind, readonly [field: string, rule: Rule]>> = {
  'chat.completions': ['messages', MESSAGES],
  completions: ['prompt', TEXTS],
  embeddings: ['input', TEXTS],
};

/**
 * Refuses what every engine would refuse, naming the field, before a node is troubled with it. Only fields that OpenAI's
 * reference bounds; null counts as left out, and what is not listed is the engine's to judge. @throws OpenAiFailure 400
 */
export const checkParams = (kind: Kind, request: Readonly<Record<string, unknown>>): void => {
  const [field, rule] = REQUIRED[kind];
  if (request[field] == null) throw new OpenAiFailure(400, `you must provide ${field}`, field, 'missing_required');
  const rules = kind === 'embeddings' ? { [field]: rule } : { ...COMMON, [field]: rule };
  for (const [name, [what, holds]] of Object.entries(rules)) {
    const value = request[name];
    if (value != null && !holds(value)) throw new OpenAiFailure(400, `${name} ${what}`, name, 'invalid_value');
  }
};
