import { createHash } from 'node:crypto';
import { appendFileSync, copyFileSync, existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { z } from 'zod';

const zAttempt = { jobId: z.string(), attempt: z.number().int().min(1) };

/** One line of `resultity-network ledger export`, as far as it is judged. */
const zLedger = z.object({
  result: z.object({ ...zAttempt, node: z.string(), requestHash: z.string(), outputHash: z.string() }),
  resultSig: z.string(),
  receipt: z.object({ receipt: z.object({ ...zAttempt, verdict: z.string() }) }),
  tokens: z.object({ promptBilled: z.number(), completionBilled: z.number() }),
});
/** One line of the stand-in's call log (test/standin). Jobs carry `jobId.attempt` as request; test inferences carry none. */
const zCall = z.object({ at: z.number(), path: z.string(), request: z.string().optional(), end: z.string() });
/** One row of the agent's journal as it stood at `at`. Only the last snapshot of a run is whole; others hold open rows. */
const zJournal = z.object({
  at: z.number(),
  ...zAttempt,
  state: z.enum(['accepted', 'result', 'receipted', 'ended']),
  requestHash: z.string(),
  note: z.string(),
  /** sha256 of the signed bytes, and the signature and output hash in them; only in state `result`. */
  payload: z.object({ sha256: z.string(), sig: z.string(), outputHash: z.string() }).nullable(),
});
/** What one caller saw of one request. */
const zClient = z.object({
  id: z.number(),
  stream: z.boolean(),
  at: z.number(),
  endedAt: z.number(),
  outcome: z.enum([
    'complete', // the whole body, or a stream up to [DONE]
    'error', // an HTTP error, an error event in the stream, or a connection that was refused
    'left', // the caller went away by itself
    'cut', // the connection broke under an unfinished answer: the HTTP client raised an error, nobody told why
    'truncated', // an end that looks right and is not: no [DONE], no whole body, no error
    'hung', // no end within the caller's patience
  ]),
  /** Of an error that the service told. */
  code: z.string().optional(),
  /** Of an error that the caller's own HTTP client raised. */
  raised: z.string().optional(),
  /** Lines of a stream that had come. */
  lines: z.number(),
  jobId: z.string().optional(),
  /** The node that the answer came from, as the service says. */
  node: z.string().optional(),
  outputHash: z.string().optional(),
});
/** One forced disconnect. Times are the driver's wall clock; durations are monotonic. */
const zFault = z.object({
  n: z.number(),
  kind: z.string(),
  /** The node that was struck; every one, where the service was. */
  node: z.string(),
  at: z.number(),
  healedAt: z.number(),
  /** Kills of the service: when SIGKILL was sent (as `diedAt` where it is not known), and when its process was seen to be gone. */
  killedAt: z.number().optional(),
  diedAt: z.number().optional(),
  /** The write at which a program killed itself. */
  point: z.string().optional(),
  /** Half-open with one end left to its own liveness: which, and how long it took; null when it did not in 45 s. */
  silent: z.enum(['node', 'service']).optional(),
  gaveUpMs: z.number().nullable().optional(),
  /** From the healing until node (or all nodes) and service had a session and offered work again; null: not in the run. */
  recoveredMs: z.number().nullable(),
  /** Jobs at the engines, and callers with a stream, when it struck: of the whole site, and of the node that was struck. */
  open: z.number(),
  streaming: z.number(),
  atNode: z.object({ open: z.number(), streaming: z.number() }),
  /** Jobs in the journals that were looked at when it struck. */
  phases: z.object({ accepted: z.number(), result: z.number() }),
});

export type LedgerRecord = z.infer<typeof zLedger>;
export type CallRecord = z.infer<typeof zCall>;
export type JournalRow = z.infer<typeof zJournal>;
export type ClientRecord = z.infer<typeof zClient>;
export type FaultRecord = z.infer<typeof zFault>;

/** Everything the checker judges; nothing of it comes from the checked programs' memory. */
export interface History {
  readonly ledger: readonly LedgerRecord[];
  readonly calls: readonly CallRecord[];
  readonly journal: readonly JournalRow[];
  readonly clients: readonly ClientRecord[];
  readonly faults: readonly FaultRecord[];
}

const FILES = { ledger: zLedger, calls: zCall, journal: zJournal, clients: zClient, faults: zFault } as const;

/** Reads the five NDJSON files of a folder. A missing file is an empty record; a line of another form throws. */
export const readHistory = (dir: string): History => {
  const read = <T>(name: string, schema: z.ZodType<T>): T[] => {
    const path = join(dir, `${name}.ndjson`);
    if (!existsSync(path)) return [];
    const lines = readFileSync(path, 'utf8').split('\n').filter(Boolean);
    return lines.map((line) => schema.parse(JSON.parse(line)));
  };
  return {
    ledger: read('ledger', FILES.ledger),
    calls: read('calls', FILES.calls),
    journal: read('journal', FILES.journal),
    clients: read('clients', FILES.clients),
    faults: read('faults', FILES.faults),
  };
};

/** Adds lines to a file of records, so that a run which ends at any moment leaves what it saw. */
export const addRecords = (dir: string, name: keyof typeof FILES, records: readonly object[]): void =>
  appendFileSync(join(dir, `${name}.ndjson`), records.map((r) => `${JSON.stringify(r)}\n`).join(''));

/**
 * The agent's journal, read from a copy of its files: the agent holds them with an exclusive lock, and must not write
 * meanwhile (it is stopped or dead). `open` = only what is neither receipted nor ended.
 */
export const readJournal = (stateDir: string, rows: 'open' | 'all', at: number): JournalRow[] => {
  const copy = mkdtempSync(join(tmpdir(), 'resultity-journal-'));
  try {
    for (const name of ['journal.db', 'journal.db-wal'])
      if (existsSync(join(stateDir, name))) copyFileSync(join(stateDir, name), join(copy, name));
    const path = join(copy, 'journal.db');
    if (!existsSync(path)) return [];
    const db = new DatabaseSync(path);
    try {
      const which = rows === 'open' ? "WHERE state IN ('accepted', 'result')" : '';
      return db
        .prepare(`SELECT jobId, attempt, state, requestHash, note, payload FROM job ${which}`)
        .all()
        .map((row) => zJournal.parse({ ...row, at, payload: signedIn(row.payload) }));
    } finally {
      db.close();
    }
  } finally {
    rmSync(copy, { recursive: true, force: true });
  }
};

const zPayload = z.object({ sig: z.string(), result: z.object({ outputHash: z.string() }) });
const signedIn = (payload: unknown): JournalRow['payload'] => {
  if (typeof payload !== 'string') return null;
  const { sig, result } = zPayload.parse(JSON.parse(payload));
  return { sha256: createHash('sha256').update(payload).digest('hex'), sig, outputHash: result.outputHash };
};
