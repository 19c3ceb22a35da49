import { Agent, type Dispatcher } from 'undici';
import { assertNever, CodedError, errorText } from '../lib/errors.ts';
import type { Kind } from '../protocol/codes.ts';
import { type EngineMetrics, parseMetrics } from './engine-metrics.ts';
import { type RunOptions, type RunResult, runOnce } from './engine-run.ts';

/** The job kinds of the protocol are the engine's calls. */
export type EngineKind = Kind;

/** What a health call can say. `refused` is the engine before it listens (loading, or gone), not a verdict. */
export type Health =
  | { readonly state: 'up' }
  | { readonly state: 'down'; readonly why: 'refused' | 'timeout' | 'status'; readonly detail: string };

export interface EngineModel {
  readonly id: string;
  readonly maxModelLen: number | null;
}

export interface EngineClientOptions {
  readonly socketPath?: string;
  /** An engine over TCP, for people who try models; nodes use the socket. Only its origin counts. */
  readonly url?: string;
  /** Upper bound of sockets; the agent never has more jobs than slots + queue. Default 128. */
  readonly connections?: number;
}

const pathOf = (kind: Kind): string => {
  switch (kind) {
    case 'chat.completions':
      return '/v1/chat/completions';
    case 'completions':
      return '/v1/completions';
    case 'embeddings':
      return '/v1/embeddings';
    default:
      return assertNever(kind);
  }
};

const ORIGIN = 'http://engine';
const ADMIN_TIMEOUT_MS = 5000;
const ADMIN_BODY_MAX = 4 << 20;

/**
 * vLLM's HTTP over its Unix socket. One client per engine socket; it survives restarts of the engine, since each
 * connection is made anew. It never repeats an inference: whatever happens to a request, the caller hears of it once.
 */
export class EngineClient {
  private dispatcher: Dispatcher;
  private readonly options: EngineClientOptions;
  private readonly origin: string;

  constructor(options: EngineClientOptions) {
    this.origin = options.url === undefined ? ORIGIN : new URL(options.url).origin;
    this.options = options;
    this.dispatcher = this.connections();
  }

  private connections(): Dispatcher {
    const { socketPath, connections = 128 } = this.options;
    // vLLM's server closes idle connections after 5 s; ours go first, so that no request meets a closing socket.
    return new Agent({
      connect: { ...(socketPath === undefined ? {} : { socketPath }), timeout: 5000 },
      connections,
      pipelining: 1,
      keepAliveTimeout: 3000,
      keepAliveMaxTimeout: 3000,
      allowH2: false,
    });
  }

  /** Every request in flight ends now, as `engine_crash`: for an engine that was given up. */
  cut(): void {
    const before = this.dispatcher;
    this.dispatcher = this.connections();
    void before.destroy(new Error('the engine was given up'));
  }

  private async get(path: string, signal?: AbortSignal): Promise<{ status: number; text: string }> {
    const timeout = AbortSignal.timeout(ADMIN_TIMEOUT_MS);
    const answer = await this.dispatcher.request({
      origin: this.origin,
      path,
      method: 'GET',
      signal: signal ? AbortSignal.any([signal, timeout]) : timeout,
      maxRedirections: 0,
    } as Dispatcher.RequestOptions);
    const parts: Buffer[] = [];
    let size = 0;
    for await (const part of answer.body) {
      size += (part as Buffer).length;
      if (size > ADMIN_BODY_MAX)
        throw new CodedError('engine_answer', `${path} answered more than ${ADMIN_BODY_MAX} bytes`);
      parts.push(part as Buffer);
    }
    return { status: answer.statusCode, text: Buffer.concat(parts).toString('utf8') };
  }

  private async getOk(path: string, signal?: AbortSignal): Promise<string> {
    const { status, text } = await this.get(path, signal).catch((cause: unknown) => {
      throw new CodedError('engine_unreachable', `GET ${path}`, { cause });
    });
    if (status !== 200) throw new CodedError('engine_answer', `GET ${path} answered ${status}`);
    return text;
  }

  /** Never throws. 200 alone does not prove a live engine: see the counters of `metrics`. */
  async health(signal?: AbortSignal): Promise<Health> {
    try {
      const { status } = await this.get('/health', signal);
      return status === 200 ? { state: 'up' } : { state: 'down', why: 'status', detail: String(status) };
    } catch (error) {
      const late = error instanceof Error && (error.name === 'TimeoutError' || error.name === 'AbortError');
      return { state: 'down', why: late ? 'timeout' : 'refused', detail: errorText(error).slice(0, 200) };
    }
  }

  /** @throws CodedError `engine_unreachable`, `engine_answer` */
  async models(signal?: AbortSignal): Promise<EngineModel[]> {
    const answer = JSON.parse(await this.getOk('/v1/models', signal)) as {
      data?: { id?: unknown; max_model_len?: unknown }[];
    };
    return (Array.isArray(answer.data) ? answer.data : []).map((m) => ({
      id: String(m.id),
      maxModelLen: typeof m.max_model_len === 'number' ? m.max_model_len : null,
    }));
  }

  /** @throws CodedError `engine_unreachable`, `engine_answer` */
  async metrics(signal?: AbortSignal): Promise<EngineMetrics> {
    return parseMetrics(await this.getOk('/metrics', signal));
  }

  /**
   * Sends one inference exactly once. Never throws: every end is a `RunResult`. Aborting `signal`, and each of the three
   * clocks, closes the socket, which is how vLLM is told to stop.
   */
  run(kind: Kind, request: string | object, options: RunOptions): Promise<RunResult> {
    return runOnce(this.dispatcher, this.origin, pathOf(kind), request, options);
  }

  /** Closes every connection at once, running requests included. */
  async close(): Promise<void> {
    await this.dispatcher.destroy();
  }
}
