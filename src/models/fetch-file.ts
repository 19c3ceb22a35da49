import { createHash, type Hash } from 'node:crypto';
import { constants, type FileHandle, open } from 'node:fs/promises';
import type { Dispatcher } from 'undici';
import type { Clock } from '../lib/clock.ts';
import { CodedError, errorText } from '../lib/errors.ts';
import type { ModelFile } from './manifest.ts';
import { checkSourceUrl, type SourcePolicy } from './sources.ts';

export interface FetchPort {
  /** Carries CA bundle, proxy and connection limits. */
  readonly dispatcher: Dispatcher;
  readonly policy: SourcePolicy;
  readonly clock: Clock;
  readonly signal?: AbortSignal;
  /** A window of this length with fewer than `stallBytes` ends the attempt: a drip is a stall. */
  readonly stallMs: number;
  readonly stallBytes: number;
  /** Bytes of this file that lie on the disk now; falls when a part is thrown away. */
  readonly onBytes?: (bytes: number) => void;
}

const REDIRECTS = [301, 302, 303, 307, 308];
const MAX_REDIRECTS = 5;

/** Follows redirects by hand, because each host on the way is judged before it is asked. */
const get = async (url: URL, from: number, port: FetchPort, signal: AbortSignal): Promise<Dispatcher.ResponseData> => {
  let at = url;
  for (let hop = 0; hop <= MAX_REDIRECTS; hop++) {
    checkSourceUrl(at, port.policy);
    const answer = await port.dispatcher.request({
      origin: at.origin,
      path: at.pathname + at.search,
      method: 'GET',
      headers: { 'accept-encoding': 'identity', ...(from > 0 ? { range: `bytes=${from}-` } : {}) },
      signal,
      headersTimeout: 0,
      bodyTimeout: 0,
    });
    if (!REDIRECTS.includes(answer.statusCode)) return answer;
    answer.body.on('error', () => {}).destroy();
    const location = answer.headers.location;
    if (typeof location !== 'string' || !URL.canParse(location, at))
      throw new CodedError('source_failed', `${at.host} redirects to nowhere`);
    at = new URL(location, at);
  }
  throw new CodedError('source_failed', `${url.host} redirects more than ${MAX_REDIRECTS} times`);
};

/** Hashes what lies there already, so that a download goes on where it stopped. */
const hashPrefix = async (file: FileHandle, bytes: number, signal?: AbortSignal): Promise<Hash> => {
  const hash = createHash('sha256');
  const buffer = Buffer.allocUnsafe(256 << 10);
  for (let at = 0; at < bytes; ) {
    signal?.throwIfAborted();
    const { bytesRead } = await file.read(buffer, 0, Math.min(buffer.length, bytes - at), at);
    if (bytesRead === 0) throw new CodedError('state_unwritable', 'a staged file became shorter');
    hash.update(buffer.subarray(0, bytesRead));
    at += bytesRead;
  }
  return hash;
};

/** Aborts when a window brings too little. Ends with `stop`. */
const watchStall = (
  port: FetchPort,
  received: () => number,
  strike: (reason: Error) => void,
  stop: AbortSignal,
): void => {
  const watch = async (): Promise<void> => {
    for (let before = received(); ; before = received()) {
      await port.clock.sleep(port.stallMs, stop);
      if (received() - before < port.stallBytes)
        return strike(new CodedError('source_stalled', `fewer than ${port.stallBytes} bytes in ${port.stallMs} ms`));
    }
  };
  watch().catch(() => {}); // stopped
};

/**
 * Brings one file to `path`, complete, hashed and fsynced. What is there already is resumed by range.
 * One attempt at one source; what came stays for the next attempt, unless it can never become right: more bytes than
 * signed or another hash discards it.
 * @throws CodedError `digest_mismatch`, `source_failed`, `source_stalled`, `untrusted_source`, `insecure_source`; the signal's reason
 */
export const fetchFile = async (url: URL, file: ModelFile, path: string, port: FetchPort): Promise<void> => {
  const handle = await open(path, constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW, 0o600);
  const stop = new AbortController();
  const attempt = new AbortController();
  const relay = (): void => attempt.abort(port.signal?.reason);
  port.signal?.addEventListener('abort', relay, { once: true });
  try {
    port.signal?.throwIfAborted();
    let size = (await handle.stat()).size;
    const discard = async (why: string): Promise<never> => {
      await handle.truncate(0);
      port.onBytes?.(0);
      throw new CodedError('digest_mismatch', `${JSON.stringify(file.path)} from ${url.host} ${why}`);
    };
    if (size > file.size) {
      await handle.truncate(0);
      size = 0;
    }
    let hash = await hashPrefix(handle, size, port.signal);
    port.onBytes?.(size);
    if (size < file.size) {
      let received = 0;
      watchStall(
        port,
        () => received,
        (reason) => attempt.abort(reason),
        stop.signal,
      );
      const answer = await get(url, size, port, attempt.signal);
      const body = answer.body.on('error', () => {});
      const range = /^bytes (\d+)-/.exec(String(answer.headers['content-range'] ?? ''));
      if (answer.statusCode === 200 && size > 0) {
        // The source does not know ranges: from the beginning.
        await handle.truncate(0);
        size = 0;
        hash = createHash('sha256');
      } else if (!(answer.statusCode === 200 || (answer.statusCode === 206 && Number(range?.[1]) === size))) {
        body.destroy();
        throw new CodedError(
          'source_failed',
          `${url.host} answered ${answer.statusCode} for ${JSON.stringify(file.path)}`,
        );
      }
      if (!['', 'identity'].includes(String(answer.headers['content-encoding'] ?? ''))) {
        body.destroy();
        throw new CodedError('source_failed', `${url.host} encodes the content`);
      }
      for await (const part of body as AsyncIterable<Buffer>) {
        if (size + part.length > file.size)
          return await discard(`is longer than the ${file.size} bytes that are signed`);
        await handle.write(part, 0, part.length, size);
        hash.update(part);
        size += part.length;
        received += part.length;
        port.onBytes?.(size);
      }
      if (size < file.size)
        throw new CodedError('source_failed', `${url.host} ended after ${size} of ${file.size} bytes`);
    }
    if (hash.digest('hex') !== file.sha256) return await discard('has another sha256 than the one that is signed');
    await handle.sync();
  } catch (error) {
    if (port.signal?.aborted) throw port.signal.reason;
    if (attempt.signal.aborted) throw attempt.signal.reason;
    if (error instanceof CodedError) throw error;
    const code = (error as NodeJS.ErrnoException).code;
    if (code === 'ENOSPC' || code === 'EDQUOT' || code === 'EIO' || code === 'EROFS')
      throw new CodedError(
        code === 'ENOSPC' || code === 'EDQUOT' ? 'insufficient_disk' : 'state_unwritable',
        `writing ${JSON.stringify(file.path)}`,
        { cause: error },
      );
    throw new CodedError('source_failed', `${url.host}: ${errorText(error)}`.slice(0, 256), { cause: error });
  } finally {
    stop.abort();
    attempt.abort();
    port.signal?.removeEventListener('abort', relay);
    await handle.close();
  }
};
