import { z } from 'zod';
import { CodedError } from '../lib/errors.ts';
import { canonicalJson, decodeUtf8, parseStrictJson, type Refusal, TIERS, zUint } from '../protocol/index.ts';
import { type FailedModel, type ModelEntry, zModel } from './model-entry.ts';
import { type JudgeOptions, judgeModel } from './model-rules.ts';

/** Snapshots above this are refused before they are parsed. */
export const MAX_SNAPSHOT_BYTES = 1_048_576;
export const MAX_MODELS = 1024;

const text = z.string();

const zOwnerText = z.unknown().transform((v) => {
  if (typeof v === 'string') return v;
  const { wallet, email } = (v ?? {}) as { wallet?: unknown; email?: unknown };
  return typeof wallet === 'string' ? wallet : typeof email === 'string' ? email : '';
});

const zSubcloud = z.object({
  id: text,
  access: z.enum(['open', 'semi-open', 'closed']),
  filters: z.object({ labels: z.record(text, text).optional(), minGpuMemoryMiB: zUint.optional() }),
  nodes: z.array(text).optional(),
  /** Wallet addresses or emails. */
  owners: z.array(zOwnerText).optional(),
  cooldownMs: zUint.optional(),
  isolate: z.boolean().optional(),
});
export type Subcloud = z.infer<typeof zSubcloud>;

const zRuntime = z.object({
  engine: z.enum(['vllm']),
  version: text,
  image: text,
  accelerator: z.enum(['nvidia', 'amd', 'cpu']),
});
export type RuntimeEntry = z.infer<typeof zRuntime>;

/** The form of the document; what is wrong inside one model is judged later. */
export const zDocument = z.object({
  schema: z.literal(1),
  network: text,
  environment: z.enum(['testnet', 'mainnet']),
  epoch: zUint,
  version: zUint,
  models: z.array(zModel),
  runtimes: z.array(zRuntime),
  agent: z.object({ version: text, image: text, minVersion: text }),
  jobs: z.object({
    maxOutputTokens: zUint,
    maxQueue: zUint,
    timeouts: z.object({ firstTokenMs: zUint, gapMs: zUint, totalMs: zUint }),
  }),
  isolation: z.object({ minTier: z.enum(TIERS) }),
  participation: z.object({ testnet: z.boolean(), mainnet: z.boolean() }),
  subclouds: z.array(zSubcloud),
  ttl: z.object({ heartbeatMs: zUint, missedHeartbeats: zUint, pollMs: zUint, retryMs: zUint, cacheMs: zUint }),
  maxStalenessSeconds: zUint,
  trustedSources: z.array(text),
});

export type Environment = 'testnet' | 'mainnet';
/** The signed configuration of a network, without the fields that this schema does not know. */
export interface SnapshotDocument extends Omit<z.infer<typeof zDocument>, 'models'> {
  readonly models: readonly ModelEntry[];
  readonly failedModels: readonly FailedModel[];
}

const refuse = (code: Refusal, message: string): never => {
  throw new CodedError<Refusal>(code, message);
};

/**
 * Reads the bytes of a snapshot: cap, strict JSON, RFC 8785 form, schema; then judges each model on its own.
 * @throws CodedError<Refusal> `too_large`, `bad_json`, `not_canonical`, `bad_schema`
 */
export const parseSnapshotDocument = (bytes: Uint8Array, options: JudgeOptions = {}): SnapshotDocument => {
  const steps = reading(bytes, options);
  for (;;) {
    const step = steps.next();
    if (step.done) return step.value;
  }
};

/** The same with rests in between, so that the largest snapshot holds no heartbeat up. @throws as parseSnapshotDocument */
export const readSnapshotDocument = async (
  bytes: Uint8Array,
  options: JudgeOptions = {},
): Promise<SnapshotDocument> => {
  const steps = reading(bytes, options);
  for (;;) {
    const step = steps.next();
    if (step.done) return step.value;
    await new Promise((resolve) => setImmediate(resolve));
  }
};

/** Models that are judged in one step: each step takes some milliseconds. */
const MODELS_A_STEP = 64;

function* reading(bytes: Uint8Array, options: JudgeOptions): Generator<undefined, SnapshotDocument> {
  if (bytes.length > MAX_SNAPSHOT_BYTES) refuse('too_large', `the snapshot has more than ${MAX_SNAPSHOT_BYTES} bytes`);
  const source = decodeUtf8(bytes);
  const value = parseStrictJson(source);
  yield;
  if (canonicalJson(value) !== source) refuse('not_canonical', 'the snapshot differs from its RFC 8785 form');
  const listed = (value as { models?: unknown } | null)?.models;
  if (Array.isArray(listed) && listed.length > MAX_MODELS)
    refuse('too_large', `the snapshot lists ${listed.length} models, at most ${MAX_MODELS} are allowed`);
  yield;
  const parsed = zDocument.safeParse(value);
  yield;
  if (!parsed.success) return refuse('bad_schema', `the snapshot's ${issueText(parsed.error)}`);
  const { models: raw, ...rest } = parsed.data;
  const refs = new Set<string>();
  const models: ModelEntry[] = [];
  const failedModels: FailedModel[] = [];
  for (const model of raw) {
    const ref = `${model.name}:${model.version}`;
    if (refs.has(ref)) refuse('bad_schema', `the snapshot lists the model ${ref.slice(0, 200)} twice`);
    refs.add(ref);
    if (refs.size % MODELS_A_STEP === 0) yield;
    const judged = judgeModel(model, rest.trustedSources, options);
    if (judged.ok) models.push(judged.entry);
    else
      failedModels.push({ ref, name: model.name, version: model.version, digest: model.digest, reason: judged.reason });
  }
  return { ...rest, models, failedModels };
}

/** The first complaint of a schema: where and what, on one line. */
export const issueText = (error: z.ZodError): string => {
  const first = error.issues[0];
  const where = first?.path.map(String).join('.') || 'value';
  return `field ${where.slice(0, 120)}: ${first?.message ?? 'is wrong'}`;
};
