import { createHash } from 'node:crypto';
import { statfsSync } from 'node:fs';
import { dirname } from 'node:path';
import { DatabaseSync, type StatementSync } from 'node:sqlite';
import { CodedError } from '../lib/errors.ts';
import type { Sha256, Verdict } from '../protocol/index.ts';

export type JobKey = { readonly jobId: string; readonly attempt: number };

/** What the journal holds of one attempt. `ended` = lost, cancelled or aborted: it never comes back. */
export interface JournalRecord extends JobKey {
  readonly state: 'accepted' | 'result' | 'receipted' | 'ended';
  /** Server time, ms. */
  readonly deadline: number;
  readonly requestHash: Sha256;
  /** Lines of a streamed output; 0 otherwise. */
  readonly lines: number;
  /** The signed job.result payload, exactly as sent; null in the other states. */
  readonly payload: string | null;
  /** Verdict of a receipt, or why the attempt ended. */
  readonly note: string;
}

/**
 * The promises of the agent (docs/protocol.md §5). Every method returns only after the disk has it.
 * Every method throws CodedError `journal_failed` where the disk or the file fails, `journal_full` where there is no room.
 */
export interface Journal {
  /** The highest attempt known of a job. */
  highest(jobId: string): JournalRecord | undefined;
  get(key: JobKey): JournalRecord | undefined;
  /** @throws CodedError `journal_full` (also when room for the result is not sure), `journal_failed` */
  accept(record: JobKey & { deadline: number; requestHash: Sha256 }): void;
  result(key: JobKey, payload: string, lines: number): void;
  receipted(key: JobKey, verdict: Verdict): void;
  ended(key: JobKey, reason: string): void;
  /** Attempts accepted and never finished: after a start, what a crash left. */
  accepted(): JournalRecord[];
  /** Results without a receipt; `payload` is left out (null), as all of them together may be larger than memory. */
  unreceipted(): JournalRecord[];
  /** Forgets what is settled or unwanted 24 h after its deadline, and gives the room back. Returns how many records remain. */
  compact(now: number): number;
  count(): number;
  close(): void;
}

const DAY = 86_400_000;
const SQLITE_BUSY = 5;
const SQLITE_FULL = 13;
/**
 * Free room below which no job is accepted: so that results of jobs accepted before (16 MiB at most each, twice on the
 * disk while the WAL holds them) and the ends of all others can still be written.
 */
export const JOURNAL_RESERVE = 64 << 20;

/** SQLite's primary result code, without what extends it. */
const primary = (cause: unknown): number => ((cause as { errcode?: number }).errcode ?? 0) & 0xff;

const freeBytes = (folder: string): number => {
  const { bavail, bsize } = statfsSync(folder);
  return bavail * bsize;
};

/** The checksum covers every column: a flipped bit is found when the record is read, never taken for a promise. */
const checksum = (r: JournalRecord): string =>
  // the payload by itself: escaping 16 MiB into JSON once more would hold everything up
  createHash('sha256')
    .update(
      JSON.stringify([r.jobId, r.attempt, r.state, r.deadline, r.requestHash, r.lines, r.payload === null, r.note]),
    )
    .update(r.payload ?? '')
    .digest('hex');

/**
 * The journal in one SQLite file, WAL with synchronous=FULL: one fsync before each promise, and a torn tail of the WAL is
 * cut off by its own checksums. One process holds it (a lock of the kernel, gone with its process), so that two agents never
 * share a state folder. The WAL is cut back to 4 MiB, and what compaction frees goes back to the disk.
 */
export class SqliteJournal implements Journal {
  readonly #db: DatabaseSync;
  readonly #put: StatementSync;
  readonly #one: StatementSync;
  readonly #top: StatementSync;
  readonly #byState: StatementSync;
  readonly #onCorrupt: (key: JobKey) => void;
  readonly #room: () => number;

