import { createHash } from 'node:crypto';
import { z } from 'zod';
import { type Address, decodeUtf8, JsonError, parseStrictJson, ZERO_32, zSha256, zUint } from '../protocol/index.ts';
import { HttpFailure } from './errors.ts';
import type { Store } from './store.ts';

const zRecord = z.object({
  n: zUint.min(1),
  prevHash: zSha256,
  at: zUint,
  kind: z.string().max(64),
  data: z.record(z.string(), z.unknown()),
});
const FIRST = `sha256:${ZERO_32.slice(2)}`;

/**
 * Takes a chunk of a node's execution record: NDJSON lines, each naming the hash of the one before (docs/protocol.md §8).
 * Lines that are held already are skipped; others in their place are a second history, which is never taken for the first. @returns the last n held @throws HttpFailure 409 log_gap with lastN
 */
export const appendLogs = (store: Store, node: Address, body: Uint8Array): number => {
  const end = store.logEnd(node);
  const lines = readLines(body);
  const fresh: string[] = [];
  let { n, hash } = end.n === 0 ? { n: 0, hash: FIRST } : end;
  for (const line of lines) {
    const record = readRecord(line);
    const joins =
      record.n <= end.n ? store.logLine(node, record.n) === line : record.n === n + 1 && record.prevHash === hash;
    if (!joins) throw new HttpFailure('log_gap', 'the chunk does not join what is held', { lastN: end.n });
    if (record.n <= end.n) continue;
    n = record.n;
    hash = `sha256:${createHash('sha256').update(line).digest('hex')}`;
    fresh.push(line);
  }
  if (fresh.length > 0) store.appendLog(node, end.n + 1, fresh, hash);
  return n;
};

const readLines = (body: Uint8Array): string[] => {
  try {
    return decodeUtf8(body)
      .split('\n')
      .filter((line) => line !== '');
  } catch {
    throw new HttpFailure('bad_request', 'the body is not UTF-8');
  }
};

const readRecord = (line: string): z.infer<typeof zRecord> => {
  try {
    const parsed = zRecord.safeParse(parseStrictJson(line));
    if (parsed.success) return parsed.data;
  } catch (error) {
    if (!(error instanceof JsonError)) throw error;
  }
  throw new HttpFailure('bad_request', 'a line is no record');
};
