import type { Clock } from '../lib/clock.ts';
import { errorText } from '../lib/errors.ts';
import type { Logger } from '../lib/log.ts';
import {
  type Domain,
  type Hello,
  type JobReceiptMessage,
  type JobResultMessage,
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
  readonly channel: Pick<JobChannel, 'send' | 'postResult' | 'frameBytes'>;
  readonly authorities: () => readonly ReceiptAuthority[];
  readonly metrics: AgentMetrics;
  readonly record: (kind: string, data: Record<string, unknown>) => void;
  readonly onError: (code: string) => void;
}

/** A result that the journal holds: what is kept of it in memory. */
export interface SignedResult extends Pick<JobResultMessage, 'result' | 'sig'> {
  readonly deadline: number;
  readonly lines: number;
  /** Bytes of the payload. */
  readonly size: number;
}

interface Waiting {
  readonly key: JobKey;
  readonly deadline: number;
  readonly finishedAt: number;
  readonly lines: number;
  /** Bytes of the payload; 0 = not known (a result of the last run). */
  readonly size: number;
  /** The signed part without the output; read from the journal when it is not here. */
  signed: Pick<JobResultMessage, 'result' | 'sig'> | undefined;
  /** Aborted when it needs no waiting any more. */
  readonly settled: AbortController;
  lastSent: number;
  /** Times the network closed or answered terminally right after this result (§5). */
  refusals: number;
}

const RESEND_MS = 60_000;
const KEEP_MS = 86_400_000;
/** A terminal close so soon after a result may be because of it. */
const BLAME_MS = 10_000;
export const keyOf = ({ jobId, attempt }: JobKey): string => `${attempt} ${jobId}`;

/**
 * Signed results on their way to a receipt: sent once per session and every 60 s, always the journalled bytes, until a
 * receipt that verifies settles them, or 24 h after the deadline. A result that the network refuses twice is kept and no
 * longer sent, so that it does not take the others with it; while one is suspected they go out one at a time.
 */
export class Results {
  readonly #o: ResultsOptions;
  readonly #log: Logger;
  readonly #waiting = new Map<string, Waiting>();
  /** Sent by frame in this session without a receipt, in that order: key and monotonic time. */
  readonly #sent = new Map<string, number>();
  /** Refused once. */
  readonly #suspects = new Set<string>();
  /** To be sent one at a time. */
  #queue: Waiting[] = [];
  #round = new AbortController();
  #pumping = false;
  #posts: Promise<void> = Promise.resolve();
  readonly #posting = new Set<string>();

  constructor(options: ResultsOptions) {
    this.#o = options;
    this.#log = options.logger;
    for (const r of options.journal.unreceipted()) this.#await(r, { ...r, size: 0, signed: undefined });
  }

  /** Results without a receipt. */
  get count(): number {
    return this.#waiting.size;
  }

  /** The jobs whose result has no receipt. */
  get jobIds(): readonly string[] {
    return [...this.#waiting.values()].map((w) => w.key.jobId);
  }

  /** What hello names; those that the network refused twice are no longer among them. */
  named(): Hello['jobs'] {
    return this.#wanted().map((w) => ({ ...w.key, state: 'result' as const, deltas: w.lines }));
  }

  /** A result that the journal holds now: sends it for the first time. */
  add({ result, sig, deadline, lines, size }: SignedResult): void {
    this.#dispatch(this.#await(result, { deadline, lines, size, signed: { result, sig } }));
  }

  /** True when the attempt has a result: then it is on its way again. */
  sendAgain(key: JobKey): boolean {
    const w = this.#waiting.get(keyOf(key));
    if (!w || w.refusals >= 2) return false;
    this.#dispatch(w);
    return true;
  }

  /** Every one once, for a new session; a suspected one last. */
  sendAll(): void {
    this.sessionOver();
    for (const w of this.#wanted().sort((a, b) => a.refusals - b.refusals)) this.#dispatch(w);
  }

  /** Those that were last sent 60 s ago; forgets those that nobody wants any more. @param serverNow ms */
  resendDue(serverNow: number): void {
    const now = this.#o.clock.monotonic();
    for (const [key, w] of this.#waiting) {
      if (serverNow > w.deadline + KEEP_MS) this.#forget(key);
      else if (w.refusals < 2 && now - w.lastSent >= RESEND_MS) this.#dispatch(w);
    }
  }

  /** Settles a result when the receipt is truly the network's; anything else is ignored and reported. */
  receipt(message: JobReceiptMessage): void {
    const { receipt } = message;
    const key = { jobId: receipt.jobId, attempt: receipt.attempt };
    const waiting = this.#waiting.get(keyOf(key));
    const held = waiting && this.#signedOf(waiting);
    if (!waiting || !held) return;
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
    try {
      this.#o.journal.receipted(key, receipt.verdict);
    } catch (error) {
      // the network gives the same receipt again for the same bytes
      this.#log.error({ job: key.jobId, error }, 'a receipt cannot be journalled, the result is sent again later');
      this.#o.onError('journal');
      return;
    }
    this.#forget(keyOf(key));
    this.#o.metrics.receiptAge.observe((this.#o.clock.monotonic() - waiting.finishedAt) / 1000);
    this.#o.metrics.jobs.inc({ outcome: receipt.verdict });
    this.#o.record('job.receipted', { ...key, verdict: receipt.verdict, resultHash: receipt.resultHash });
    this.#log.debug({ job: key.jobId, attempt: key.attempt, verdict: receipt.verdict }, 'receipt verified');
  }

  /** True when a terminal close came within 10 s of a result: the first one without a receipt may be its cause (§5). */
  sessionRefused(): boolean {
    const now = this.#o.clock.monotonic();
    const suspect = [...this.#sent].find(([, at]) => now - at <= BLAME_MS);
    this.sessionOver();
    if (!suspect) return false;
    this.#refused(suspect[0]);
    return true;
  }

  /** The session is gone, and what was to be sent over it waits for the next. */
  sessionOver(): void {
    this.#sent.clear();
    this.#queue = [];
    this.#round.abort();
    this.#round = new AbortController();
  }

  #wanted(): Waiting[] {
    return [...this.#waiting.values()].filter((w) => w.refusals < 2);
  }

  #await({ jobId, attempt }: JobKey, r: Pick<Waiting, 'deadline' | 'lines' | 'size' | 'signed'>): Waiting {
    const now = this.#o.clock.monotonic();
    const w: Waiting = {
      key: { jobId, attempt },
      deadline: r.deadline,
      lines: r.lines,
      size: r.size,
      signed: r.signed,
      finishedAt: now,
      settled: new AbortController(),
      lastSent: now,
      refusals: 0,
    };
    this.#waiting.set(keyOf(w.key), w);
    return w;
  }

  #signedOf(w: Waiting): Waiting['signed'] {
    if (w.signed) return w.signed;
    const payload = this.#payloadOf(w);
    if (payload) {
      const { result, sig } = zJobResult.parse(parseStrictJson(payload));
      w.signed = { result, sig };
    }
    return w.signed;
  }

  /** The journalled bytes; undefined when the disk does not give them. */
  #payloadOf(w: Waiting): string | null | undefined {
    try {
      return this.#o.journal.get(w.key)?.payload;
    } catch (error) {
      this.#log.error({ job: w.key.jobId, error }, 'a result cannot be read from the journal');
      this.#o.onError('journal');
      return undefined;
    }
  }

