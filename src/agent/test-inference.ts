import type { ModelEntry } from '../config/index.ts';
import type { Clock } from '../lib/clock.ts';
import { CodedError } from '../lib/errors.ts';
import type { Kind } from '../protocol/index.ts';
import type { EngineClient, Timeouts } from '../runtime/index.ts';

/** Which call a test request is for, by its shape. */
export const kindOf = (request: Readonly<Record<string, unknown>>): Kind =>
  request.input !== undefined ? 'embeddings' : request.messages !== undefined ? 'chat.completions' : 'completions';

/** The text of an answer; for embeddings the JSON itself. */
const answerText = (kind: Kind, output: string): string => {
  if (kind === 'embeddings') return output;
  const body = JSON.parse(output) as { choices?: { message?: { content?: unknown }; text?: unknown }[] };
  const first = body.choices?.[0];
  return String(first?.message?.content ?? first?.text ?? '');
};

/**
 * Runs the snapshot's test request and judges the answer. A first-token limit makes it a streamed run, so that the first
 * token is seen. Resolves with the time it took in ms.
 * @throws CodedError `test_failed`; never with the answer's text
 */
export const testInference = async (
  model: ModelEntry,
  engine: Pick<EngineClient, 'run'>,
  timeouts: Timeouts,
  clock: Clock,
  signal: AbortSignal,
): Promise<number> => {
  const { request, expect } = model.test;
  const kind = kindOf(request);
  const started = clock.monotonic();
  const stream = kind !== 'embeddings' && expect.maxFirstTokenMs !== undefined;
  const deltas: string[] = [];
  let firstAt: number | null = null;
  const done = await engine.run(
    kind,
    { ...request, model: model.ref, ...(kind === 'embeddings' ? {} : { stream }) },
    {
      stream,
      timeouts,
      signal,
      clock,
      onLine: (line) => {
        const choice = (JSON.parse(line) as { choices?: { delta?: { content?: unknown }; text?: unknown }[] })
          .choices?.[0];
        const piece = choice?.delta?.content ?? choice?.text;
        if (typeof piece !== 'string' || piece === '') return;
        firstAt ??= clock.monotonic();
        deltas.push(piece);
      },
    },
  );
  signal.throwIfAborted();
  if (done.state === 'failed') throw new CodedError('test_failed', `the test inference ended with ${done.reason}`);
  const text = stream ? deltas.join('') : answerText(kind, done.output);
  const right =
    expect.contains !== undefined
      ? text.includes(expect.contains)
      : expect.regex === undefined || new RegExp(expect.regex, 'u').test(text);
  if (!right) throw new CodedError('test_failed', 'the answer to the test question is not the expected one');
  const first = (firstAt ?? clock.monotonic()) - started;
  if (expect.maxFirstTokenMs !== undefined && first > expect.maxFirstTokenMs)
    throw new CodedError(
      'test_failed',
      `the first token took ${Math.round(first)} ms, ${expect.maxFirstTokenMs} are allowed`,
    );
  return Math.round(clock.monotonic() - started);
};
