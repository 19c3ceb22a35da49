import { createHash } from 'node:crypto';
import { appendFile, mkdir, readdir, readFile, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock } from '../lib/clock.ts';
import type { Logger } from '../lib/log.ts';
import { NetworkError, type NetworkHttp } from './http.ts';

export interface RecordOptions {
  /** Folder of the record: one file per chunk, named by its first n. */
  readonly dir: string;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly http: Pick<NetworkHttp, 'post'>;
  /** Told once when the network holds lines that this record cannot continue. */
  readonly onLost: (message: string) => void;
}

const CHUNK_BYTES = 900 << 10;
const KEEP_MS = 7 * 86_400_000;
const KEEP_BYTES = 256 << 20;
const HOUR = 3_600_000;
const ZERO = `sha256:${'0'.repeat(64)}`;
const hashOf = (line: string): string => `sha256:${createHash('sha256').update(line, 'utf8').digest('hex')}`;

/**
 * The execution record (docs/protocol.md §8): NDJSON lines, each naming the hash of the one before, so that a line cannot
 * be taken out or changed unseen. Job ids, digests, decisions; never prompts or outputs. Writes are in order; a failing
 * disk loses lines of the record, never work.
 */
export class ExecutionRecord {
  /** Jobs whose result has no receipt: what the record says of them is kept however old and large it is. */
  unreceipted: () => readonly string[] = () => [];
  readonly #o: RecordOptions;
  #n = 0;
  #prev = ZERO;
  #file = '';
  #size = 0;
  #uploadedN = 0;
  #pending = 0;
  #lost = false;
  #tail: Promise<void> = Promise.resolve();
  #wake = new AbortController();

  constructor(options: RecordOptions) {
    this.#o = options;
  }

  /** Finds the end of the chain. A torn last line is cut off by starting a new file after the last whole one. */
  async open(): Promise<void> {
    await mkdir(this.#o.dir, { recursive: true });
    const names = await this.#files();
    for (const name of names.reverse()) {
      const lines = (await readFile(join(this.#o.dir, name), 'utf8')).split('\n');
      lines.pop(); // after the last LF: empty, or torn
      const last = lines.at(-1);
      if (last === undefined) continue;
      this.#n = Number((JSON.parse(last) as { n: number }).n);
      this.#prev = hashOf(last);
      break;
    }
    this.#newFile();
  }

  /** Appends one line. */
  write(kind: string, data: Record<string, unknown>): void {
    const line = JSON.stringify({ n: ++this.#n, prevHash: this.#prev, at: this.#o.clock.now(), kind, data });
    this.#prev = hashOf(line);
    if (this.#size + line.length > CHUNK_BYTES) {
      this.#newFile();
      this.flush();
    }
    this.#size += line.length + 1;
    this.#pending++;
    const path = join(this.#o.dir, this.#file);
    this.#tail = this.#tail
      .then(() => appendFile(path, `${line}\n`))
      .catch((error: unknown) => this.#o.logger.warn({ error }, 'the execution record cannot be written'));
  }

  /** Asks for an upload now (a configuration change). */
  flush(): void {
    this.#wake.abort();
  }

  /** Uploads and tidies hourly and when asked; runs until `signal`. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock, logger } = this.#o;
    while (!signal.aborted) {
      this.#wake = new AbortController();
      await clock.sleep(HOUR, AbortSignal.any([signal, this.#wake.signal])).catch(() => {});
      if (signal.aborted) break;
      await clock.sleep(5_000, signal).catch(() => {}); // what happens together goes up together
      if (this.#pending === 0) continue;
      try {
        await this.upload(signal).catch((error: unknown) => {
          if (!signal.aborted) logger.info({ error }, 'the execution record is not uploaded yet');
        });
        // its bounds hold whether or not the network takes it
        await this.prune();
      } catch (error) {
        logger.warn({ error }, 'the execution record cannot be tidied');
      }
    }
    await this.#tail;
  }

  /**
   * Sends what the network does not hold yet, chunk by chunk. A log_gap says how far the network has got: after our
   * restart that may be further, or it lost its record; from there everything is sent once more. The same gap again means
   * that the chain held there is not ours (our volume was lost, or lines were pruned before they were sent): without the
   * hash of its last line nothing can ever join it, so uploads end until the agent starts again.
   */
  async upload(signal?: AbortSignal): Promise<void> {
    await this.#tail;
    this.#newFile();
    this.#pending = 0;
    let gapAt: number | undefined;
    while (!this.#lost) {
      try {
        return await this.#sendRest(signal);
      } catch (error) {
        if (!(error instanceof NetworkError && error.code === 'log_gap' && error.lastN !== undefined)) throw error;
        if (gapAt === error.lastN) this.#giveUp(error.lastN);
        gapAt = error.lastN;
        this.#uploadedN = error.lastN;
      }
    }
  }

  async #sendRest(signal?: AbortSignal): Promise<void> {
    for (const name of await this.#files()) {
      const all = (await readFile(join(this.#o.dir, name), 'utf8')).split('\n');
      all.pop();
      const lines = all.filter((line) => (JSON.parse(line) as { n: number }).n > this.#uploadedN);
      if (lines.length === 0) continue;
      const answer = (await this.#o.http.post('/v1/logs', `${lines.join('\n')}\n`, signal)) as { lastN?: number };
      const lastN = Number(answer.lastN ?? 0);
      // lines that are held are skipped unread, so more of them than were ever written here are not ours
      if (lastN > this.#n) return this.#giveUp(lastN);
      this.#uploadedN = Math.max(this.#uploadedN, lastN);
    }
  }

  #giveUp(lastN: number): void {
    this.#lost = true;
    const message = `the network holds ${lastN} lines that do not continue in this record; it is kept here and no longer sent`;
    this.#o.logger.warn({ reason: 'record_lost', error: message }, 'the execution record is not uploaded any more');
    this.#o.onLost(message);
  }

  #newFile(): void {
    this.#file = `${String(this.#n + 1).padStart(16, '0')}.ndjson`;
    this.#size = 0;
  }

  async #files(): Promise<string[]> {
    return (await readdir(this.#o.dir)).filter((n) => /^\d{16}\.ndjson$/.test(n)).sort();
  }

  /** Forgets what is above 256 MiB or older than 7 days, newest kept first. */
  async prune(): Promise<void> {
    let total = 0;
    for (const name of (await this.#files()).reverse()) {
      const path = join(this.#o.dir, name);
      const s = await stat(path);
      total += s.size;
      const old = total > KEEP_BYTES || this.#o.clock.now() - s.mtimeMs > KEEP_MS;
      if (old && name !== this.#file && !(await this.#needed(path))) await rm(path);
    }
  }

  async #needed(path: string): Promise<boolean> {
    const jobs = this.unreceipted();
    if (jobs.length === 0) return false;
    const text = await readFile(path, 'utf8');
    return jobs.some((jobId) => text.includes(JSON.stringify(jobId)));
  }
}