  #forget(key: string): void {
    this.#waiting.get(key)?.settled.abort();
    this.#waiting.delete(key);
    this.#sent.delete(key);
    this.#suspects.delete(key);
  }

  #dispatch(w: Waiting): void {
    if (this.#pumping || this.#suspects.size > 0) {
      if (!this.#queue.includes(w)) this.#queue.push(w);
      void this.#oneByOne();
    } else this.#send(w);
  }

  /** So that it is certain which one the network closes for. */
  async #oneByOne(): Promise<void> {
    if (this.#pumping) return;
    this.#pumping = true;
    for (let w = this.#queue.shift(); w !== undefined; w = this.#queue.shift()) {
      if (w.settled.signal.aborted) continue;
      this.#send(w);
      await this.#o.clock.sleep(BLAME_MS, AbortSignal.any([w.settled.signal, this.#round.signal])).catch(() => {});
    }
    this.#pumping = false;
  }

  /** By frame where it fits, else by POST /v1/results: the same bytes each time. */
  #send(w: Waiting): void {
    const now = this.#o.clock.monotonic();
    w.lastSent = now;
    if (w.size > this.#o.channel.frameBytes()) {
      this.#postSoon(w);
      return;
    }
    const payload = this.#payloadOf(w);
    if (!payload) return;
    this.#sent.set(keyOf(w.key), now);
    if (this.#o.channel.send('job.result', payload)) return;
    this.#sent.delete(keyOf(w.key));
    this.#postSoon(w);
  }

  /** One call at a time: each may carry 16 MiB. */
  #postSoon(w: Waiting): void {
    const key = keyOf(w.key);
    if (this.#posting.has(key)) return;
    this.#posting.add(key);
    this.#posts = this.#posts
      .then(() => (w.settled.signal.aborted ? undefined : this.#post(w)))
      .finally(() => this.#posting.delete(key));
  }

  async #post(w: Waiting): Promise<void> {
    const payload = this.#payloadOf(w);
    if (!payload) return;
    try {
      this.receipt(zJobReceipt.parse(await this.#o.channel.postResult(payload)));
    } catch (error) {
      const { status, code } = error instanceof NetworkError ? error : { status: 0, code: '' };
      this.#log.warn({ job: w.key.jobId, error: errorText(error) }, 'result not taken, it is sent again');
      // the two other 401 are about the call, not about what it carries
      if ([400, 401, 413].includes(status) && code !== 'bad_clock' && code !== 'replayed') this.#refused(keyOf(w.key));
    }
  }

  #refused(key: string): void {
    const w = this.#waiting.get(key);
    if (!w) return;
    w.refusals++;
    this.#suspects.add(key);
    if (w.refusals !== 2) return;
    this.#suspects.delete(key);
    w.settled.abort();
    this.#log.error(
      { job: w.key.jobId, attempt: w.key.attempt },
      'the network refuses this result; it is kept, not sent',
    );
    this.#o.onError('result_refused');
    this.#o.metrics.jobs.inc({ outcome: 'result_refused' });
    this.#o.record('job.refused', { ...w.key });
  }
}
