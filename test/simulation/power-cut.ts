import { type JobKey, type Journal, type JournalRecord, SqliteJournal } from '../../src/agent/journal.ts';
import { SqliteStore } from '../../src/network/sqlite-store.ts';
import type { AttemptRow, LedgerEntry, NodeRow, Store } from '../../src/network/store.ts';
import type { Random } from '../chaos/random.ts';
import { mark, type Proc, type World } from './world.ts';

/** The program is gone in the middle of a write; nobody is left to see this. */
class Crashed extends Error {}

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
  /** Runs one write. @throws Crashed when the program dies with it, or is dead */
  step<T>(proc: Proc, write: () => T): T {
    if (!proc.alive) throw new Crashed();
    const blow = this.#blow && --this.#left <= 0 ? this.#blow : null;
    if (!blow) return write();
    this.#blow = null;
    if (this.#when === 'after') write();
    blow();
    throw new Crashed();
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
  #journal: Journal = new SqliteJournal(':memory:');
  /** The last writes that a power cut takes although they had returned: a disk that lies. */
  forgets = 0;
  onResult: (record: JournalRecord) => void = () => {};

  constructor(world: World, label: string) {
    this.#world = world;
    this.#label = label;
  }
  /** Every record, as the disk has it. */
  records(): JournalRecord[] {
    return [...this.#keys.values()].flatMap((key) => this.#journal.get(key) ?? []);
  }

  open(proc: Proc): Journal {
    if (this.forgets > 0) this.#writes.splice(-this.forgets);
    const journal: Journal = new SqliteJournal(':memory:');
    for (const write of this.#writes) write(journal);
    this.#journal = journal;
    const write = (what: string, key: JobKey, work: (journal: Journal) => void): void =>
      this.fuse.step(proc, () => {
        work(journal);
        this.#writes.push(work);
        this.#keys.set(name(key), { jobId: key.jobId, attempt: key.attempt });
        this.#world.trace.note(`journal ${this.#label} ${what} ${name(key)}`);
      });
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
        const kept = journal.get(key);
        if (kept) this.onResult(kept);
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
  readonly #writes: ((store: Store) => void)[] = [];
  #promised = 0;
  /** Promised writes that a crash takes all the same: a disk that lies. */
  forgets = 0;

  constructor(world: World) {
    this.#world = world;
    this.#random = world.random('network disk');
  }

  open(proc: Proc): Store {
    const survive = this.#random.between(this.#promised, this.#writes.length) - this.forgets;
    this.#writes.length = Math.max(0, survive);
    this.#promised = this.#writes.length;
    const store = new SqliteStore(':memory:');
    for (const write of this.#writes) write(store);
    const step = <T>(what: string, work: (store: Store) => T): T =>
      this.fuse.step(proc, () => {
        const result = work(store);
        this.#writes.push(work);
        this.#world.trace.note(`store ${what}`);
        return result;
      });
    const promise = <T>(what: string, work: (store: Store) => T): T => {
      const result = step(what, work);
      this.#promised = this.#writes.length;
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
      receiptOf: (hash) => store.receiptOf(hash),
      isAccepted: (jobId) => store.isAccepted(jobId),
      saveReceipt: (entry: LedgerEntry) =>
        step(`receipt ${name(entry.result)} ${entry.receipt.receipt.verdict}`, (s) => s.saveReceipt(entry)),
      durable: async () => {
        const upTo = this.#writes.length;
        await store.durable();
        if (!proc.alive) await new Promise<never>(() => {});
        this.fuse.step(proc, () => {
          this.#promised = Math.max(this.#promised, upTo);
          this.#world.trace.note(`store durable ${mark(String(upTo))}`);
        });
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
