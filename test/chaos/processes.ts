import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

export const ROOT = join(import.meta.dirname, '../..');

/** A program of the site under its driver: it is killed and started over and over, and never outlives the driver. */
export class Program {
  readonly #log: string;
  #child: ChildProcess | null = null;
  #wanted = false;

  /** @param log file that its output is added to */
  constructor(log: string) {
    this.#log = log;
  }

  /** False when it ended and nobody had ended it. */
  get healthy(): boolean {
    return !this.#wanted || this.#alive;
  }
  get #alive(): boolean {
    return this.#child?.exitCode === null && this.#child.signalCode === null;
  }

  start(argv: readonly string[], env: Record<string, string> = {}): void {
    const fd = openSync(this.#log, 'a');
    const child = spawn(process.execPath, argv, {
      cwd: ROOT,
      env: { ...process.env, NODE_NO_WARNINGS: '1', ...env },
      stdio: ['pipe', fd, fd],
      // an interrupt of the driver is the driver's to act upon
      detached: true,
    });
    child.stdin?.on('error', () => {});
    closeSync(fd);
    const kill = (): void => void child.kill('SIGKILL');
    process.once('exit', kill);
    child.once('exit', () => process.removeListener('exit', kill));
    this.#child = child;
    this.#wanted = true;
  }
  signal(name: 'SIGSTOP' | 'SIGCONT'): void {
    this.#child?.kill(name);
  }
  /** Writes a line to its standard input. */
  tell(line: string): void {
    this.#child?.stdin?.write(`${line}\n`);
  }
  /** Ends it, if it still runs; resolves when it is gone with the wall time at which that was seen. */
  async end(signal: NodeJS.Signals): Promise<number> {
    this.#wanted = false;
    const child = this.#child;
    if (!child || !this.#alive) return Date.now();
    const gone = this.#gone(child);
    child.kill(signal);
    const timer = setTimeout(() => child.kill('SIGKILL'), 10_000);
    const at = await gone;
    clearTimeout(timer);
    return at;
  }
  /** Resolves with the wall time when it ended by itself; undefined when it did not within `ms`. */
  async dies(ms: number): Promise<number | undefined> {
    this.#wanted = false;
    const child = this.#child;
    if (!child || !this.#alive) return Date.now();
    const over = new AbortController();
    const at = await Promise.race([
      this.#gone(child),
      sleep(ms, undefined, { signal: over.signal }).catch(() => undefined),
    ]);
    over.abort();
    return at;
  }

  #gone(child: ChildProcess): Promise<number> {
    return new Promise((resolve) => child.once('exit', () => resolve(Date.now())));
  }
}

/** Polls until it holds. @throws when `ms` have passed, or at once when `signal` is aborted */
export const until = async (
  what: string,
  ms: number,
  holds: () => boolean | Promise<boolean>,
  signal?: AbortSignal,
): Promise<void> => {
  const limit = performance.now() + ms;
  while (!(await holds())) {
    if (performance.now() > limit) throw new Error(`not within ${ms} ms: ${what}`);
    await sleep(POLL_MS, undefined, signal === undefined ? {} : { signal });
  }
};
const POLL_MS = 150;

export const freePort = async (): Promise<number> => {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise<void>((resolve) => server.close(() => resolve()));
  return port;
};
