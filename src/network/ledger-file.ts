import { DatabaseSync } from 'node:sqlite';

/** One row as it stands in the file: columns and text, nothing believed. */
export interface RawReceipt {
  readonly hash: string;
  readonly job: string;
  readonly verdict: string;
  readonly row: string;
}

/** A ledger as a doubter reads it. */
export interface LedgerFile {
  receipts(): Iterable<RawReceipt>;
  /** Text of the offer that a result answers. */
  attempt(jobId: string, attempt: number): string | undefined;
  close(): void;
}

/**
 * Opens `ledger.db` for reading alone: no schema is made, no index is trusted, the service may be running. What is read is
 * one consistent state of it.
 */
export const openLedgerFile = (path: string): LedgerFile => {
  const db = new DatabaseSync(path, { readOnly: true });
  db.exec('pragma busy_timeout = 5000; begin');
  const attempt = db.prepare('select row from attempts where job = ? and attempt = ?');
  return {
    receipts: () =>
      db
        // rowid: an index that was tampered with cannot hide a row
        .prepare('select hash, job, verdict, row from receipts not indexed order by rowid')
        .iterate() as unknown as Iterable<RawReceipt>,
    attempt: (jobId, n) => attempt.get(jobId, n)?.row as string | undefined,
    close: () => db.close(),
  };
};
