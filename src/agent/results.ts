import type { Clock } from '../lib/clock.ts';
import { errorText } from '../lib/errors.ts';
import type { Logger } from '../lib/log.ts';
import {
  type Domain,
  type Hello,
  type JobReceiptMessage,
  parseStrictJson,
  type ReceiptAuthority,
  verifyReceipt,
  zJobReceipt,
  zJobResult,
} from '../protocol/index.ts';
import { NetworkError } from './http.ts';
import type { JobChannel } from './job-channel.ts';
import type { AgentMetrics } from './job-metrics.ts';
import type { JobKey, Journal } from './journal.ts';

export interface ResultsOptions {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly domain: Domain;
  readonly journal: Journal;
  readonly channel: Pick<JobChannel, 'send' | 'postResult'>;
  readonly authorities: () => readonly ReceiptAuthority[];
  readonly metrics: AgentMetrics;
  readonly record: (kind: string, data: Record<string, unknown>) => void;
  readonly onError: (code: string) => void;
}

interface Waiting {
  readonly key: JobKey;
  readonly deadline: number;
  readonly finishedAt: number;
  lastSent: number;
  /** Times the network closed or answered terminally right after this result (§5). */
  refusals: number;
}

const RESEND_MS = 60_000;
const KEEP_MS = 86_400_000;
export const keyOf = ({ jobId, attempt }: JobKey): string => `${attempt} ${jobId}`;

/**
 * Signed results on their way to a receipt: sent once per session and every 60 s, always the journalled bytes, until a
 * receipt that verifies settles them, or 24 h after the deadline.
 */
export class Results {
  readonly #o: ResultsOptions;
  readonly #log: Logger;
  readonly #waiting = new Map<string, Waiting>();
  #last: { readonly key: string; readonly at: number } | null = null;

  constructor(options: ResultsOptions) {
    this.#o = options;
    this.#log = options.logger;
    for (const r of options.journal.unreceipted()) this.#await(r, r.deadline);
  }

  /** Results without a receipt. */
  get count(): number {
    return this.#waiting.size;
  }

  /** What hello names; those that the network refused twice are no longer among them. */
  named(): Hello['jobs'] {
    return [...this.#waiting.values()]
      .filter((w) => w.refusals < 2)
      .map((w) => ({ ...w.key, state: 'result' as const, deltas: this.#o.journal.get(w.key)?.lines ?? 0 }));
  }

  /** A result that the journal holds now: sends it for the first time. */
  add(key: JobKey, deadline: number): void {
    void this.#send(this.#await(key, deadline));
  }

  /** True when the attempt has a result: then it is on its way again. */
  sendAgain(key: JobKey): boolean {
    const w = this.#waiting.get(keyOf(key));
    if (w) void this.#send(w);
    return w !== undefined;
  }

  /** Every one once, for a new session. */
  sendAll(): void {
    for (const w of this.#waiting.values()) if (w.refusals < 2) void this.#send(w);
  }

  /** Those that were last sent 60 s ago; forgets those that nobody wants any more. @param serverNow ms */
  resendDue(serverNow: number): void {
    const now = this.#o.clock.monotonic();
    for (const [key, w] of this.#waiting) {
      if (serverNow > w.deadline + KEEP_MS) this.#waiting.delete(key);
      else if (w.refusals < 2 && now - w.lastSent >= RESEND_MS) void this.#send(w);
    }
  }

  /** Settles a result when the receipt is truly the network's; anything else is ignored and reported. */
  receipt(message: JobReceiptMessage): void {
    const { receipt } = message;
    const key = { jobId: receipt.jobId, attempt: receipt.attempt };
    const waiting = this.#waiting.get(keyOf(key));
    const payload = waiting && this.#o.journal.get(key)?.payload;
    if (!waiting || !payload) return;
    const held = zJobResult.parse(parseStrictJson(payload));
    const pair = { result: held.result, resultSig: held.sig, receipt, sig: message.sig, signer: message.signer };
    const wrong = verifyReceipt(this.#o.domain, pair, this.#o.authorities()).find((check) => !check.ok);
    if (wrong) {
      this.#log.warn(
        { job: key.jobId, attempt: key.attempt, reason: wrong.text },
        'receipt ignored: it does not verify',
      );
      this.#o.onError('receipt_invalid');
      return;
    }
    this.#o.journal.receipted(key, receipt.verdict);
    this.#waiting.delete(keyOf(key));
    this.#o.metrics.receiptAge.observe((this.#o.clock.monotonic() - waiting.finishedAt) / 1000);
    this.#o.metrics.jobs.inc({ outcome: receipt.verdict });
    this.#o.record('job.receipted', { ...key, verdict: receipt.verdict, resultHash: receipt.resultHash });
    this.#log.debug({ job: key.jobId, attempt: key.attempt, verdict: receipt.verdict }, 'receipt verified');
  }

  /** True when a terminal close came within 10 s of a result: then that result may be its cause (§5). */
  sessionRefused(): boolean {
    const last = this.#last;
    if (!last || this.#o.clock.monotonic() - last.at > 10_000) return false;
    this.#refused(last.key);
    return true;
  }

  #await(key: JobKey, deadline: number): Waiting {
    const now = this.#o.clock.monotonic();
    const w: Waiting = {
      key: { jobId: key.jobId, attempt: key.attempt },
      deadline,
      finishedAt: now,
      lastSent: now,
      refusals: 0,
    };
    this.#waiting.set(keyOf(key), w);
    return w;
  }

  /** By frame where it fits, else by POST /v1/results: the same bytes each time. */
  async #send(w: Waiting): Promise<void> {
    const now = this.#o.clock.monotonic();
    const payload = this.#o.journal.get(w.key)?.payload;
    if (!payload) return;
    w.lastSent = now;
    if (this.#o.channel.send('job.result', payload)) {
      this.#last = { key: keyOf(w.key), at: now };
      return;
    }
    try {
      this.receipt(zJobReceipt.parse(await this.#o.channel.postResult(payload)));
    } catch (error) {
      const status = error instanceof NetworkError ? error.status : 0;
      this.#log.warn({ job: w.key.jobId, error: errorText(error) }, 'result not taken, it is sent again');
      if ([400, 401, 413].includes(status)) this.#refused(keyOf(w.key));
    }
  }

  #refused(key: string): void {
    const w = this.#waiting.get(key);
    if (!w) return;
    w.refusals++;
    if (w.refusals < 2) return;
    this.#log.error(
      { job: w.key.jobId, attempt: w.key.attempt },
      'the network refuses this result; it is kept, not sent',
    );
    this.#o.onError('result_refused');
  }
}
