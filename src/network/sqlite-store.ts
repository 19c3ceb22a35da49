import { DatabaseSync, type SQLInputValue, type StatementSync } from 'node:sqlite';
import type { Address, JobReceiptMessage, ReceiptPair } from '../protocol/index.ts';
import { LogSync, logFile, type Waiter } from './log-sync.ts';
import type { AttemptRow, LedgerEntry, NodeRow, Store } from './store.ts';

const SCHEMA = `
create table if not exists nodes (node text primary key, row text not null) strict;
create table if not exists binds (owner text not null, nonce text not null, primary key (owner, nonce)) strict;
create table if not exists attempts (job text not null, attempt integer not null, row text not null, primary key (job, attempt)) strict;
create table if not exists passed_on (job text primary key, lines integer not null) strict;
create table if not exists receipts (
  hash text primary key, job text not null, verdict text not null, key_id text, received_at integer not null, row text not null) strict;
create index if not exists receipts_by_job on receipts (job);
create unique index if not exists one_accepted on receipts (job) where verdict = 'accepted';
create table if not exists log_ends (node text primary key, n integer not null, hash text not null) strict;
create table if not exists logs (node text not null, n integer not null, line text not null, primary key (node, n)) strict;
`;

/** 16 MiB of log before it is written into the file proper, which takes two fsyncs of the event loop's time. */
const CHECKPOINT_PAGES = 4_096;

/** Writes of one turn of the event loop that wait for their common commit. */
interface Group {
  readonly waiting: Waiter[];
}

/**
 * The store in one SQLite file; `:memory:` for tests. An fsync costs more than all else that is done for a job, and would
 * stop the event loop for as long as the disk takes. So what is written in one turn is one commit, which goes to the log
 * without an fsync (WAL, synchronous=NORMAL: after a power cut a whole commit is there or it is not), and the log is synced
 * by a thread: while one fsync runs, further commits gather for the next. `durable` waits for that fsync.
 */
export class SqliteStore implements Store {
  readonly #db: DatabaseSync;
  readonly #statements = new Map<string, StatementSync>();
  /** Offers not yet written, by job. */
  readonly #noted = new Map<string, AttemptRow[]>();
  /** Lines passed on that are not yet written, by job. */
  readonly #passedOn = new Map<string, number>();
  readonly #log: LogSync;
  #group: Group | undefined;
  #turn: NodeJS.Immediate | undefined;

  /** @param onFault called when the disk failed: from then on nothing is kept, and the process should be started anew */
  constructor(path: string, onFault?: (error: unknown) => void) {
    this.#db = new DatabaseSync(path);
    this.#db.exec('pragma journal_mode = wal; pragma synchronous = full; pragma busy_timeout = 5000;');
    this.#db.exec(SCHEMA);
    this.#db.exec(`pragma synchronous = normal; pragma wal_autocheckpoint = ${CHECKPOINT_PAGES};`);
    this.#log = new LogSync(path === ':memory:' ? undefined : logFile(`${path}-wal`), onFault);
  }

  nodes(): NodeRow[] {
    return this.#all('select row from nodes').map(readRow<NodeRow>);
  }
  saveNode(row: NodeRow): void {
    this.saveNodeSoon(row);
    this.#commitNow();
  }
  saveNodeSoon(row: NodeRow): void {
    this.#write(() => this.#run('insert or replace into nodes values (?, ?)', row.node, JSON.stringify(row)));
  }
  useBind(owner: string, nonce: string): boolean {
    const isNew = this.#write(() => this.#run('insert or ignore into binds values (?, ?)', owner, nonce) === 1);
    this.#commitNow();
    return isNew;
  }

