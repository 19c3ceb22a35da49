import { Agent, type Dispatcher } from 'undici';
import type { Clock } from '../lib/clock.ts';
import { ApiError, apiErrorFrom, KubeError } from './errors.ts';
import type { Connection, TlsMaterial } from './kubeconfig.ts';
import { Slots, TokenBucket } from './limiter.ts';
import type { KubeMetrics } from './metrics.ts';
import { deadline, pause } from './timing.ts';

export type Verb = 'get' | 'list' | 'create' | 'update' | 'apply' | 'patch' | 'delete' | 'watch' | 'raw';
/** Leases have tokens and connections of their own, so that a busy controller cannot starve its own election. */
export type Lane = 'normal' | 'lease';

export interface Call {
  readonly verb: Verb;
  readonly method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  readonly path: string;
  readonly query?: Readonly<Record<string, string | number | boolean | undefined>> | undefined;
  readonly body?: unknown;
  readonly contentType?: string | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly timeoutMs?: number | undefined;
  readonly lane?: Lane | undefined;
  /** Called each time right before it is sent; what it throws ends the call, and nothing is sent. */
  readonly gate?: (() => void) | undefined;
}

export interface TransportOptions {
  readonly connection: Connection;
  readonly clock: Clock;
  readonly metrics?: KubeMetrics | undefined;
  readonly userAgent?: string | undefined;
  /** Calls a second; ≤ 0 = no limit. The server's own fairness is the real limit, this one is a fuse. */
  readonly qps: number;
  readonly burst: number;
  readonly timeouts?: Partial<Record<Verb, number>> | undefined;
}

const TIMEOUTS: Record<Verb, number> = {
  get: 10_000,
  list: 60_000,
  create: 15_000,
  update: 10_000,
  apply: 15_000,
  patch: 15_000,
  delete: 15_000,
  watch: 30_000, // until the headers have come
  raw: 15_000,
};
const TLS_CHECK_MS = 60_000;
const MAX_RETRIES = 5;
const MAX_RETRY_AFTER_MS = 30_000;
const LEASE_QPS = 5;
const CALL_CONNECTIONS = 8;
/** Safe to send twice: the second time changes nothing that the first has not. */
const REPEATABLE: ReadonlySet<Verb> = new Set(['get', 'list', 'apply']);

interface Agents {
  readonly key: string;
  readonly calls: Agent;
  readonly leases: Agent;
  readonly watches: Agent;
}

/**
 * HTTP/1.1 to one API server over long-lived connections: one agent for calls, one for leases, one for watches.
 * Guarantees: a call ends by its deadline or its signal; 429 and 503 are tried again after Retry-After, up to 5 times;
 * a 401 once with a fresh token; a broken connection once where repeating is safe. Throws ApiError or KubeError.
 */
export class Transport {
  readonly #o: TransportOptions;
  readonly #base: URL;
  readonly #buckets: Record<Lane, TokenBucket>;
  /** A call that has to wait for a connection waits here, where it can still be refused. */
  readonly #slots = new Slots(CALL_CONNECTIONS);
  #agents: Agents | undefined;
  #checkedAt = Number.NEGATIVE_INFINITY;
  #loading: Promise<Agents> | undefined;
  #closed = false;

