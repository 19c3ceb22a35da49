import type { ServerResponse } from 'node:http';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { Clock } from '../lib/clock.ts';
import type { Kind } from '../protocol/index.ts';
import type { ApiKey, ApiKeys } from './api-keys.ts';
import type { JobDesk } from './desk.ts';
import { HttpFailure, type JobFailure } from './errors.ts';
import { bodyOf, sendFailure } from './http.ts';
import type { JobSink } from './job.ts';
import { RateLimiter } from './limiter.ts';
import { failureOf, OpenAiFailure } from './openai-errors.ts';
import { readRequest } from './openai-request.ts';
import type { Publications } from './publications.ts';
import type { Limits } from './settings.ts';
import type { Store } from './store.ts';
import { isUsageLine } from './tokens.ts';

export interface OpenAiPorts {
  readonly clock: Clock;
  readonly limits: Limits;
  readonly keys: ApiKeys;
  readonly publications: Publications;
  readonly desk: JobDesk;
  readonly store: Store;
}

/** A caller who does not read is given up when this much waits for it. */
const STALLED_BYTES = 8 * 1_048_576;
/** So is one who takes nothing of a whole answer for so long. */
const STALLED_MS = 30_000;

/** The OpenAI-compatible side: the official clients work unchanged against it. */
export const openAiApi = (app: FastifyInstance, ports: OpenAiPorts): void => {
  const { keys, limits, publications } = ports;
  const limiter = new RateLimiter(ports.clock, 60_000);

  const authorise = (request: FastifyRequest): ApiKey => {
    const key = keys.find(request.headers.authorization);
    if (!key) throw new OpenAiFailure(401, 'incorrect or missing API key', null, 'bad_api_key');
    const wait = limiter.take(key.id, key.perMinute ?? limits.apiPerKey);
    if (wait !== undefined) throw new OpenAiFailure(429, 'too many calls with this API key', null, 'rate', wait);
    return key;
  };
  const guarded =
    <R extends FastifyRequest>(work: (request: R, reply: FastifyReply, key: ApiKey) => unknown) =>
    async (request: R, reply: FastifyReply): Promise<unknown> => {
      try {
        return await work(request, reply, authorise(request));
      } catch (error) {
        if (error instanceof OpenAiFailure) return sendOpenAiFailure(reply, error);
        throw error;
      }
    };

  for (const [path, kind] of [
    ['/v1/chat/completions', 'chat.completions'],
    ['/v1/completions', 'completions'],
    ['/v1/embeddings', 'embeddings'],
  ] as const)
    app.post(
      path,
      {
        bodyLimit: limits.frameBytes,
        errorHandler: (error, _request, reply) => void sendOpenAiFailure(reply, toOpenAi(error)),
      },
      guarded((request, reply, key) => complete(ports, kind, request, reply, key)),
    );

  app.get(
    '/v1/models',
    guarded(() => ({ object: 'list', data: models(publications) })),
  );
  app.get<{ Params: { '*': string } }>(
    '/v1/models/*',
    guarded((request: FastifyRequest<{ Params: { '*': string } }>) => {
      const found = models(publications).find((m) => m.id === request.params['*']);
      if (!found) throw new OpenAiFailure(404, 'the model does not exist here', 'model', 'model_not_found');
      return found;
    }),
  );
  app.get<{ Params: { jobId: string } }>(
    '/v1/receipts/:jobId',
    guarded((request: FastifyRequest<{ Params: { jobId: string } }>, reply, key) => {
      const { jobId } = request.params;
      const receipts = ports.store.receipts(jobId, key.id);
      // foreign and unknown look alike
      return receipts ? { jobId, receipts } : sendFailure(reply, new HttpFailure('not_found', 'no such job'));
    }),
  );
};

const models = (publications: Publications) =>
  (publications.document?.models ?? [])
    .filter((m) => m.state === 'active')
    .map((m) => ({ id: m.ref, object: 'model', created: 0, owned_by: publications.root.document.network }));

