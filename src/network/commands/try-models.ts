import type { ModelEntry, SnapshotDocument } from '../../config/index.ts';
import { systemClock } from '../../lib/clock.ts';
import { CodedError, errorText } from '../../lib/errors.ts';
import type { Kind } from '../../protocol/index.ts';
import { EngineClient } from '../../runtime/index.ts';
import type { Io } from './io.ts';

interface Tried {
  readonly ok: boolean;
  readonly answer: string;
  readonly firstMs: number | undefined;
  readonly why?: string;
}

/**
 * Runs the test request of each active model against the engine that serves it, before anything is signed. Each engine is
 * named by its Unix socket or its http(s) URL.
 * @throws CodedError `test_failed` when a model's test fails or no engine serves it, `engine_unreachable`
 */
export const tryModels = async (document: SnapshotDocument, engines: readonly string[], io: Io): Promise<void> => {
  const clients = engines.map((name) => ({ name, client: engineAt(name) }));
  try {
    const served = new Map<string, { name: string; client: EngineClient }>();
    for (const engine of clients)
      for (const { id } of await modelsOf(engine, io)) if (!served.has(id)) served.set(id, engine);
    const failed: string[] = [];
    for (const model of document.models) {
      if (model.state !== 'active') {
        io.out(`try ${model.ref}: not tried, it is ${model.state}`);
        continue;
      }
      const engine = served.get(model.ref);
      const tried: Tried = engine
        ? await tryOne(model, engine.client, document, io.signal)
        : { ok: false, answer: '', firstMs: undefined, why: `no engine given serves it (served: ${names(served)})` };
      const first = tried.firstMs === undefined ? '' : `, first token ${tried.firstMs} ms`;
      io.out(`try ${model.ref}: ${tried.ok ? 'pass' : `FAIL, ${tried.why}`}${first}`);
      if (tried.answer !== '') io.out(`    ${tried.answer}`);
      if (!tried.ok) failed.push(model.ref);
    }
    if (failed.length > 0) throw new CodedError('test_failed', `${failed.join(', ')} failed; nothing was signed`);
  } finally {
    await Promise.all(clients.map(({ client }) => client.close()));
  }
};

const engineAt = (name: string): EngineClient =>
  new EngineClient(/^https?:\/\//i.test(name) ? { url: name } : { socketPath: name });

const modelsOf = ({ name, client }: { name: string; client: EngineClient }, io: Io) =>
  client.models(io.signal).catch((error: unknown) => {
    throw new CodedError('engine_unreachable', `the engine at ${name} does not answer (${errorText(error)})`, {
      cause: error,
    });
  });

const names = (served: ReadonlyMap<string, unknown>): string => [...served.keys()].join(', ') || 'nothing';

const kindOf = (request: Readonly<Record<string, unknown>>): Kind =>
  request.input !== undefined ? 'embeddings' : request.messages !== undefined ? 'chat.completions' : 'completions';

/** Streams where the call can, so that the first token is seen. */
const tryOne = async (
  model: ModelEntry,
  client: EngineClient,
  document: SnapshotDocument,
  signal: AbortSignal,
): Promise<Tried> => {
  const { request, expect } = model.test;
  const kind = kindOf(request);
  const stream = kind !== 'embeddings';
  const started = systemClock.monotonic();
  let firstMs: number | undefined;
  const pieces: string[] = [];
  const done = await client.run(
    kind,
    { ...request, model: model.ref, ...(stream ? { stream } : {}) },
    {
      stream,
      timeouts: document.jobs.timeouts,
      signal,
      onLine: (line) => {
        const piece = pieceOf(line);
        if (piece === '') return;
        firstMs ??= Math.round(systemClock.monotonic() - started);
        pieces.push(piece);
      },
    },
  );
  signal.throwIfAborted();
  if (done.state === 'failed') return { ok: false, answer: '', firstMs, why: `${done.reason}: ${done.detail}` };
  const text = stream ? pieces.join('') : done.output;
  const first = firstMs ?? Math.round(systemClock.monotonic() - started);
  const tried = { answer: printable(text), firstMs: stream ? first : undefined };
  const right =
    expect.contains === undefined
      ? expect.regex === undefined || new RegExp(expect.regex, 'u').test(text)
      : text.includes(expect.contains);
  const wanted = expect.contains === undefined ? `match /${expect.regex}/` : `contain "${expect.contains}"`;
  if (!right) return { ...tried, ok: false, why: `the answer does not ${wanted}` };
  if (expect.maxFirstTokenMs !== undefined && first > expect.maxFirstTokenMs)
    return { ...tried, ok: false, why: `above maxFirstTokenMs ${expect.maxFirstTokenMs}` };
  return { ...tried, ok: true };
};

const pieceOf = (line: string): string => {
  const choice = (JSON.parse(line) as { choices?: { delta?: { content?: unknown }; text?: unknown }[] }).choices?.[0];
  const piece = choice?.delta?.content ?? choice?.text;
  return typeof piece === 'string' ? piece : '';
};

/** On one line, without what a terminal would obey. */
const printable = (text: string): string => {
  const line = text.replaceAll(/[\p{C}\s]+/gu, ' ').trim();
  return line.length > 300 ? `${line.slice(0, 300)}…` : line;
};
