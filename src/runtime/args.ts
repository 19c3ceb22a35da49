import type { EngineArg } from '../api/allow-list.ts';
import { CodedError } from '../lib/errors.ts';

/**
 * The values that each allowed engine argument (src/api/allow-list.ts) may have: for `engine.args` of the snapshot and
 * `extraArgs` of a ResultityNode. Operator, agent and launcher.py apply it; a test holds launcher.py's copy to this one.
 */
export const ENGINE_ARGS = {
  'max-model-len': 'int',
  'max-num-seqs': 'int',
  'max-num-batched-tokens': 'int',
  'gpu-memory-utilization': 'float',
  'tensor-parallel-size': 'int',
  'pipeline-parallel-size': 'int',
  dtype: 'auto|half|float16|bfloat16|float|float32',
  quantization: 'word',
  'kv-cache-dtype': 'word',
  'enable-prefix-caching': 'bool',
  'enforce-eager': 'bool',
  'load-format': 'auto|safetensors|fastsafetensors|mistral|bitsandbytes|sharded_state',
  'swap-space': 'float',
  runner: 'auto|generate|pooling',
  convert: 'auto|none|embed|classify',
  'shutdown-timeout': 'int',
} as const satisfies Record<EngineArg, string>;

/** Values by kind; a kind that is not here is a closed list of words. The same patterns stand in launcher.py. */
export const ARG_KINDS: Readonly<Record<string, string>> = {
  int: '[0-9]{1,9}',
  float: String.raw`[0-9]{1,6}(\.[0-9]{1,6})?`,
  word: '[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}',
  bool: 'true|false',
};

export type EngineArgs = Readonly<Record<string, string>>;

/** One sentence per argument that is not allowed; empty when all are. Values may be JSON text, numbers or booleans. */
export const argProblems = (args: Readonly<Record<string, unknown>>): string[] =>
  Object.entries(args).flatMap(([key, value]) => {
    const kind: string | undefined = Object.hasOwn(ENGINE_ARGS, key)
      ? ENGINE_ARGS[key as keyof typeof ENGINE_ARGS]
      : undefined;
    const name = `--${key.slice(0, 64)}`;
    if (kind === undefined) return [`engine argument ${name} is not allowed`];
    const pattern = ARG_KINDS[kind] ?? kind;
    const ok =
      ['string', 'number', 'boolean'].includes(typeof value) && new RegExp(`^(?:${pattern})$`).test(String(value));
    return ok ? [] : [`engine argument ${name}: ${JSON.stringify(String(value).slice(0, 64))} is not ${kind}`];
  });

/**
 * The snapshot's arguments with the node's own over them, as text.
 * @throws CodedError `args_refused` with every problem
 */
export const mergeArgs = (
  snapshot: Readonly<Record<string, unknown>>,
  extra: Readonly<Record<string, unknown>> = {},
): EngineArgs => {
  const merged = { ...snapshot, ...extra };
  const problems = argProblems(merged);
  if (problems.length > 0) throw new CodedError('args_refused', problems.join('; ').slice(0, 512));
  return Object.fromEntries(Object.entries(merged).map(([key, value]) => [key, String(value)]));
};

/** slots = max-num-seqs (default 16), queue = min(jobs.maxQueue, 2 × slots): what hello and heartbeats offer. */
export const capacityOf = (args: EngineArgs, maxQueue: number): { slots: number; queue: number } => {
  const asked = Number(args['max-num-seqs'] ?? '16');
  const slots = Number.isSafeInteger(asked) && asked >= 1 ? asked : 16;
  return { slots, queue: Math.min(maxQueue, 2 * slots) };
};
