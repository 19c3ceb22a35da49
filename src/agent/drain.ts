import { readFileSync } from 'node:fs';
import { z } from 'zod';
import type { Clock } from '../lib/clock.ts';
import { writeDurably } from '../lib/fs.ts';
import type { Logger } from '../lib/log.ts';
import type { AgentMetrics } from './job-metrics.ts';
import type { Jobs } from './jobs.ts';

/** Who wants the node out of work. Several may at once; the last to let go ends it. */
export type DrainCause = 'network' | 'operator' | 'terminating' | 'handover' | 'stale' | 'stop';

export interface DrainOptions {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: AgentMetrics;
  readonly jobs: Pick<Jobs, 'idle' | 'loseAll' | 'used'>;
  readonly unreceipted: () => number;
  /** Remembers the network's pause and drain over restarts. */
  readonly file: string;
  readonly record: (kind: string, data: Record<string, unknown>) => void;
  readonly onChange: () => void;
  /** Told once a drain has finished its jobs. */
  readonly onDrained: (cause: DrainCause, retryAfterMs: number) => void;
}

const zHeld = z.object({ paused: z.boolean(), draining: z.boolean() });
const RECEIPT_WAIT_MS = 5_000;

/**
 * Pause and drain. Draining: no new job, running ones finish within their time, the rest is `job.lost`; then `drained`.
 * The network's own orders hold over restarts until it says resume; those of annotations hold while the annotation stands.
 */
export class Drain {
  readonly #o: DrainOptions;
  readonly #causes = new Set<DrainCause>();
  #networkPaused = false;
  #ownerPaused = false;
  #drained = false;
  #working: Promise<void> | null = null;

  constructor(options: DrainOptions) {
    this.#o = options;
    try {
      const held = zHeld.parse(JSON.parse(readFileSync(options.file, 'utf8')));
      this.#networkPaused = held.paused;
      if (held.draining) this.#causes.add('network');
      this.#drained = held.draining;
    } catch {
      // no orders were held
    }
  }

  get draining(): boolean {
    return this.#causes.size > 0;
  }
  get paused(): boolean {
    return this.#networkPaused || this.#ownerPaused;
  }
  get state(): 'no' | 'draining' | 'drained' | 'handover' {
    if (!this.draining) return 'no';
    if (!this.#drained) return 'draining';
    // Nothing runs any more: the agent may be replaced.
    return this.#causes.has('handover') ? 'handover' : 'drained';
  }

  /** Stops taking jobs and lets the running ones finish; resolves when that is done. */
  begin(cause: DrainCause, timeoutMs: number, retryAfterMs = 60_000): Promise<void> {
    const known = this.#causes.has(cause);
    this.#causes.add(cause);
    if (cause === 'network') void this.#hold();
    if (known && this.#working) return this.#working;
    if (known) return Promise.resolve();
    this.#o.logger.info({ reason: cause, jobs: this.#o.jobs.used, ms: timeoutMs }, 'draining: no new jobs');
    this.#o.record('drain.started', { cause, jobs: this.#o.jobs.used });
    this.#o.onChange();
    this.#working = this.#finish(cause, timeoutMs, retryAfterMs).finally(() => {
      this.#working = null;
    });
    return this.#working;
  }

  /** This cause no longer holds. */
  end(cause: DrainCause): void {
    if (!this.#causes.delete(cause)) return;
    if (cause === 'network') void this.#hold();
    if (this.#causes.size === 0) {
      this.#drained = false;
      this.#o.logger.info({ reason: cause }, 'drain ended, taking jobs again');
    }
    this.#o.onChange();
  }

  /** The network's pause (held) or the owner's. */
  pause(by: 'network' | 'owner', on: boolean): void {
    const before = this.paused;
    if (by === 'network') {
      const changed = this.#networkPaused !== on;
      this.#networkPaused = on;
      if (changed) void this.#hold();
    } else this.#ownerPaused = on;
    if (before !== this.paused) {
      this.#o.logger.info({ reason: by }, this.paused ? 'paused: no new jobs' : 'resumed');
      this.#o.onChange();
    }
  }

  async #finish(cause: DrainCause, timeoutMs: number, retryAfterMs: number): Promise<void> {
    const { clock, jobs, logger, metrics } = this.#o;
    const started = clock.monotonic();
    const done = new AbortController();
    const inTime = await Promise.race([
      jobs.idle().then(() => true),
      clock.sleep(Math.max(0, timeoutMs), done.signal).then(
        () => false,
        () => true,
      ),
    ]);
    done.abort();
    if (!inTime) {
      logger.warn({ jobs: jobs.used }, 'the time to drain is over, the remaining jobs are given back');
      jobs.loseAll(cause === 'handover' ? 'handover' : 'draining');
      await jobs.idle();
    }
    const end = clock.monotonic() + RECEIPT_WAIT_MS;
    while (this.#o.unreceipted() > 0 && clock.monotonic() < end) await clock.sleep(50);
    const ms = clock.monotonic() - started;
    metrics.drainDuration.observe(ms / 1000);
    if (!this.#causes.has(cause)) return;
    this.#drained = true;
    logger.info({ reason: cause, ms: Math.round(ms), unreceipted: this.#o.unreceipted() }, 'drained');
    this.#o.record('drain.finished', { cause, unreceipted: this.#o.unreceipted() });
    this.#o.onChange();
    this.#o.onDrained(cause, retryAfterMs);
  }

  async #hold(): Promise<void> {
    const text = JSON.stringify({ paused: this.#networkPaused, draining: this.#causes.has('network') });
    await writeDurably(this.#o.file, text).catch((error: unknown) =>
      this.#o.logger.error({ error }, 'the order of the network could not be kept'),
    );
  }
}
