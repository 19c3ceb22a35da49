import { type ModelEntry, type SnapshotDocument, servedIn } from '../config/index.ts';
import { JsonError, type Kind, parseStrictJson } from '../protocol/index.ts';
import type { ApiKey } from './api-keys.ts';
import type { JobRequest } from './job.ts';
import { OpenAiFailure } from './openai-errors.ts';
import { checkParams } from './openai-params.ts';

/** The headers by which a caller steers a job. */
export interface SteeringHeaders {
  readonly priority: string | undefined;
  readonly deadlineMs: string | undefined;
  readonly subcloud: string | undefined;
}

export interface ReadRequest {
  readonly job: JobRequest;
  /** The caller wants the line that tells usage. */
  readonly wantsUsage: boolean;
}

/** A request stands two levels deep in an offer, whose depth is bounded. */
const MAX_DEPTH = 30;

/**
 * Reads a caller's request: which model, streamed or not, within which limits. The request itself is passed on as it is,
 * but for the model's full name, the cap on tokens, and usage in streams (docs/protocol.md §5). @throws OpenAiFailure
 */
export const readRequest = (
  kind: Kind,
  body: Uint8Array,
  headers: SteeringHeaders,
  key: ApiKey,
  document: SnapshotDocument,
  arrivedAt: number,
): ReadRequest => {
  const request = parseObject(body);
  const model = findModel(request.model, kind, document);
  checkParams(kind, request);
  const stream = request.stream === true;
  if (stream && kind === 'embeddings') throw new OpenAiFailure(400, 'embeddings are not streamed', 'stream');
  const options = isObject(request.stream_options) ? request.stream_options : {};
  const subcloud = chooseSubcloud(headers.subcloud, key);
  if (subcloud !== undefined && !servedIn(model, [subcloud]))
    throw new OpenAiFailure(404, `${model.ref} is not served in subcloud ${subcloud}`, 'model');
  const deadlineMs = wholeNumber(headers.deadlineMs, 'resultity-deadline-ms', 300_000);
  const priority = wholeNumber(headers.priority, 'resultity-priority', 5);
  return {
    wantsUsage: options.include_usage === true,
    job: {
      kind,
      model: model.ref,
      modelDigest: model.digest,
      stream,
      priority: Math.min(priority, key.maxPriority),
      deadline: arrivedAt + Math.min(deadlineMs, key.maxDeadlineMs),
      keyId: key.id,
      ...(subcloud === undefined ? {} : { subcloud }),
      request: {
        ...request,
        model: model.ref,
        ...capTokens(kind, request, document.jobs.maxOutputTokens),
        ...(stream ? { stream_options: { ...options, include_usage: true } } : {}),
      },
    },
  };
};

const parseObject = (body: Uint8Array): Record<string, unknown> => {
  let value: unknown;
  try {
    value = parseStrictJson(body, MAX_DEPTH);
  } catch (error) {
    if (!(error instanceof JsonError)) throw error;
    throw new OpenAiFailure(400, `the body is no valid JSON: ${error.message}`);
  }
  if (!isObject(value)) throw new OpenAiFailure(400, 'the body must be a JSON object');
  return value;
};

const isObject = (value: unknown): value is Record<string, unknown> =>
  value !== null && typeof value === 'object' && !Array.isArray(value) && !(value instanceof Number);

/** `name:version`, or a name of which one version is active. */
const findModel = (wanted: unknown, kind: Kind, document: SnapshotDocument): ModelEntry => {
  if (typeof wanted !== 'string') throw new OpenAiFailure(400, 'you must provide a model', 'model');
  const active = document.models.filter((m) => m.state === 'active');
  const exact = active.find((m) => m.ref === wanted);
  const byName = active.filter((m) => m.name === wanted);
  const model = exact ?? (byName.length === 1 ? byName[0] : undefined);
  if (!model) {
    const known = active.map((m) => m.ref).slice(0, 10);
    throw new OpenAiFailure(
      404,
      `the model does not exist here; active ones: ${known.join(', ') || 'none'}`,
      'model',
      'model_not_found',
    );
  }
  if (!model.tasks.includes(kind))
    throw new OpenAiFailure(400, `${model.ref} does not do ${kind}; it does ${model.tasks.join(', ')}`, 'model');
  return model;
};

/** maxOutputTokens is cap and default; the newer name of the field wins where a caller used it. */
const capTokens = (kind: Kind, request: Record<string, unknown>, cap: number): Record<string, unknown> => {
  if (kind === 'embeddings') return {};
  const field =
    kind === 'chat.completions' && request.max_completion_tokens != null ? 'max_completion_tokens' : 'max_tokens';
  const wanted = request[field];
  return { [field]: typeof wanted === 'number' ? Math.min(wanted, cap) : cap };
};

const chooseSubcloud = (wanted: string | undefined, key: ApiKey): string | undefined => {
  if (wanted === undefined) return key.subclouds?.[0];
  if (key.subclouds && !key.subclouds.includes(wanted))
    throw new OpenAiFailure(400, 'this API key may not use that subcloud', 'resultity-subcloud');
  return wanted.slice(0, 64);
};

const wholeNumber = (text: string | undefined, name: string, fallback: number): number => {
  if (text === undefined) return fallback;
  if (!/^[0-9]{1,12}$/.test(text)) throw new OpenAiFailure(400, `${name} must be a whole number`, name);
  return Number(text);
};
