import { DatabaseSync, type SQLInputValue, type StatementSync } from 'node:sqlite';
import type { Address, JobReceiptMessage, ReceiptPair } from '../protocol/index.ts';
import type { AttemptRow, LedgerEntry, NodeRow, Store } from './store.ts';

const SCHEMA = `
create table if not exists nodes (node text primary key, row text not null) strict;
create table if not exists binds (owner text not null, nonce text not null, primary key (owner, nonce)) strict;
create table if not exists attempts (job text not null, attempt integer not null, row text not null, primary key (job, attempt)) strict;
create table if not exists receipts (
  hash text primary key, job text not null, verdict text not null, key_id text, received_at integer not null, row text not null) strict;
create index if not exists receipts_by_job on receipts (job);
create unique index if not exists one_accepted on receipts (job) where verdict = 'accepted';
create table if not exists log_ends (node text primary key, n integer not null, hash text not null) strict;
create table if not exists logs (node text not null, n integer not null, line text not null, primary key (node, n)) strict;
`;

/** The store in one SQLite file; `:memory:` for tests. WAL with synchronous=FULL: a commit returns after its fsync. */
export class SqliteStore implements Store {
  readonly #db: DatabaseSync;
  readonly #statements = new Map<string, StatementSync>();
  #noted: AttemptRow[] = [];
  #flush: NodeJS.Immediate | undefined;

  constructor(path: string) {
    this.#db = new DatabaseSync(path);
    this.#db.exec('pragma journal_mode = wal; pragma synchronous = full; pragma busy_timeout = 5000;');
    this.#db.exec(SCHEMA);
  }

  nodes(): NodeRow[] {
    return this.#all('select row from nodes').map(readRow<NodeRow>);
  }
  saveNode(row: NodeRow): void {
    this.#run('insert or replace into nodes values (?, ?)', row.node, JSON.stringify(row));
  }
  useBind(owner: string, nonce: string): boolean {
    return this.#run('insert or ignore into binds values (?, ?)', owner, nonce) === 1;
  }

  noteAttempt(row: AttemptRow): void {
    this.#noted.push(row);
    // one transaction for all offers of this turn of the loop
    this.#flush ??= setImmediate(() => {
      try {
        this.#transaction(() => {});
      } catch {
        // a full disk: kept for the next durable write, which tells who asked for it
      }
    });
  }
  attempt(jobId: string, attempt: number): AttemptRow | undefined {
    const noted = this.#noted.find((r) => r.jobId === jobId && r.attempt === attempt);
    if (noted) return noted;
    const found = this.#one('select row from attempts where job = ? and attempt = ?', jobId, attempt);
    return found && readRow<AttemptRow>(found);
  }
  latestAttempt(jobId: string): number | undefined {
    const noted = this.#noted.filter((r) => r.jobId === jobId).map((r) => r.attempt);
    const found = this.#one('select max(attempt) as n from attempts where job = ?', jobId)?.n as number | null;
    const all = found === null || found === undefined ? noted : [...noted, found];
    return all.length > 0 ? Math.max(...all) : undefined;
  }

  receiptOf(resultHash: string): JobReceiptMessage | undefined {
    const found = this.#one('select row from receipts where hash = ?', resultHash);
    return found && readRow<LedgerEntry>(found).receipt;
  }
  isAccepted(jobId: string): boolean {
    return this.#one("select 1 as n from receipts where job = ? and verdict = 'accepted'", jobId) !== undefined;
  }
  saveReceipt(entry: LedgerEntry): void {
    const { jobId, verdict, receivedAt } = entry.receipt.receipt;
    this.#transaction(() =>
      this.#run(
        'insert into receipts values (?, ?, ?, ?, ?, ?)',
        entry.resultHash,
        jobId,
        verdict,
        entry.keyId,
        receivedAt,
        JSON.stringify(entry),
      ),
    );
  }
  receipts(jobId: string, keyId: string): readonly ReceiptPair[] | undefined {
    const rows = this.#all('select row from receipts where job = ? order by received_at', jobId).map(
      readRow<LedgerEntry>,
    );
    // a rejected result of a made-up job has no caller, and so nobody to show it to
    if (!rows.some((r) => r.keyId === keyId)) return undefined;
    return rows.map(({ result, resultSig, receipt }) => ({ result, resultSig, ...receipt }));
  }
  *ledger(): Iterable<LedgerEntry> {
    for (const row of this.#statement('select row from receipts order by received_at, hash').iterate())
      yield readRow<LedgerEntry>(row);
  }

  logEnd(node: Address): { n: number; hash: string } {
    const found = this.#one('select n, hash from log_ends where node = ?', node);
    return found ? { n: found.n as number, hash: found.hash as string } : { n: 0, hash: '' };
  }
  appendLog(node: Address, from: number, lines: readonly string[], hash: string): void {
    this.#transaction(() => {
      lines.forEach((line, i) => {
        this.#run('insert into logs values (?, ?, ?)', node, from + i, line);
      });
      this.#run('insert or replace into log_ends values (?, ?, ?)', node, from + lines.length - 1, hash);
    });
  }

  close(): void {
    this.#transaction(() => {});
    this.#db.close();
  }

  /** Runs `work` and what was noted before it in one commit. */
  #transaction(work: () => void): void {
    if (this.#flush) clearImmediate(this.#flush);
    this.#flush = undefined;
    const noted = this.#noted;
    this.#noted = [];
    this.#db.exec('begin immediate');
    try {
      for (const row of noted)
        this.#run('insert or ignore into attempts values (?, ?, ?)', row.jobId, row.attempt, JSON.stringify(row));
      work();
      this.#db.exec('commit');
    } catch (error) {
      this.#noted = [...noted, ...this.#noted];
      this.#db.exec('rollback');
      throw error;
    }
  }

  #statement(sql: string): StatementSync {
    const known = this.#statements.get(sql);
    if (known) return known;
    const made = this.#db.prepare(sql);
    this.#statements.set(sql, made);
    return made;
  }
  #run(sql: string, ...values: SQLInputValue[]): number {
    return Number(this.#statement(sql).run(...values).changes);
  }
  #one(sql: string, ...values: SQLInputValue[]): Record<string, unknown> | undefined {
    return this.#statement(sql).get(...values);
  }
  #all(sql: string, ...values: SQLInputValue[]): Record<string, unknown>[] {
    return this.#statement(sql).all(...values);
  }
}

const readRow = <T>(row: Record<string, unknown>): T => JSON.parse(row.row as string) as T;