  constructor(options: TransportOptions) {
    this.#o = options;
    this.#base = new URL(options.connection.server);
    this.#buckets = {
      normal: new TokenBucket(options.clock, options.qps, options.burst),
      lease: new TokenBucket(options.clock, options.qps <= 0 ? 0 : LEASE_QPS, LEASE_QPS),
    };
  }

  /** Sends the call and gives the parsed JSON of the answer (text where it is no JSON). */
  async json(call: Call): Promise<unknown> {
    await this.#takeToken(call);
    const ms = call.timeoutMs ?? this.#o.timeouts?.[call.verb] ?? TIMEOUTS[call.verb];
    const limit = deadline(
      this.#o.clock,
      ms,
      call.signal,
      () => new KubeError('kube_timeout', `${step(call)}: no answer in ${ms} ms`),
    );
    const started = this.#o.clock.monotonic();
    try {
      return await this.#attempts(call, limit.signal, async (response) => {
        const text = await response.body.text();
        return parse(text);
      });
    } finally {
      limit.close();
      this.#o.metrics?.requestSeconds.observe(
        { verb: call.verb, host: this.#base.host },
        (this.#o.clock.monotonic() - started) / 1000,
      );
    }
  }

  /** Opens a stream: resolves when the server has said 200. The caller reads or destroys the body; `signal` ends it. */
  async stream(call: Call & { readonly signal: AbortSignal }): Promise<Dispatcher.ResponseData['body']> {
    await this.#takeToken(call);
    const ms = call.timeoutMs ?? TIMEOUTS.watch;
    const limit = deadline(
      this.#o.clock,
      ms,
      undefined,
      () => new KubeError('kube_timeout', `${step(call)}: not opened in ${ms} ms`),
    );
    const both = AbortSignal.any([limit.signal, call.signal]);
    try {
      return await this.#attempts(call, both, async (response) => response.body);
    } finally {
      limit.close();
    }
  }

  /** Lets calls in flight end (for at most a second), then breaks all connections. */
  async close(): Promise<void> {
    this.#closed = true;
    const agents = this.#agents;
    if (!agents) return;
    await agents.watches.destroy();
    const closing = Promise.all([agents.calls.close(), agents.leases.close()]);
    const patience = new AbortController();
    await Promise.race([closing, pause(this.#o.clock, 1_000, patience.signal)]);
    patience.abort();
    await Promise.all([agents.calls.destroy(), agents.leases.destroy()]);
  }

  async #takeToken(call: Call): Promise<void> {
    const bucket = this.#buckets[call.lane ?? 'normal'];
    const wait = bucket.reserve();
    if (wait <= 0) return;
    this.#o.metrics?.limiterSeconds.observe({ verb: call.verb, host: this.#base.host }, wait / 1000);
    if (await pause(this.#o.clock, wait, call.signal)) return;
    bucket.refund();
    throw call.signal?.reason;
  }

  async #attempts<R>(call: Call, signal: AbortSignal, use: (r: Dispatcher.ResponseData) => Promise<R>): Promise<R> {
    let fresh = false;
    let broken = 0;
    for (let attempt = 0; ; attempt++) {
      let failure: unknown;
      try {
        return await this.#once(call, signal, fresh, use);
      } catch (error) {
        failure = error;
      }
      if (signal.aborted) throw signal.reason;
      if (!(failure instanceof ApiError)) {
        if (!REPEATABLE.has(call.verb) || ++broken > 1 || this.#closed) throw failure;
        continue; // typically a kept connection that the server closed just then
      }
      if (failure.status === 401 && !fresh) {
        fresh = true;
        continue;
      }
      const wait = failure.retryAfterMs;
      if ((failure.status !== 429 && failure.status !== 503) || wait === undefined || attempt >= MAX_RETRIES)
        throw failure;
      if (!(await pause(this.#o.clock, Math.min(Math.max(wait, 100), MAX_RETRY_AFTER_MS), signal))) throw signal.reason;
    }
  }

  async #once<R>(
    call: Call,
    signal: AbortSignal,
    fresh: boolean,
    use: (r: Dispatcher.ResponseData) => Promise<R>,
  ): Promise<R> {
    const count = (code: string): void =>
      this.#o.metrics?.requests.inc({ code, method: call.method, host: this.#base.host });
    let release: (() => void) | undefined;
    try {
      const agents = await this.#current();
      const authorization = await this.#o.connection.authorization(fresh);
      if (call.verb !== 'watch' && call.lane !== 'lease') release = await this.#slots.take(signal);
      call.gate?.();
      const agent = call.verb === 'watch' ? agents.watches : call.lane === 'lease' ? agents.leases : agents.calls;
      const response = await agent.request({
        origin: this.#base.origin,
        path: this.#base.pathname.replace(/\/$/, '') + call.path + search(call.query),
        method: call.method,
        headers: {
          accept: 'application/json',
          'user-agent': this.#o.userAgent ?? 'kube-runtime',
          ...(call.body === undefined ? {} : { 'content-type': call.contentType ?? 'application/json' }),
          ...(authorization === undefined ? {} : { authorization: authorization.reveal() }),
        },
        body: call.body === undefined ? null : typeof call.body === 'string' ? call.body : JSON.stringify(call.body),
        signal,
      });
      count(String(response.statusCode));
      if (response.statusCode >= 200 && response.statusCode < 300) return await use(response);
      const retryAfter = response.headers['retry-after'];
      throw apiErrorFrom(
        step(call),
        response.statusCode,
        parse(await response.body.text()),
        typeof retryAfter === 'string' ? retryAfter : undefined,
      );
    } catch (error) {
      if (error instanceof KubeError || signal.aborted) throw error;
      count('<error>');
      throw new KubeError('kube_network', `${step(call)}: no answer from ${this.#base.host}`, { cause: error });
    } finally {
      release?.();
    }
  }

  /** The agents; new ones when CA or certificate have changed. The old ones end what they have in flight. */
  async #current(): Promise<Agents> {
    if (this.#closed) throw new KubeError('kube_network', 'the client is closed');
    if (this.#agents && this.#o.clock.monotonic() - this.#checkedAt < TLS_CHECK_MS) return this.#agents;
    this.#loading ??= this.#load().finally(() => {
      this.#loading = undefined;
    });
    return this.#loading;
  }

  async #load(): Promise<Agents> {
    const old = this.#agents;
    let tls: TlsMaterial;
    try {
      tls = await this.#o.connection.tls();
    } catch (error) {
      if (!old) throw error;
      return old;
    }
    this.#checkedAt = this.#o.clock.monotonic();
    const key = JSON.stringify([tls.ca, tls.cert, tls.key?.reveal(), tls.serverName, tls.insecure]);
    if (old?.key === key) return old;
    this.#agents = { key, calls: agent(tls, CALL_CONNECTIONS), leases: agent(tls, 1), watches: agent(tls, 0) };
    if (old) void Promise.allSettled([old.calls.close(), old.leases.close(), old.watches.close()]);
    return this.#agents;
  }
}

/** `connections` 0 = as many as there are requests: each watch holds one. Timers are the caller's, so undici's are off. */
const agent = (tls: TlsMaterial, connections: number): Agent =>
  new Agent({
    allowH2: false,
    pipelining: 1,
    headersTimeout: 0,
    bodyTimeout: 0,
    keepAliveTimeout: 60_000,
    keepAliveMaxTimeout: 600_000,
    ...(connections > 0 ? { connections } : {}),
    connect: {
      timeout: 10_000,
      keepAlive: true,
      keepAliveInitialDelay: 15_000,
      ...(tls.ca === undefined ? {} : { ca: tls.ca }),
      ...(tls.cert === undefined ? {} : { cert: tls.cert }),
      ...(tls.key === undefined ? {} : { key: tls.key.reveal() }),
      ...(tls.serverName === undefined ? {} : { servername: tls.serverName }),
      ...(tls.insecure ? { rejectUnauthorized: false } : {}),
    },
  });

const step = (call: Call): string => `${call.verb} ${call.path}`;

const search = (query: Call['query']): string => {
  const params = new URLSearchParams();
  for (const [name, value] of Object.entries(query ?? {})) if (value !== undefined) params.set(name, String(value));
  const text = params.toString();
  return text === '' ? '' : `?${text}`;
};

const parse = (text: string): unknown => {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
};
