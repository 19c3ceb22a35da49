import type { Dispatcher } from 'undici';
import { type Clock, systemClock } from '../lib/clock.ts';
import { CodedError, errorText, isCoded } from '../lib/errors.ts';
import { FINISH_REASONS, type FinishReason, type LostReason } from '../protocol/codes.ts';
import { SseLines } from './sse-lines.ts';

/** The reasons of job.lost that a run of the engine can end with. */
export type RunFailure = Extract<
  LostReason,
  'cancelled' | 'engine_error' | 'engine_crash' | 'timeout_first' | 'timeout_gap' | 'timeout_total' | 'output_too_large'
>;

export interface Timeouts {
  readonly firstTokenMs: number;
  readonly gapMs: number;
  readonly totalMs: number;
}

export interface RunOptions {
  /** The offer's value: without streaming only the total clock applies. */
  readonly stream: boolean;
  readonly signal?: AbortSignal;
  readonly timeouts: Timeouts;
  /** Called for each line in order. A promise holds back reading of the engine; that time is not the engine's. */
  readonly onLine?: (line: string, index: number) => void | Promise<void>;
  readonly maxOutputBytes?: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly clock?: Clock;
}

export interface Usage {
  readonly promptTokens: number;
  readonly completionTokens: number;
}

export interface RunDone {
  readonly state: 'done';
  /** The engine's body, or all lines joined by LF: what outputHash is made of. */
  readonly output: string;
  /** 0 without streaming. */
  readonly lines: number;
  /** The engine's own count; null if it sent none. */
  readonly usage: Usage | null;
  /** Chunks that carried content: a count of ours, for when usage is lost. */
  readonly contentChunks: number;
  readonly finishReason: FinishReason;
}
export type RunResult =
  | RunDone
  | {
      readonly state: 'failed';
      readonly reason: RunFailure;
      /** For the local log only; bounded, never prompt or output. */
      readonly detail: string;
      readonly lines: number;
      /** Tokens made until then: the engine's own count where its chunks carried one, else the chunks with content. */
      readonly completionTokens: number;
      /** HTTP status when the engine refused with one: 4xx is the request's fault, not the engine's. */
      readonly status?: number;
    };

interface Chunk {
  error?: unknown;
  object?: string;
  choices?: { finish_reason?: string | null; delta?: Record<string, unknown>; text?: string }[];
  usage?: { prompt_tokens?: number; completion_tokens?: number } | null;
}

const FINISH: readonly string[] = FINISH_REASONS;
const count = (n: unknown): number => (Number.isSafeInteger(n) && (n as number) >= 0 ? (n as number) : 0);

/** What one run has learned from the engine's chunks. */
class Reading {
  usage: Usage | null = null;
  finish: FinishReason | null = null;
  content = 0;

  /** @throws CodedError `engine_error` for what is no chunk, or an error sent after the 200 */
  take(text: string): void {
    let chunk: Chunk;
    try {
      chunk = JSON.parse(text) as Chunk;
    } catch (cause) {
      throw new CodedError('engine_error', 'the engine sent what is no JSON', { cause });
    }
    if (typeof chunk !== 'object' || chunk === null) throw new CodedError('engine_error', 'the engine sent no object');
    if (chunk.error || chunk.object === 'error')
      throw new CodedError('engine_error', 'the engine sent an error after the 200');
    for (const choice of Array.isArray(chunk.choices) ? chunk.choices : []) {
      const reason = choice.finish_reason;
      if (typeof reason === 'string') this.finish = FINISH.includes(reason) ? (reason as FinishReason) : 'stop';
      const delta = choice.delta;
      if (choice.text || (delta && Object.entries(delta).some(([key, value]) => key !== 'role' && value)))
        this.content++;
    }
    if (chunk.usage)
      this.usage = {
        promptTokens: count(chunk.usage.prompt_tokens),
        completionTokens: count(chunk.usage.completion_tokens),
      };
  }
}

/** The three clocks of a run; whichever strikes aborts the request and names the reason. */
class Clocks {
  readonly abort = new AbortController();
  reason: RunFailure | null = null;
  private readonly clock: Clock;
  private waiting: AbortController | null = null;
  private readonly total = new AbortController();