  /**
   * @param room bytes free for the journal; by default those of its file system
   * @throws CodedError `journal_locked` while another process holds the file, `journal_failed` when it is no journal
   */
  constructor(
    path: string,
    onCorrupt: (key: JobKey) => void = () => {},
    room: () => number = () => freeBytes(dirname(path)),
  ) {
    this.#onCorrupt = onCorrupt;
    this.#room = room;
    let db: DatabaseSync | undefined;
    try {
      db = new DatabaseSync(path);
      db.exec(`PRAGMA locking_mode=EXCLUSIVE; PRAGMA auto_vacuum=INCREMENTAL; PRAGMA journal_mode=WAL;
        PRAGMA synchronous=FULL; PRAGMA journal_size_limit=${4 << 20};
        CREATE TABLE IF NOT EXISTS job (
          jobId TEXT NOT NULL, attempt INTEGER NOT NULL, state TEXT NOT NULL, deadline INTEGER NOT NULL,
          requestHash TEXT NOT NULL, lines INTEGER NOT NULL, payload TEXT, note TEXT NOT NULL, checksum TEXT NOT NULL,
          PRIMARY KEY (jobId, attempt)) STRICT, WITHOUT ROWID;
        CREATE INDEX IF NOT EXISTS job_state ON job (state);`);
      this.#db = db;
    } catch (cause) {
      db?.close();
      if (primary(cause) === SQLITE_BUSY)
        throw new CodedError(
          'journal_locked',
          `${path} is held by another process: two agents cannot use one state folder; stop the other one`,
          { cause },
        );
      throw new CodedError('journal_failed', `the journal ${path} cannot be opened; is it damaged, or the disk full?`, {
        cause,
      });
    }
    this.#put = this.#db.prepare('INSERT OR REPLACE INTO job VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)');
    this.#one = this.#db.prepare('SELECT * FROM job WHERE jobId = ? AND attempt = ?');
    this.#top = this.#db.prepare('SELECT * FROM job WHERE jobId = ? ORDER BY attempt DESC LIMIT 1');
    this.#byState = this.#db.prepare('SELECT * FROM job WHERE state = ?');
  }

  highest(jobId: string): JournalRecord | undefined {
    return this.#guard(() => this.#check(this.#top.get(jobId)));
  }
  get({ jobId, attempt }: JobKey): JournalRecord | undefined {
    return this.#guard(() => this.#check(this.#one.get(jobId, attempt)));
  }
  accept({ jobId, attempt, deadline, requestHash }: JobKey & { deadline: number; requestHash: Sha256 }): void {
    if (this.#room() < JOURNAL_RESERVE)
      throw new CodedError('journal_full', `less than ${JOURNAL_RESERVE >> 20} MiB are free for the journal`);
    this.#write({ jobId, attempt, state: 'accepted', deadline, requestHash, lines: 0, payload: null, note: '' });
  }
  result(key: JobKey, payload: string, lines: number): void {
    this.#write({ ...this.#known(key), state: 'result', payload, lines });
  }
  receipted(key: JobKey, verdict: Verdict): void {
    // the output goes as soon as it is settled; the fencing token stays
    this.#write({ ...this.#known(key), state: 'receipted', payload: null, note: verdict });
  }
  ended(key: JobKey, reason: string): void {
    this.#write({ ...this.#known(key), state: 'ended', payload: null, note: reason.slice(0, 64) });
  }
  accepted(): JournalRecord[] {
    return this.#in('accepted');
  }
  unreceipted(): JournalRecord[] {
    return this.#guard(() => {
      const found: JournalRecord[] = [];
      for (const row of this.#byState.iterate('result')) {
        const record = this.#check(row);
        if (record?.state === 'result') found.push({ ...record, payload: null });
      }
      return found;
    });
  }
  compact(now: number): number {
    this.#guard(() => {
      this.#db.prepare("DELETE FROM job WHERE deadline < ? AND state != 'accepted'").run(now - DAY);
      this.#db.exec('PRAGMA incremental_vacuum');
    });
    return this.count();
  }
  count(): number {
    return Number(this.#db.prepare('SELECT count(*) AS n FROM job').get()?.n ?? 0);
  }
  close(): void {
    this.#db.close();
  }

  #known(key: JobKey): JournalRecord {
    const known = this.get(key);
    if (!known) throw new CodedError('journal_failed', 'the attempt is not in the journal');
    return known;
  }
  #in(state: JournalRecord['state']): JournalRecord[] {
    return this.#guard(() => this.#byState.all(state).flatMap((row) => this.#check(row) ?? []));
  }
  #check(row: unknown): JournalRecord | undefined {
    if (row === undefined) return undefined;
    const { checksum: held, ...record } = row as JournalRecord & { checksum: string };
    if (checksum(record) === held) return record;
    this.#onCorrupt({ jobId: String(record.jobId), attempt: Number(record.attempt) });
    // what cannot be believed is not a promise that could be kept, but its fencing token still holds
    return { ...record, state: 'ended', payload: null, note: 'corrupt' };
  }
  #write(r: JournalRecord): void {
    this.#guard(() =>
      this.#put.run(r.jobId, r.attempt, r.state, r.deadline, r.requestHash, r.lines, r.payload, r.note, checksum(r)),
    );
  }
  #guard<T>(work: () => T): T {
    try {
      return work();
    } catch (cause) {
      const code = primary(cause) === SQLITE_FULL ? 'journal_full' : 'journal_failed';
      throw new CodedError(code, 'the journal could not be read or written', { cause });
    }
  }
}
