import { createHash, type Hash } from 'node:crypto';
import { constants, type FileHandle, open } from 'node:fs/promises';
import type { Dispatcher } from 'undici';
import type { Clock } from '../lib/clock.ts';
import { CodedError, errorText } from '../lib/errors.ts';
import type { ModelFile } from './manifest.ts';
import type { Pace } from './rate-limit.ts';
import { getFrom, type SourceCredentials } from './source-request.ts';
import type { SourcePolicy } from './sources.ts';

export interface FetchPort {
  /** Carries CA bundle, proxy and connection limits. */
  readonly dispatcher: Dispatcher;
  readonly policy: SourcePolicy;
  readonly credentials?: SourceCredentials | undefined;
  readonly clock: Clock;
  readonly signal?: AbortSignal;
  readonly pace: Pace;
  /** A window of this length with fewer than `stallBytes` ends the attempt: a drip is a stall. */
  readonly stallMs: number;
  readonly stallBytes: number;
  /** Entity tags by URL, of the bytes that lie on the disk. */
  readonly tags: Map<string, string>;
  /** Bytes of this file that lie on the disk now; falls when a part is thrown away. */
  readonly onBytes?: (bytes: number) => void;
}

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

/** Strikes when a window brings too little, unless our own limit held it back. Ends with `stop`. */
const watchStall = (
  port: FetchPort,
  seen: { bytes: number; held: boolean },
  strike: (reason: Error) => void,
  stop: AbortSignal,
): void => {
  const watch = async (): Promise<void> => {
    for (let before = seen.bytes; ; before = seen.bytes) {
      seen.held = false;
      await port.clock.sleep(port.stallMs, stop);
      if (!seen.held && seen.bytes - before < port.stallBytes)
        return strike(new CodedError('source_stalled', `fewer than ${port.stallBytes} bytes in ${port.stallMs} ms`));
    }
  };
  watch().catch(() => {}); // stopped
};

type Start = { readonly from: number } | { readonly refused: CodedError };

/** Where the answer's body begins in the file, or why it is of no use. A size that cannot be right is seen before the bytes. */
const startOf = (answer: Dispatcher.ResponseData, asked: number, file: ModelFile, host: string): Start => {
  const name = JSON.stringify(file.path);
  const no = (code: string, what: string): Start => ({ refused: new CodedError(code, `${host} ${what}`) });
  if (!['', 'identity'].includes(String(answer.headers['content-encoding'] ?? '')))
    return no('source_failed', 'encodes the content');
  const length = Number(answer.headers['content-length'] ?? Number.NaN);
  if (answer.statusCode === 200)
    return length > file.size
      ? no('digest_mismatch', `has ${name} longer than the ${file.size} bytes that are signed`)
      : { from: 0 };
  const range = /^bytes (\d+)-\d+\/(\d+|\*)$/.exec(String(answer.headers['content-range'] ?? ''));
  if (answer.statusCode !== 206 || Number(range?.[1]) !== asked)
    return no('source_failed', `answered ${answer.statusCode} for ${name}`);
  if (range?.[2] !== '*' && Number(range?.[2]) !== file.size)
    return no('digest_mismatch', `has ${name} with ${range?.[2]} bytes, ${file.size} are signed`);
  return { from: asked };
};

/** An entity tag that If-Range may carry: a strong one. */
const strongTag = (answer: Dispatcher.ResponseData): string | undefined => {
  const { etag } = answer.headers;
  return typeof etag === 'string' && etag.startsWith('"') ? etag : undefined;
};

/**
 * Brings one file to `path`, complete, hashed and fsynced. What is there already is resumed by range, with If-Range where the
 * source gave a strong tag in this download, so that a file that changed in between comes from its beginning.
 * One attempt at one source; what came stays for the next attempt, unless it can never become right: more bytes than
 * signed or another hash discards it.
 * @throws CodedError `digest_mismatch`, `source_failed`, `source_stalled`, `untrusted_source`, `insecure_source`,
 *   `insufficient_disk`, `state_unwritable`; the signal's reason
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
      port.tags.delete(url.href);
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
      const seen = { bytes: 0, held: false };
      watchStall(port, seen, (reason) => attempt.abort(reason), stop.signal);
      const { dispatcher, policy, credentials } = port;
      const request = { dispatcher, policy, credentials, from: size, signal: attempt.signal };
      const answer = await getFrom(url, { ...request, tag: port.tags.get(url.href) });
      const body = answer.body.on('error', () => {});
      const start = startOf(answer, size, file, url.host);
      if ('refused' in start) {
        body.destroy();
        throw start.refused;
      }
      if (start.from < size) {
        // the source knows no ranges, or has another file now: from the beginning
        await handle.truncate(0);
        hash = createHash('sha256');
        size = 0;
      }
      const tag = strongTag(answer);
      if (tag) port.tags.set(url.href, tag);
      else port.tags.delete(url.href);
      for await (const part of body as AsyncIterable<Buffer>) {
        if (size + part.length > file.size)
          return await discard(`is longer than the ${file.size} bytes that are signed`);
        const written = handle.write(part, 0, part.length, size);
        hash.update(part); // while the disk works
        // a rest that was not taken would leave a hole that no hash of the stream can see
        if ((await written).bytesWritten !== part.length)
          throw new CodedError('insufficient_disk', `the disk took only a part of ${JSON.stringify(file.path)}`);
        size += part.length;
        seen.bytes += part.length;
        port.onBytes?.(size);
        if (await port.pace.take(part.length, attempt.signal)) seen.held = true;
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
    throw diskError(error, file) ?? new CodedError('source_failed', sourceText(url, error), { cause: error });
  } finally {
    stop.abort();
    attempt.abort();
    port.signal?.removeEventListener('abort', relay);
    await handle.close();
  }
};

const sourceText = (url: URL, error: unknown): string => `${url.host}: ${errorText(error)}`.slice(0, 256);

/** A fault of the disk is nobody's source. */
const diskError = (cause: unknown, file: ModelFile): CodedError | undefined => {
  const code = (cause as NodeJS.ErrnoException).code ?? '';
  const what = `writing ${JSON.stringify(file.path)}`;
  if (code === 'ENOSPC' || code === 'EDQUOT') return new CodedError('insufficient_disk', what, { cause });
  return code === 'EIO' || code === 'EROFS' ? new CodedError('state_unwritable', what, { cause }) : undefined;
};