  noteAttempt(row: AttemptRow): void {
    const rows = this.#noted.get(row.jobId);
    if (rows) rows.push(row);
    else this.#noted.set(row.jobId, [row]);
    this.#schedule();
  }
  attempt(jobId: string, attempt: number): AttemptRow | undefined {
    const noted = this.#noted.get(jobId)?.find((r) => r.attempt === attempt);
    if (noted) return noted;
    const found = this.#one('select row from attempts where job = ? and attempt = ?', jobId, attempt);
    return found && readRow<AttemptRow>(found);
  }
  latestAttempt(jobId: string): number | undefined {
    const noted = (this.#noted.get(jobId) ?? []).map((r) => r.attempt);
    const found = this.#one('select max(attempt) as n from attempts where job = ?', jobId)?.n as number | null;
    const all = found === null || found === undefined ? noted : [...noted, found];
    return all.length > 0 ? Math.max(...all) : undefined;
  }
  notePassedOn(jobId: string, lines: number): void {
    this.#passedOn.set(jobId, lines);
    this.#schedule();
  }
  passedOn(jobId: string): number {
    const noted = this.#passedOn.get(jobId);
    return noted ?? Number(this.#one('select lines from passed_on where job = ?', jobId)?.lines ?? 0);
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
    this.#write(() =>
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
  durable(): Promise<void> {
    const group = this.#group;
    return new Promise((done, failed) => {
      if (group) group.waiting.push({ done, failed });
      else this.#log.wait([{ done, failed }]);
    });
  }
  receipts(jobId: string, keyId: string): readonly ReceiptPair[] | undefined {
    // nobody is shown what is not durable
    this.#commitNow();
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
  logLine(node: Address, n: number): string | undefined {
    return this.#one('select line from logs where node = ? and n = ?', node, n)?.line as string | undefined;
  }
  appendLog(node: Address, from: number, lines: readonly string[], hash: string): void {
    this.#write(() => {
      lines.forEach((line, i) => {
        this.#run('insert into logs values (?, ?, ?)', node, from + i, line);
      });
      this.#run('insert or replace into log_ends values (?, ?, ?)', node, from + lines.length - 1, hash);
    });
    this.#commitNow();
  }

  close(): void {
    this.#settle();
    if (this.#turn) clearImmediate(this.#turn);
    this.#log.close();
    this.#db.close();
  }

  /** Runs `work` in the group of this turn. What a failing statement did is undone, the rest of the group stands. */
  #write<T>(work: () => T): T {
    this.#log.check();
    if (!this.#group) {
      this.#db.exec('begin immediate');
      this.#group = { waiting: [] };
      this.#schedule();
    }
    return work();
  }
  /** Writes the open group to the log, with what was noted before it. @throws when nothing of it was kept */
  #commit(): void {
    const hadGroup = this.#group !== undefined;
    const waiting = this.#group?.waiting ?? [];
    if (!this.#group && this.#noted.size === 0 && this.#passedOn.size === 0) return;
    try {
      if (!this.#group) this.#db.exec('begin immediate');
      this.#group = undefined;
      this.#writeNoted();
      this.#db.exec('commit');
      this.#noted.clear();
      this.#passedOn.clear();
    } catch (error) {
      // a full disk may have rolled back by itself
      if (this.#db.isTransaction) this.#db.exec('rollback');
      for (const w of waiting) w.failed(error);
      throw error;
    }
    this.#log.committed();
    // what was more than offers is synced soon, also when nobody waits for it
    if (hadGroup) this.#log.wait(waiting);
  }
  /** The same, and durable when it returns. */
  #commitNow(): void {
    this.#commit();
    this.#log.syncNow();
  }
  #schedule(): void {
    this.#turn ??= setImmediate(() => {
      this.#turn = undefined;
      this.#settle();
    });
  }
  /** The end of a turn. */
  #settle(): void {
    try {
      this.#commit();
    } catch {
      // who waits was told; offers are kept for the next write
    }
  }
  #writeNoted(): void {
    for (const rows of this.#noted.values())
      for (const row of rows)
        this.#run('insert or ignore into attempts values (?, ?, ?)', row.jobId, row.attempt, JSON.stringify(row));
    for (const [job, lines] of this.#passedOn) this.#run('insert or replace into passed_on values (?, ?)', job, lines);
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
