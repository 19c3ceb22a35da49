/**
 * A stand-in for vLLM 0.32 over a Unix socket: same HTTP, no model. It says so in its name, its headers and every answer.
 * Tests use it in process (`startStandin`); the sim image runs it as a program (vllm-sim.ts). Node built-ins only.
 */
import { appendFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Asked, answerText, asked, embedding, pieces } from './answers.ts';

/** Faults, one at a time: see docs of the launcher and the fault table. `ok` is none. */
export const MODES = [
  'ok',
  'slow-first-token', // the first token takes 60 s
  'stall', // three tokens, then silence with the connection open
  'wedged', // /health 200, requests never produce anything
  'hang', // nothing answers, /health neither
  'crash', // the process exits in the middle of the next answer
  'oom',
  'crash-at-start',
  // these three say the question again, as engines do
  'garbage-sse', // a stream of lines that are no JSON
  'error-chunk', // an error object after the 200
  'error-500',
  'cut', // the connection ends in the middle of a stream
  'wrong-answer', // answers that fail a test inference
] as const;
export type Mode = (typeof MODES)[number];
export const isMode = (text: string): text is Mode => (MODES as readonly string[]).includes(text);

/** One request as the stand-in saw it: the third record of the offline fault checker. Never holds prompt text. */
export interface Call {
  readonly id: number;
  readonly at: number;
  readonly path: string;
  readonly stream: boolean;
  /** `x-request-id` or the body's `user`, as the caller gave it: joins the call to a job. */
  readonly request?: string;
  readonly end: 'done' | 'aborted' | 'fault' | 'refused';
  readonly tokens: number;
}

export interface StandinOptions {
  readonly socketPath: string;
  readonly model?: string;
  readonly slots?: number;
  readonly maxModelLen?: number;
  readonly tokenMs?: number;
  readonly mode?: Mode;
  readonly say?: string;
  readonly callLog?: string;
  readonly onCrash?: (code: number) => void;
}

export interface Standin {
  readonly calls: readonly Call[];
  /** Requests that hold a slot right now. */
  readonly running: () => number;
  setMode(mode: Mode): void;
  close(): Promise<void>;
}

const SERVER = 'resultity-runtime-sim';
const readBody = async (req: IncomingMessage): Promise<string> => {
  const parts: Buffer[] = [];
  for await (const part of req) parts.push(part as Buffer);
  return Buffer.concat(parts).toString('utf8');
};

