import type { Clock } from '../lib/clock.ts';
import type { JobChannel } from './job-channel.ts';

export interface DeltaStreamOptions {
  readonly key: { readonly jobId: string; readonly attempt: number };
  readonly clock: Clock;
  readonly channel: Pick<JobChannel, 'send' | 'frameBytes'>;
  readonly onSent: () => void;
}

/** ≤ 20 frames a second and job. */
const FRAME_GAP_MS = 50;
/** Header and the JSON around the lines. */
const OVERHEAD = 1_024;

/**
 * The lines of one streamed job on their way to the network: the first at once, then joined into at most 20 frames a second,
 * a backlog split over frames. Lines stay in memory until the job ends, so that a new session can go on from any of them.
 */
export class DeltaStream {
  readonly #o: DeltaStreamOptions;
  readonly #lines: string[] = [];
  readonly #stop = new AbortController();
  #sent = 0;
  #next = Number.NEGATIVE_INFINITY;
  #waiting = false;
  #blocked = false;

  constructor(options: DeltaStreamOptions) {
    this.#o = options;
  }

  /** Lines made so far. */
  get lines(): number {
    return this.#lines.length;
  }

  push(line: string): void {
    this.#lines.push(line);
    this.#flushSoon();
  }

  /** The network holds `count` lines: go on from there. */
  resumeAt(count: number): void {
    this.#sent = Math.min(count, this.#lines.length);
    this.#blocked = false;
    this.#flushSoon();
  }

  /** The job ended: what was not sent comes with the result. */
  end(): void {
    this.#stop.abort();
  }

  #flushSoon(): void {
    if (this.#waiting || this.#stop.signal.aborted) return;
    const wait = this.#next - this.#o.clock.monotonic();
    if (wait <= 0) {
      this.#flush();
      return;
    }
    this.#waiting = true;
    this.#o.clock.sleep(wait, this.#stop.signal).then(
      () => {
        this.#waiting = false;
        this.#flush();
      },
      () => {},
    );
  }

  #flush(): void {
    if (this.#blocked || this.#sent >= this.#lines.length) return;
    const room = this.#o.channel.frameBytes() - OVERHEAD;
    let size = 0;
    let to = this.#sent;
    for (; to < this.#lines.length; to++) {
      size += Buffer.byteLength(JSON.stringify(this.#lines[to])) + 1;
      if (size > room) break;
    }
    if (to === this.#sent) {
      this.#blocked = true; // a line that fits into no frame ends the deltas of this job
      return;
    }
    const lines = this.#lines.slice(this.#sent, to);
    if (!this.#o.channel.send('job.delta', { ...this.#o.key, from: this.#sent, lines })) return;
    this.#sent = to;
    this.#next = this.#o.clock.monotonic() + FRAME_GAP_MS;
    this.#o.onSent();
    if (this.#sent < this.#lines.length) this.#flushSoon();
  }
}