  constructor(clock: Clock, totalMs: number) {
    this.clock = clock;
    this.start('timeout_total', totalMs, this.total);
  }

  private start(reason: RunFailure, ms: number, owner: AbortController): void {
    this.clock.sleep(ms, owner.signal).then(
      () => this.strike(reason),
      () => {},
    );
  }

  strike(reason: RunFailure): void {
    this.reason ??= reason;
    this.abort.abort();
  }

  await(reason: RunFailure, ms: number): void {
    this.waiting?.abort();
    this.waiting = new AbortController();
    this.start(reason, ms, this.waiting);
  }

  hold(): void {
    this.waiting?.abort();
    this.waiting = null;
  }

  end(): void {
    this.hold();
    this.total.abort();
  }
}

/** See EngineClient.run. */
export const runOnce = async (
  dispatcher: Dispatcher,
  origin: string,
  path: string,
  request: string | object,
  options: RunOptions,
): Promise<RunResult> => {
  const { stream, signal, timeouts, onLine } = options;
  const cap = options.maxOutputBytes ?? 16 << 20;
  const clocks = new Clocks(options.clock ?? systemClock, timeouts.totalMs);
  const cancel = (): void => clocks.strike('cancelled');
  if (signal?.aborted) cancel();
  signal?.addEventListener('abort', cancel, { once: true });
  const reading = new Reading();
  const lines: string[] = [];
  let status: number | undefined;
  let size = 0;
  const fail = (reason: RunFailure, detail: string): RunResult => ({
    state: 'failed',
    reason,
    detail: detail.slice(0, 200),
    lines: lines.length,
    completionTokens: reading.usage?.completionTokens ?? reading.content,
    ...(status !== undefined && status !== 200 ? { status } : {}),
  });
  try {
    if (stream) clocks.await('timeout_first', timeouts.firstTokenMs);
    const answer = await dispatcher.request({
      origin,
      path,
      method: 'POST',
      headers: { 'content-type': 'application/json', ...options.headers },
      body: typeof request === 'string' ? request : JSON.stringify(request),
      signal: clocks.abort.signal,
      headersTimeout: 0,
      bodyTimeout: 0,
    });
    status = answer.statusCode;
    if (status !== 200) {
      answer.body.destroy();
      return fail('engine_error', `the engine answered ${status}`);
    }
    const sse = new SseLines(cap);
    const parts: Buffer[] = [];
    for await (const part of answer.body as AsyncIterable<Buffer>) {
      size += part.length;
      if (!stream) {
        if (size > cap) return fail('output_too_large', `more than ${cap} bytes`);
        parts.push(part);
        continue;
      }
      const fresh = sse.push(part);
      if (fresh.length === 0) continue;
      clocks.hold();
      for (const line of fresh) {
        reading.take(line);
        lines.push(line);
        await onLine?.(line, lines.length - 1);
        if (clocks.reason) throw new CodedError('stopped', 'stopped while a line was passed on');
      }
      // SSE framing is not output: 8 bytes a line are.
      if (size - 8 * lines.length > cap) return fail('output_too_large', `more than ${cap} bytes`);
      if (!sse.done)
        clocks.await(
          reading.content > 0 ? 'timeout_gap' : 'timeout_first',
          reading.content > 0 ? timeouts.gapMs : timeouts.firstTokenMs,
        );
    }
    if (stream && !sse.done) return fail('engine_crash', 'the stream ended without [DONE]');
    const output = stream
      ? lines.join('\n')
      : new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(Buffer.concat(parts));
    if (!stream) reading.take(output);
    return {
      state: 'done',
      output,
      lines: lines.length,
      usage: reading.usage,
      contentChunks: reading.content,
      finishReason: reading.finish ?? 'stop',
    };
  } catch (error) {
    if (clocks.reason) return fail(clocks.reason, clocks.reason);
    if (isCoded(error, 'engine_error', 'output_too_large')) return fail(error.code as RunFailure, error.message);
    if (error instanceof TypeError) return fail('engine_error', 'the engine sent bytes that are no UTF-8');
    return fail('engine_crash', errorText(error));
  } finally {
    clocks.end();
    clocks.abort.abort(); // leaving early closes the socket; after a whole answer this does nothing
    signal?.removeEventListener('abort', cancel);
  }
};