/** Hands a request in and answers when its job ends; a caller who leaves cancels it. */
const complete = (
  { clock, publications, desk }: OpenAiPorts,
  kind: Kind,
  request: FastifyRequest,
  reply: FastifyReply,
  key: ApiKey,
): unknown => {
  const { document } = publications;
  if (!document) throw new OpenAiFailure(503, 'the network has published nothing yet', null, 'unavailable', 5_000);
  const header = (name: string): string | undefined => {
    const value = request.headers[name];
    return typeof value === 'string' ? value : undefined;
  };
  const { job, wantsUsage } = readRequest(
    kind,
    bodyOf(request),
    {
      priority: header('resultity-priority'),
      deadlineMs: header('resultity-deadline-ms'),
      subcloud: header('resultity-subcloud'),
    },
    key,
    document,
    clock.now(),
  );
  reply.hijack();
  const response = reply.raw;
  const caller = new Caller(response, job.stream, wantsUsage, () => {
    if (jobId !== undefined) desk.cancel(jobId, 'client_gone');
  });
  let jobId: string | undefined;
  jobId = desk.submit(job, caller);
  if (jobId === undefined)
    return caller.refuse(new OpenAiFailure(413, 'the request is too large for one frame', null, 'too_large'));
  caller.jobId = jobId;
  return reply;
};

/** One caller's response: an SSE stream or one body. Headers go out with the first byte of the answer. */
class Caller implements JobSink {
  readonly #response: ServerResponse;
  readonly #stream: boolean;
  readonly #wantsUsage: boolean;
  readonly #left: () => void;
  #node = '';
  #done = false;
  jobId = '';

  constructor(response: ServerResponse, stream: boolean, wantsUsage: boolean, left: () => void) {
    this.#response = response;
    this.#stream = stream;
    this.#wantsUsage = wantsUsage;
    this.#left = left;
    response.once('close', () => {
      if (this.#done) return;
      this.#done = true;
      this.#left();
    });
  }

  offered(node: string): void {
    this.#node = node;
  }
  lines(lines: readonly string[]): void {
    if (this.#done || lines.length === 0) return;
    this.#begin();
    for (const line of lines) if (this.#wantsUsage || !isUsageLine(line)) this.#response.write(`data: ${line}\n\n`);
    if (this.#response.writableLength > STALLED_BYTES) this.#response.destroy();
  }
  answered(output: string, rest: readonly string[]): void {
    if (this.#done) return;
    if (this.#stream) {
      this.lines(rest);
      this.#begin();
      this.#end('data: [DONE]\n\n');
      return;
    }
    this.#response.writeHead(200, {
      'content-type': 'application/json',
      'content-length': Buffer.byteLength(output),
      ...this.#names(),
    });
    this.#end(output);
  }
  failed(failure: JobFailure): void {
    this.refuse(failureOf(failure));
  }
  refuse(failure: OpenAiFailure): void {
    if (this.#done) return;
    const body = JSON.stringify(failure.body());
    if (this.#response.headersSent) {
      // in mid-stream: an explicit error, and no [DONE]
      const { message, code } = failure.body().error;
      this.#end(`data: ${JSON.stringify({ error: { code, message } })}\n\n`);
      return;
    }
    this.#response.writeHead(failure.status, {
      'content-type': 'application/json',
      'content-length': Buffer.byteLength(body),
      ...retryAfter(failure),
      ...this.#names(),
    });
    this.#end(body);
  }

  #begin(): void {
    if (this.#response.headersSent) return;
    this.#response.writeHead(200, {
      'content-type': 'text/event-stream; charset=utf-8',
      'cache-control': 'no-cache',
      'x-accel-buffering': 'no',
      ...this.#names(),
    });
  }
  #end(text: string): void {
    this.#done = true;
    // the server's own timeout of an idle connection takes over when all of it was taken
    this.#response.setTimeout(STALLED_MS, () => this.#response.destroy());
    this.#response.end(text);
  }
  #names(): Record<string, string> {
    return {
      ...(this.jobId === '' ? {} : { 'resultity-job': this.jobId }),
      ...(this.#node === '' ? {} : { 'resultity-node': this.#node }),
    };
  }
}

const retryAfter = (failure: OpenAiFailure): Record<string, string> =>
  failure.retryAfterMs === undefined ? {} : { 'retry-after': String(Math.ceil(failure.retryAfterMs / 1_000)) };

const sendOpenAiFailure = (reply: FastifyReply, failure: OpenAiFailure): FastifyReply =>
  reply.code(failure.status).headers(retryAfter(failure)).type('application/json').send(failure.body());

/** What the server itself refuses: mostly a body above the limit. */
const toOpenAi = (error: { statusCode?: number; message: string }): OpenAiFailure => {
  const status = error.statusCode ?? 500;
  if (status === 413) return new OpenAiFailure(413, 'the request is too large', null, 'too_large');
  return status < 500 ? new OpenAiFailure(status, error.message) : new OpenAiFailure(500, 'internal error');
};
