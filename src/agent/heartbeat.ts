import { jitter } from '../lib/backoff.ts';
import type { Clock } from '../lib/clock.ts';
import type { Logger } from '../lib/log.ts';
import { type ConfigRef, type Heartbeat, type Hello, zHeartbeatAnswer } from '../protocol/index.ts';
import { fitJobs } from './fit-jobs.ts';
import type { NetworkHttp } from './http.ts';
import type { AgentMetrics } from './job-metrics.ts';

export interface HeartbeatOptions {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: AgentMetrics;
  readonly body: () => Heartbeat;
  /** Over the socket; false while none is open. */
  readonly send: (body: Heartbeat) => boolean;
  readonly http: Pick<NetworkHttp, 'post'>;
  /** The jobs list that goes with a heartbeat over HTTP. */
  readonly jobs: () => Hello['jobs'];
  readonly onAnswer: (answer: {
    config: ConfigRef | null;
    jobs: readonly { jobId: string; attempt: number; deltas?: number | undefined }[];
    /** What the heartbeat had told. */
    named: Hello['jobs'];
  }) => void;
  /** False until the node is admitted, and after another process took the identity. */
  readonly enabled: () => boolean;
  readonly random?: () => number;
}

const DEFAULT_MS = 15_000;
/** What the network takes in one call (docs/protocol.md §2). */
const BODY_BYTES = 64 << 10;

/**
 * One heartbeat an interval: over the socket while one is open, over HTTP while it is down. It has its own loop, so that
 * nothing else that the agent does can hold it up.
 */
export class Heartbeats {
  readonly #o: HeartbeatOptions;
  #intervalMs = DEFAULT_MS;
  #wake = new AbortController();
  #lastAt: number | null = null;

  constructor(options: HeartbeatOptions) {
    this.#o = options;
    const { metrics } = options;
    // Grows while nothing happens here, and most of all when this loop stands still.
    metrics.beforeScrape(() => this.#lastAt !== null && metrics.heartbeatAge.set((this.ageMs ?? 0) / 1000));
  }

  /** welcome.heartbeatMs. */
  set intervalMs(ms: number) {
    this.#intervalMs = Math.min(Math.max(ms, 250), 300_000);
  }
  /** Time since the last one that went out, in ms. */
  get ageMs(): number | null {
    return this.#lastAt === null ? null : this.#o.clock.monotonic() - this.#lastAt;
  }

  /** One at once: after welcome, on ping, when something changed that the network waits for. */
  now(): void {
    this.#wake.abort();
  }

  async run(signal: AbortSignal): Promise<void> {
    const { clock } = this.#o;
    while (!signal.aborted) {
      this.#wake = new AbortController();
      if (this.#o.enabled()) await this.#beat(signal);
      const pause = jitter(this.#intervalMs, 0.02, this.#o.random);
      await clock.sleep(pause, AbortSignal.any([signal, this.#wake.signal])).catch(() => {});
      // several reasons at once make one heartbeat
      if (this.#wake.signal.aborted && !signal.aborted) await clock.sleep(20, signal).catch(() => {});
    }
  }

  async #beat(signal: AbortSignal): Promise<void> {
    const { clock, metrics, logger } = this.#o;
    const body = this.#o.body();
    if (this.#o.send(body)) {
      metrics.heartbeats.inc({ via: 'socket' });
      this.#lastAt = clock.monotonic();
      return;
    }
    try {
      const whole = fitJobs({ ...body, jobs: this.#o.jobs() }, BODY_BYTES);
      const named = whole.jobs;
      const sent = this.#o.http.post('/v1/heartbeat', JSON.stringify(whole), signal);
      const answer = zHeartbeatAnswer.safeParse(await sent);
      metrics.heartbeats.inc({ via: 'http' });
      this.#lastAt = clock.monotonic();
      if (answer.success) this.#o.onAnswer({ ...answer.data, named });
    } catch (error) {
      if (signal.aborted) return;
      metrics.heartbeatFailures.inc();
      logger.debug({ error }, 'heartbeat not delivered');
    }
  }
}
