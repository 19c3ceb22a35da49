import { closeSync, fdatasync, fdatasyncSync, openSync } from 'node:fs';

/** The file that SQLite writes its log to, as something to be made durable. */
export interface LogDisk {
  /** Off the event loop. */
  sync(done: (error: unknown) => void): void;
  /** @throws what the disk says */
  syncNow(): void;
  close(): void;
}
export interface Waiter {
  readonly done: () => void;
  readonly failed: (error: unknown) => void;
}

/** A file descriptor of our own on SQLite's log: it lives as long as the database is open, and an fsync is of the file. */
export const logFile = (path: string): LogDisk => {
  const fd = openSync(path, 'r');
  return {
    sync: (done) => fdatasync(fd, (error) => done(error ?? undefined)),
    syncNow: () => fdatasyncSync(fd),
    close: () => closeSync(fd),
  };
};

/**
 * Makes commits durable that SQLite has written without an fsync (synchronous=NORMAL syncs only around checkpoints): one
 * fsync at a time runs in a thread, and what is committed meanwhile shares the next one. After an fsync that failed nobody
 * knows what the disk holds, and no later one tells: from then on everything fails.
 */
export class LogSync {
  readonly #disk: LogDisk | undefined;
  #commits = 0;
  /** How many of the commits are on the disk. */
  #synced = 0;
  #waiting: (Waiter & { readonly upTo: number })[] = [];
  #running = false;
  #closed = false;
  #error: unknown;

  readonly #onFault: (error: unknown) => void;

  /**
   * @param disk undefined for a database in memory, where nothing is to be synced
   * @param onFault called once, when an fsync failed
   */
  constructor(disk: LogDisk | undefined, onFault: (error: unknown) => void = () => {}) {
    this.#disk = disk;
    this.#onFault = onFault;
  }
  committed(): void {
    this.#commits++;
  }
  /** @throws what the disk said when an fsync failed */
  check(): void {
    if (this.#error !== undefined) throw this.#error;
  }
  /** Settles each when all commits so far are on the disk, or when that failed. */
  wait(waiters: readonly Waiter[]): void {
    for (const w of waiters) this.#waiting.push({ ...w, upTo: this.#commits });
    this.#run();
  }
  /** Blocks until all commits so far are on the disk. @throws what the disk says */
  syncNow(): void {
    this.check();
    if (this.#synced === this.#commits) return;
    try {
      this.#disk?.syncNow();
    } catch (error) {
      this.#settle(error, this.#commits);
      throw error;
    }
    this.#settle(undefined, this.#commits);
  }
  close(): void {
    this.#closed = true;
    try {
      if (this.#error === undefined) this.syncNow();
    } finally {
      if (!this.#running) this.#disk?.close();
    }
  }

  #run(): void {
    if (this.#running) return;
    const upTo = this.#commits;
    if (this.#error !== undefined || !this.#disk || this.#synced === upTo) {
      this.#settle(this.#error, upTo);
      return;
    }
    const disk = this.#disk;
    this.#running = true;
    disk.sync((error) => {
      this.#running = false;
      this.#settle(error, upTo);
      if (this.#closed) disk.close();
      else if (this.#waiting.length > 0) this.#run();
    });
  }
  #settle(error: unknown, upTo: number): void {
    if (error !== undefined && this.#error === undefined) {
      this.#error = error;
      this.#onFault(error);
    }
    const failed = this.#error;
    if (failed === undefined) this.#synced = Math.max(this.#synced, upTo);
    const settled = this.#waiting.filter((w) => failed !== undefined || w.upTo <= upTo);
    this.#waiting = failed === undefined ? this.#waiting.filter((w) => w.upTo > upTo) : [];
    for (const w of settled)
      if (failed === undefined) w.done();
      else w.failed(failed);
  }
}
