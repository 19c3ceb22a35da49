import { open, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { type Dispatcher, request } from 'undici';
import { CodedError, errorText } from '../lib/errors.ts';
import type { Refusal, Sha256 } from '../protocol/index.ts';
import { MAX_SNAPSHOT_BYTES } from './document.ts';
import { MAX_ROOT_BYTES } from './root.ts';

/** `GET /v1/config` above this is refused before it is parsed. */
export const MAX_CONFIG_ANSWER_BYTES = 16_384;

/** Where a network's answers come from. Nothing of it is trusted. Rejects with CodedError `unreachable` or `too_large`. */
export interface ConfigSource {
  /** `GET /v1/config`. */
  config(signal?: AbortSignal): Promise<Uint8Array>;
  /** `GET /v1/config/sha256:<hex>`. */
  snapshot(digest: Sha256, signal?: AbortSignal): Promise<Uint8Array>;
  /** `GET /v1/roots/<n>`; undefined past the last. */
  root(n: number, signal?: AbortSignal): Promise<Uint8Array | undefined>;
}

const refusal = (code: Refusal, message: string, cause?: unknown): CodedError<Refusal> =>
  new CodedError<Refusal>(code, message, cause === undefined ? {} : { cause });

export interface HttpSourceOptions {
  /** Base URL of the network, with or without a trailing slash. */
  readonly endpoint: string;
  /** Carries TLS settings and proxies. */
  readonly dispatcher?: Dispatcher | undefined;
  /** For one call with its body, milliseconds; default 20 000. */
  readonly timeoutMs?: number | undefined;
}

/** The network itself, over HTTP(S). Redirects are not followed. */
export const httpSource = ({ endpoint, dispatcher, timeoutMs = 20_000 }: HttpSourceOptions): ConfigSource => {
  const base = endpoint.replace(/\/+$/, '');
  const get = async (path: string, cap: number, signal?: AbortSignal): Promise<Uint8Array | undefined> => {
    const url = `${base}${path}`;
    const limit = AbortSignal.timeout(timeoutMs);
    try {
      const answer = await request(url, {
        method: 'GET',
        headers: { accept: 'application/json', 'accept-encoding': 'identity' },
        signal: signal ? AbortSignal.any([signal, limit]) : limit,
        ...(dispatcher ? { dispatcher } : {}),
      });
      if (answer.statusCode !== 200) {
        await answer.body.dump({ limit: 65_536 });
        if (answer.statusCode === 404) return undefined;
        throw refusal('unreachable', `GET ${url} answered ${answer.statusCode}`);
      }
      const encoding = answer.headers['content-encoding'];
      if (encoding !== undefined && encoding !== 'identity') {
        answer.body.destroy();
        throw refusal('unreachable', `GET ${url} answered with content-encoding ${String(encoding).slice(0, 40)}`);
      }
      const parts: Buffer[] = [];
      let size = 0;
      for await (const part of answer.body as AsyncIterable<Buffer>) {
        size += part.length;
        // leaving the loop destroys the body
        if (size > cap) throw refusal('too_large', `GET ${url} answered more than ${cap} bytes`);
        parts.push(part);
      }
      return Buffer.concat(parts);
    } catch (error) {
      if (signal?.aborted) throw signal.reason;
      if (error instanceof CodedError) throw error;
      throw refusal('unreachable', `GET ${url} failed (${errorText(error)})`, error);
    }
  };
  return fromGet(get, base);
};

/** A folder that holds the answers by path: `v1/config.json`, `v1/config/sha256-<hex>`, `v1/roots/<n>.json`. */
export const folderSource = (dir: string): ConfigSource => {
  const get = async (path: string, cap: number): Promise<Uint8Array | undefined> => {
    const file = join(dir, FILES(path));
    try {
      const { size } = await stat(file);
      if (size > cap) throw refusal('too_large', `${file} has more than ${cap} bytes`);
      return await readUpTo(file, cap);
    } catch (error) {
      if (error instanceof CodedError) throw error;
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      throw refusal('unreachable', `${file} cannot be read (${errorText(error)})`, error);
    }
  };
  return fromGet(get, dir);
};

const FILES = (path: string): string =>
  path.startsWith('/v1/config/') ? path.replace('sha256:', 'sha256-') : `${path}.json`;

const readUpTo = async (file: string, cap: number): Promise<Uint8Array> => {
  const handle = await open(file, 'r');
  try {
    const buffer = Buffer.alloc(cap + 1);
    let size = 0;
    for (;;) {
      const { bytesRead } = await handle.read(buffer, size, buffer.length - size);
      if (bytesRead === 0) return Buffer.from(buffer.subarray(0, size));
      size += bytesRead;
      if (size > cap) throw refusal('too_large', `${file} has more than ${cap} bytes`);
    }
  } finally {
    await handle.close();
  }
};

type Get = (path: string, cap: number, signal?: AbortSignal) => Promise<Uint8Array | undefined>;

const fromGet = (get: Get, where: string): ConfigSource => {
  const need = async (path: string, cap: number, signal?: AbortSignal): Promise<Uint8Array> => {
    const bytes = await get(path, cap, signal);
    if (bytes === undefined) throw refusal('unreachable', `${where} has no ${path}`);
    return bytes;
  };
  return {
    config: (signal) => need('/v1/config', MAX_CONFIG_ANSWER_BYTES, signal),
    snapshot: (digest, signal) => need(`/v1/config/${digest}`, MAX_SNAPSHOT_BYTES, signal),
    root: (n, signal) => get(`/v1/roots/${n}`, MAX_ROOT_BYTES, signal),
  };
};

/** Answers held in memory: what a publisher checks before anybody sees it. */
export interface HeldAnswers {
  readonly config: string | Uint8Array;
  readonly snapshots: ReadonlyMap<Sha256, Uint8Array>;
  /** `GET /v1/roots/<n>` by n. */
  readonly roots: ReadonlyMap<number, string>;
}
export const memorySource = (held: HeldAnswers): ConfigSource =>
  fromGet(async (path) => {
    const name = path.slice(path.lastIndexOf('/') + 1);
    if (path === '/v1/config') return Buffer.from(held.config);
    if (path.startsWith('/v1/config/')) return held.snapshots.get(name as Sha256);
    const root = held.roots.get(Number(name));
    return root === undefined ? undefined : Buffer.from(root);
  }, 'memory');
