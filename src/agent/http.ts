import { rootCertificates } from 'node:tls';
import { Agent, type Dispatcher, ProxyAgent } from 'undici';
import { CodedError, errorText } from '../lib/errors.ts';
import {
  authorityOf,
  type Domain,
  type Hex32,
  newNonce,
  parseStrictJson,
  type Signer,
  signCall,
  zHttpError,
} from '../protocol/index.ts';
import type { ServerClock } from './server-clock.ts';

/** What the network answered instead of what was asked; `code` is the network's, or `unreachable`, `bad_answer`. */
export class NetworkError extends CodedError {
  readonly status: number;
  readonly retryAfterMs: number | undefined;
  readonly lastN: number | undefined;
  constructor(
    code: string,
    message: string,
    more: { status?: number; retryAfterMs?: number | undefined; lastN?: number | undefined; cause?: unknown } = {},
  ) {
    super(code, message, more.cause === undefined ? undefined : { cause: more.cause });
    this.name = 'NetworkError';
    this.status = more.status ?? 0;
    this.retryAfterMs = more.retryAfterMs;
    this.lastN = more.lastN;
  }
}

/** One undici dispatcher for everything that goes to the network: its CA bundle, its proxy, no redirects. */
export const networkDispatcher = (options: {
  ca?: string | string[] | undefined;
  proxy?: string | undefined;
}): Dispatcher => {
  const tls = options.ca === undefined ? {} : { ca: options.ca };
  const common = { allowH2: false, keepAliveTimeout: 30_000, headersTimeout: 30_000, bodyTimeout: 30_000 };
  return options.proxy
    ? new ProxyAgent({ uri: options.proxy, requestTls: tls, proxyTls: proxyTls(options.ca), ...common })
    : new Agent({ connect: { ...tls, timeout: 10_000 }, ...common });
};

/** A proxy over https is another host than the network's: the public authorities count there too. */
const proxyTls = (ca: string | string[] | undefined) =>
  ca === undefined ? {} : { ca: [...rootCertificates, ...[ca].flat()] };

export interface HttpOptions {
  readonly endpoint: string;
  readonly dispatcher: Dispatcher;
  readonly domain: Domain;
  readonly signer: Signer;
  readonly clock: ServerClock;
  /** 32 unpredictable bytes a call; a port so that a run can be repeated. */
  readonly nonce?: () => Hex32;
}

const ANSWER_MAX = 1 << 20;
const CALL_TIMEOUT_MS = 30_000;

/** Signed and unsigned calls to the IO service (docs/protocol.md §2). Every retry is signed anew. */
export class NetworkHttp {
  readonly #o: HttpOptions;
  readonly authority: string;

  constructor(options: HttpOptions) {
    this.#o = options;
    this.authority = authorityOf(options.endpoint);
  }

  /** An unsigned GET. @throws NetworkError */
  async get(path: string, signal?: AbortSignal): Promise<unknown> {
    const { status, text } = await this.#send('GET', path, undefined, {}, signal);
    if (status !== 200) throw toError(status, text);
    return this.#json(text);
  }

  /**
   * A signed POST. A `bad_clock` answer is followed once with the server's nonce, which skips the clock check.
   * @throws NetworkError
   */
  async post(path: string, body: string, signal?: AbortSignal): Promise<unknown> {
    const first = await this.#signed(path, body, undefined, signal);
    if (first.status === 200) return this.#json(first.text);
    const error = zHttpError.safeParse(tryJson(first.text));
    const nonce = error.success && error.data.error.code === 'bad_clock' ? error.data.error.serverNonce : undefined;
    if (nonce === undefined) throw toError(first.status, first.text);
    const again = await this.#signed(path, body, nonce, signal);
    if (again.status === 200) return this.#json(again.text);
    throw toError(again.status, again.text);
  }

  #signed(path: string, body: string, given: Hex32 | undefined, signal?: AbortSignal) {
    const nonce = given ?? (this.#o.nonce ?? newNonce)();
    const call = { method: 'POST', authority: this.authority, path, body };
    const auth = signCall(this.#o.domain, this.#o.signer, call, this.#o.clock.now(), nonce);
    const type = path === '/v1/logs' ? 'application/x-ndjson' : 'application/json';
    return this.#send('POST', path, body, { 'content-type': type, 'resultity-auth': auth }, signal);
  }

  async #send(
    method: 'GET' | 'POST',
    path: string,
    body: string | undefined,
    headers: Record<string, string>,
    signal?: AbortSignal,
  ): Promise<{ status: number; text: string }> {
    const timeout = AbortSignal.timeout(CALL_TIMEOUT_MS);
    try {
      const answer = await this.#o.dispatcher.request({
        origin: new URL(this.#o.endpoint).origin,
        path,
        method,
        headers,
        ...(body === undefined ? {} : { body }),
        signal: signal ? AbortSignal.any([signal, timeout]) : timeout,
      });
      const parts: Buffer[] = [];
      let size = 0;
      for await (const part of answer.body as AsyncIterable<Buffer>) {
        size += part.length;
        if (size > ANSWER_MAX) throw new NetworkError('bad_answer', `${path} answered more than ${ANSWER_MAX} bytes`);
        parts.push(part);
      }
      return { status: answer.statusCode, text: Buffer.concat(parts).toString('utf8') };
    } catch (cause) {
      if (cause instanceof NetworkError) throw cause;
      if (signal?.aborted) throw signal.reason;
      throw new NetworkError('unreachable', `${method} ${path}: ${errorText(cause).slice(0, 160)}`, { cause });
    }
  }

  #json(text: string): unknown {
    try {
      return parseStrictJson(text);
    } catch (cause) {
      throw new NetworkError('bad_answer', 'the network answered what is no JSON', { cause });
    }
  }
}

const tryJson = (text: string): unknown => {
  try {
    return parseStrictJson(text);
  } catch {
    return undefined;
  }
};

const toError = (status: number, text: string): NetworkError => {
  const parsed = zHttpError.safeParse(tryJson(text));
  if (!parsed.success)
    return new NetworkError(status >= 500 ? 'unavailable' : 'bad_answer', `HTTP ${status}`, { status });
  const { code, message, retryAfterMs, lastN } = parsed.data.error;
  return new NetworkError(code, message.slice(0, 256), { status, retryAfterMs, lastN });
};