/** Starts the stand-in. Resolves when the socket listens. */
export const startStandin = async (options: StandinOptions): Promise<Standin> => {
  const model = options.model ?? 'sim:v1';
  const slots = options.slots ?? 16;
  const maxModelLen = options.maxModelLen ?? 2048;
  const tokenMs = options.tokenMs ?? 0;
  const calls: Call[] = [];
  const waiting: (() => void)[] = [];
  const stop = new AbortController();
  let mode = options.mode ?? 'ok';
  let running = 0;
  let generated = 0;
  let finished = 0;
  let ids = 0;

  const json = (res: ServerResponse, status: number, value: unknown): void => {
    const text = JSON.stringify(value);
    res.writeHead(status, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) }).end(text);
  };
  const refuse = (res: ServerResponse, status: number, message: string): void =>
    json(res, status, { error: { message, type: 'BadRequestError', param: null, code: status } });

  const takeSlot = async (signal: AbortSignal): Promise<void> => {
    if (running < slots) {
      running++;
      return;
    }
    await new Promise<void>((resolve, reject) => {
      const enter = (): void => {
        running++;
        resolve();
      };
      waiting.push(enter);
      signal.addEventListener('abort', () => {
        const at = waiting.indexOf(enter);
        if (at >= 0) waiting.splice(at, 1);
        reject(signal.reason);
      });
    });
  };
  const freeSlot = (): void => {
    running--;
    waiting.shift()?.();
  };
  const forever = (signal: AbortSignal): Promise<never> =>
    new Promise((_, reject) => {
      if (signal.aborted) reject(signal.reason);
      signal.addEventListener('abort', () => reject(signal.reason));
    });

  /** Generates token by token; throws when the caller goes away. Returns what ended it. */
  const generate = async (
    res: ServerResponse,
    ask: Asked,
    id: string,
    signal: AbortSignal,
    count: () => void,
  ): Promise<Call['end']> => {
    const text = mode === 'wrong-answer' ? 'I do not know.' : answerText(ask, options.say);
    const all = pieces(text);
    const out = all.slice(0, ask.maxTokens);
    const finish = out.length < all.length ? 'length' : 'stop';
    const usage = {
      prompt_tokens: ask.promptTokens,
      total_tokens: ask.promptTokens + out.length,
      completion_tokens: out.length,
    };
    const head = { id, created: Math.floor(Date.now() / 1000), model };
    const chat = ask.kind === 'chat';
    if (mode === 'wedged') await forever(signal);
    if (mode === 'slow-first-token') await sleep(60_000, undefined, { signal });
    if (!ask.stream) {
      for (const _ of out) {
        if (tokenMs > 0) await sleep(tokenMs, undefined, { signal });
        count();
      }
      if (mode === 'crash') options.onCrash?.(1);
      json(res, 200, {
        ...head,
        object: chat ? 'chat.completion' : 'text_completion',
        choices: [
          {
            index: 0,
            ...(chat ? { message: { role: 'assistant', content: out.join('') } } : { text: out.join('') }),
            logprobs: null,
            finish_reason: finish,
          },
        ],
        usage,
      });
      return 'done';
    }
    res.writeHead(200, { 'content-type': 'text/event-stream; charset=utf-8' });
    const send = async (value: unknown): Promise<void> => {
      const line = typeof value === 'string' ? value : JSON.stringify(value);
      if (!res.write(`data: ${line}\n\n`)) await new Promise<void>((r) => res.once('drain', r).once('close', r));
    };
    const chunk = (delta: unknown, reason: string | null): unknown => ({
      ...head,
      object: chat ? 'chat.completion.chunk' : 'text_completion',
      choices: [{ index: 0, ...(chat ? { delta } : { text: delta }), logprobs: null, finish_reason: reason }],
    });
    if (chat) await send(chunk({ role: 'assistant', content: '' }, null));
    for (const [at, piece] of out.entries()) {
      if (at === 3) {
        if (mode === 'stall') await forever(signal);
        if (mode === 'crash') options.onCrash?.(1);
        if (mode === 'cut') {
          res.destroy();
          return 'fault';
        }
        if (mode === 'garbage-sse') {
          await send(`{"choices": [{ ${ask.question}`);
          res.end('data: \u0000\u0001 not json\n\ndata: [DONE]\n\n');
          return 'fault';
        }
        if (mode === 'error-chunk') {
          const message = `EngineCore encountered an issue with ${ask.question}`;
          await send({ error: { message, type: 'InternalServerError', code: 500 } });
          res.end('data: [DONE]\n\n');
          return 'fault';
        }
      }
      await sleep(tokenMs, undefined, { signal });
      count();
      const last = at === out.length - 1;
      await send(chunk(chat ? { content: piece } : piece, last ? finish : null));
    }
    if (ask.includeUsage) await send({ ...head, object: 'chat.completion.chunk', choices: [], usage });
    res.end('data: [DONE]\n\n');
    return 'done';
  };

  const infer = async (req: IncomingMessage, res: ServerResponse, path: string): Promise<void> => {
    const gone = new AbortController();
    const signal = AbortSignal.any([gone.signal, stop.signal]);
    res.once('close', () => gone.abort());
    let tokens = 0;
    let stream = false;
    let request = req.headers['x-request-id'] as string | undefined;
    let end: Call['end'] = 'refused';
    const id = ++ids;
    try {
      const body: unknown = JSON.parse(await readBody(req));
      const ask = asked(path, body);
      if (typeof ask === 'string') return refuse(res, 400, ask);
      stream = ask.stream;
      request ??= ask.user;
      if (ask.model !== model) return refuse(res, 404, `The model \`${ask.model.slice(0, 80)}\` does not exist.`);
      if (ask.promptTokens >= maxModelLen)
        return refuse(res, 400, `This model's maximum context length is ${maxModelLen} tokens.`);
      if (mode === 'error-500') {
        end = 'fault';
        return refuse(res, 500, `EngineCore encountered an issue with ${ask.question}`);
      }
      end = 'aborted';
      await takeSlot(signal);
      try {
        if (ask.kind === 'embeddings') {
          const data = ask.inputs.map((text, index) => ({ object: 'embedding', index, embedding: embedding(text) }));
          const usage = { prompt_tokens: ask.promptTokens, total_tokens: ask.promptTokens, completion_tokens: 0 };
          json(res, 200, { id: `embd-${id}`, object: 'list', created: 0, model, data, usage });
          end = 'done';
        } else {
          end = await generate(res, ask, `${ask.kind === 'chat' ? 'chatcmpl' : 'cmpl'}-sim-${id}`, signal, () => {
            tokens++;
            generated++;
          });
        }
        finished++;
      } finally {
        freeSlot();
      }
    } catch (error) {
      if (!signal.aborted) refuse(res, 400, error instanceof Error ? error.message.slice(0, 200) : 'bad request');
    } finally {
      const call: Call = { id, at: Date.now(), path, stream, ...(request ? { request } : {}), end, tokens };
      calls.push(call);
      if (calls.length > 10_000) calls.shift();
      if (options.callLog) appendFileSync(options.callLog, `${JSON.stringify(call)}\n`);
    }
  };

  const metrics = (): string => {
    const label = `{engine="0",model_name="${model}"}`;
    return [
      ['vllm:num_requests_running', 'gauge', running],
      ['vllm:num_requests_waiting', 'gauge', waiting.length],
      ['vllm:kv_cache_usage_perc', 'gauge', running / slots / 2],
      ['vllm:generation_tokens_total', 'counter', generated],
      ['vllm:iteration_tokens_total_count', 'counter', generated],
      ['vllm:request_success_total', 'counter', finished],
    ]
      .map(([name, kind, value]) => `# TYPE ${name} ${kind}\n${name}${label} ${value}\n`)
      .join('');
  };

  const server = createServer({ keepAliveTimeout: 5000 }, (req, res) => {
    const path = (req.url ?? '/').split('?')[0] ?? '/';
    res.setHeader('server', SERVER);
    res.setHeader('x-resultity-sim', 'a stand-in, not a model');
    if (req.method === 'POST' && path === '/sim/mode') {
      void readBody(req).then((text) => {
        if (!isMode(text.trim())) return refuse(res, 400, `modes: ${MODES.join(' ')}`);
        mode = text.trim() as Mode;
        json(res, 200, { mode });
      });
      return;
    }
    if (path === '/sim/calls') return json(res, 200, calls);
    if (mode === 'hang') return;
    if (path === '/health') return void res.writeHead(200).end();
    if (path === '/version') return json(res, 200, { version: '0.32.0+sim' });
    if (path === '/metrics') return void res.writeHead(200, { 'content-type': 'text/plain' }).end(metrics());
    if (path === '/v1/models')
      return json(res, 200, {
        object: 'list',
        data: [{ id: model, object: 'model', created: 0, owned_by: SERVER, max_model_len: maxModelLen }],
      });
    if (req.method === 'POST' && ['/v1/chat/completions', '/v1/completions', '/v1/embeddings'].includes(path))
      return void infer(req, res, path);
    refuse(res, 404, 'Not Found');
  });
  await new Promise<void>((resolve, reject) => server.once('error', reject).listen(options.socketPath, resolve));
  return {
    calls,
    running: () => running,
    setMode: (next) => {
      mode = next;
    },
    close: async () => {
      stop.abort();
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
};
