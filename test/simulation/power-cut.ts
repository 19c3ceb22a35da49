import { type JobKey, type Journal, type JournalRecord, SqliteJournal } from '../../src/agent/journal.ts';
import { SqliteStore } from '../../src/network/sqlite-store.ts';
import type { AttemptRow, LedgerEntry, NodeRow, Store } from '../../src/network/store.ts';
import type { Random } from '../chaos/random.ts';
import type { Proc, World } from './world.ts';

type When = 'before' | 'after';

/** A failpoint: the program dies right before or right after the n-th write from now. */
export class Fuse {
  #left = 0;
  #when: When = 'before';
  #blow: (() => void) | null = null;

  arm(writes: number, when: When, blow: () => void): void {
    [this.#left, this.#when, this.#blow] = [writes, when, blow];
  }
  disarm(): void {
    this.#blow = null;
  }
  /**
   * One write: `keep` is what the disk has of it. A dead program goes on to the end of its turn as if nothing had happened;
   * nothing of that is kept, and no port lets it out.
   */
  step<T>(proc: Proc, write: () => T, keep: () => void): T {
    const blow = proc.alive && this.#blow && --this.#left <= 0 ? this.#blow : null;
    if (blow) this.#blow = null;
    if (blow && this.#when === 'before') blow();
    const result = write();
    if (proc.alive) keep();
    if (blow && this.#when === 'after') blow();
    return result;
  }
}

const name = ({ jobId, attempt }: JobKey): string => `${jobId.slice(-6)}.${attempt}`;

/** A volume with one journal: the real one in memory, made again from the writes that had returned when its program died. */
export class JournalVolume {
  readonly fuse = new Fuse();
  readonly #world: World;
  readonly #label: string;
  readonly #writes: ((journal: Journal) => void)[] = [];
  readonly #keys = new Map<string, JobKey>();
  readonly #opened: Journal[] = [];
  #journal: Journal | null = null;
  #proc: Proc | null = null;
  /** The last writes that a power cut takes although they had returned: a disk that lies. */
  forgets = 0;
  onResult: (record: JournalRecord) => void = () => {};

  constructor(world: World, label: string) {
    this.#world = world;
    this.#label = label;
  }
  /** Every record, as the disk has it. */
  records(): JournalRecord[] {
    // what a dead program did in its last turn is in no disk
    const journal = (this.#proc?.alive && this.#journal) || this.#made();
    return [...this.#keys.values()].flatMap((key) => journal.get(key) ?? []);
  }
  close(): void {
    for (const journal of this.#opened.splice(0)) journal.close();
  }
  #made(): Journal {
    const journal: Journal = new SqliteJournal(':memory:');
    this.#opened.push(journal);
    for (const write of this.#writes) write(journal);
    return journal;
  }

  open(proc: Proc): Journal {
    if (this.forgets > 0) this.#writes.splice(-this.forgets);
    const journal = this.#made();
    this.#journal = journal;
    this.#proc = proc;
    const write = (what: string, key: JobKey, work: (journal: Journal) => void): void =>
      this.fuse.step(
        proc,
        () => work(journal),
        () => {
          this.#writes.push(work);
          this.#keys.set(name(key), { jobId: key.jobId, attempt: key.attempt });
          this.#world.trace.note(`journal ${this.#label} ${what} ${name(key)}`);
          const kept = what === 'result' ? journal.get(key) : undefined;
          if (kept) this.onResult(kept);
        },
      );
    return {
      highest: (jobId) => journal.highest(jobId),
      get: (key) => journal.get(key),
      accepted: () => journal.accepted(),
      unreceipted: () => journal.unreceipted(),
      count: () => journal.count(),
      close: () => {},
      // what it drops is a day old: no run is that long
      compact: (now) => journal.compact(now),
      accept: (record) => write('accept', record, (j) => j.accept(record)),
      result: (key, payload, lines) => {
        const { jobId, attempt } = key;
        write('result', key, (j) => j.result({ jobId, attempt }, payload, lines));
      },
      receipted: ({ jobId, attempt }, verdict) =>
        write(`receipted ${verdict}`, { jobId, attempt }, (j) => j.receipted({ jobId, attempt }, verdict)),
      ended: ({ jobId, attempt }, reason) =>
        write(`ended ${reason}`, { jobId, attempt }, (j) => j.ended({ jobId, attempt }, reason)),
    };
  }
}

/**
 * The network's disk: the real store in memory. What it promised (a call that is durable on return, or `durable()`) survives
 * every crash; of what was written after that, a random beginning does, as a log that is cut off somewhere.
 */
export class StoreVolume {
  readonly fuse = new Fuse();
  readonly #world: World;
  readonly #random: Random;
  readonly #writes: { readonly run: (store: Store) => void; readonly entry: LedgerEntry | undefined }[] = [];
  readonly #opened: Store[] = [];
  #promised = 0;
  /** Promised writes that a crash takes all the same: a disk that lies. */
  forgets = 0;

  constructor(world: World) {
    this.#world = world;
    this.#random = world.random('network disk');
  }

  /** What the disk has of results and receipts. */
  ledger(): LedgerEntry[] {
    return this.#writes.flatMap(({ entry }) => entry ?? []);
  }
  close(): void {
    for (const store of this.#opened.splice(0)) store.close();
  }

  open(proc: Proc): Store {
    const survive = this.#random.between(this.#promised, this.#writes.length) - this.forgets;
    this.#writes.length = Math.max(0, survive);
    this.#promised = this.#writes.length;
    const store = new SqliteStore(':memory:');
    this.#opened.push(store);
    for (const write of this.#writes) write.run(store);
    const step = <T>(what: string, work: (store: Store) => T, entry?: LedgerEntry): T =>
      this.fuse.step(
        proc,
        () => work(store),
        () => {
          this.#writes.push({ run: work, entry });
          this.#world.trace.note(`store ${what}`);
        },
      );
    const promise = <T>(what: string, work: (store: Store) => T): T => {
      const result = step(what, work);
      if (proc.alive) this.#promised = this.#writes.length;
      return result;
    };
    return {
      nodes: () => store.nodes(),
      saveNode: (row: NodeRow) => promise(`node ${row.node.slice(0, 8)} ${row.incarnation}`, (s) => s.saveNode(row)),
      saveNodeSoon: (row: NodeRow) => step(`node soon ${row.node.slice(0, 8)}`, (s) => s.saveNodeSoon(row)),
      useBind: (owner, nonce) => promise('bind', (s) => s.useBind(owner, nonce)),
      noteAttempt: (row: AttemptRow) => step(`attempt ${name(row)}`, (s) => s.noteAttempt(row)),
      attempt: (jobId, attempt) => store.attempt(jobId, attempt),
      latestAttempt: (jobId) => store.latestAttempt(jobId),
      notePassedOn: (jobId, lines) =>
        step(`passed on ${jobId.slice(-6)} ${lines}`, (s) => s.notePassedOn(jobId, lines)),
      passedOn: (jobId) => store.passedOn(jobId),
      receiptOf: (hash) => store.receiptOf(hash),
      isAccepted: (jobId) => store.isAccepted(jobId),
      saveReceipt: (entry: LedgerEntry) =>
        step(`receipt ${name(entry.result)} ${entry.receipt.receipt.verdict}`, (s) => s.saveReceipt(entry), entry),
      durable: async () => {
        const upTo = this.#writes.length;
        await store.durable();
        this.fuse.step(
          proc,
          () => {},
          () => {
            this.#promised = Math.max(this.#promised, upTo);
            this.#world.trace.note(`store durable ${upTo}`);
          },
        );
        if (!proc.alive) await new Promise<never>(() => {});
      },
      receipts: (jobId, keyId) => store.receipts(jobId, keyId),
      ledger: () => store.ledger(),
      logEnd: (node) => store.logEnd(node),
      logLine: (node, n) => store.logLine(node, n),
      appendLog: (node, from, lines, hash) => promise('log', (s) => s.appendLog(node, from, lines, hash)),
      close: () => {},
    };
  }
}
