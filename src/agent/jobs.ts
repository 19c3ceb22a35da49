import type { Clock } from '../lib/clock.ts';
import { assertNever, CodedError } from '../lib/errors.ts';
import type { Logger } from '../lib/log.ts';
import {
  type Domain,
  type Hello,
  type JobOffer,
  type JobResultStruct,
  type LostReason,
  type Sha256,
  type Signer,
  sha256Hex,
  signStruct,
  type Welcome,
} from '../protocol/index.ts';
import type { EngineClient, RunDone, Timeouts } from '../runtime/index.ts';
import { DeltaStream } from './delta-stream.ts';
import type { JobChannel } from './job-channel.ts';
import type { AgentMetrics } from './job-metrics.ts';
import type { JobKey, Journal } from './journal.ts';
import { checkOffer, engineRequest, type OfferRules } from './offer-check.ts';
import { keyOf, type Results } from './results.ts';

export interface JobsOptions {
  readonly clock: Clock;
  /** Server time, ms. */
  readonly serverNow: () => number;
  readonly logger: Logger;
  readonly domain: Domain;
  readonly signer: Signer;
  readonly journal: Journal;
  readonly engine: Pick<EngineClient, 'run'>;
  readonly channel: JobChannel;
  readonly rules: () => OfferRules;
  readonly limits: () => { readonly slots: number; readonly queue: number; readonly timeouts: Timeouts };
  readonly results: Results;
  readonly metrics: AgentMetrics;
  readonly record: (kind: string, data: Record<string, unknown>) => void;
  readonly onError: (code: string) => void;
  /** Told when the number of open jobs changed. */
  readonly onLoad: () => void;
}

interface Job extends JobKey {
  readonly offer: JobOffer;
  readonly requestHash: Sha256;
  readonly order: number;
  readonly acceptedAt: number;
  /** Monotonic: the deadline as server time stood when it was offered; a later session may tell time anew. */
  readonly expiresAt: number;
  readonly abort: AbortController;
  readonly deltas: DeltaStream;
  state: 'queued' | 'running';
  /** Why it is being stopped; `silent` tells nobody. */
  stop: LostReason | 'silent' | null;
  lastFrame: number;
}

const PROGRESS_MS = 8_000;

/**
 * Jobs from offer to signed result (docs/protocol.md §5). A job is journalled before it is accepted, its result before it is
 * sent; an attempt reaches the engine at most once; whatever happens to one job never touches the next.
 */
export class Jobs {
  readonly #o: JobsOptions;
  readonly #log: Logger;
  readonly #open = new Map<string, Job>();
  readonly #orphans: JobKey[];
  #order = 0;
  #idle: (() => void)[] = [];
  #over = false;

  constructor(options: JobsOptions) {
    this.#o = options;
    this.#log = options.logger;
    const { journal } = options;
    this.#orphans = journal.accepted().map(({ jobId, attempt }) => ({ jobId, attempt }));
    if (this.#orphans.length + options.results.count > 0)
      this.#log.info(
        { lost: this.#orphans.length, results: options.results.count },
        'the journal holds work of the last run',
      );
  }

  /** Accepted and not ended. */
  get used(): number {
    return this.#open.size;
  }
  get running(): number {
    return [...this.#open.values()].filter((j) => j.state === 'running').length;
  }
  /** Resolves when no job is open. */
  async idle(): Promise<void> {
    if (this.#open.size > 0) await new Promise<void>((resolve) => this.#idle.push(resolve));
  }

  /** What hello names. Results that the network refused twice are no longer named. */
  helloJobs(): Hello['jobs'] {
    const running = [...this.#open.values()].map((j) => ({
      jobId: j.jobId,
      attempt: j.attempt,
      state: 'running' as const,
      deltas: j.deltas.lines,
    }));
    return [...running, ...this.#o.results.named()].slice(0, 1024);
  }

  /** Reconciles with the network's list: wanted jobs go on from its line, the others stop, every result is sent again. */
  welcomed(jobs: Welcome['jobs']): void {
    this.reconcile(jobs);
    for (const key of this.#orphans.splice(0)) {
      this.#o.channel.send('job.lost', { ...key, reason: 'agent_restart' });
      this.#end(key, 'agent_restart');
    }
    this.#o.results.sendAll();
  }

  /**
   * The jobs that the network still wants; `deltas` = lines that it holds. Also what a heartbeat's answer says; then `named`
   * are the jobs that the heartbeat told of, and later ones are not judged by it.
   */
  reconcile(
    jobs: readonly (JobKey & { readonly deltas?: number | undefined })[],
    named: readonly JobKey[] = [...this.#open.values()],
  ): void {
    const wanted = new Map(jobs.map((j) => [keyOf(j), j]));
    const judged = new Set(named.map(keyOf));
    for (const [key, job] of this.#open) {
      if (!judged.has(key)) continue;
      const want = wanted.get(key);
      if (!want) {
        this.#stop(job, 'silent');
        continue;
      }
      if (want.deltas !== undefined) job.deltas.resumeAt(want.deltas);
    }
  }

  /** @param payload the offer's exact bytes */
  offer(offer: JobOffer, payload: string): void {
    const { channel, journal, clock } = this.#o;
    const key = { jobId: offer.jobId, attempt: offer.attempt };
    if (this.#open.has(keyOf(key))) {
      channel.send('job.accept', key);
      return;
    }
    if (this.#o.results.sendAgain(key)) return;
    const started = clock.monotonic();
    const limits = this.#o.limits();
    const requestHash = sha256Hex(payload);
    try {
      const verdict = checkOffer(offer, this.#o.rules(), {
        highestAttempt: journal.highest(offer.jobId)?.attempt,
        open: this.#open.size,
        slots: limits.slots,
        queue: limits.queue,
      });
      if (!verdict.ok) {
        this.#reject(key, verdict.code, verdict.message);
        return;
      }
      for (const job of this.#open.values()) if (job.jobId === offer.jobId) this.#stop(job, 'silent');
      journal.accept({ ...key, deadline: offer.deadline, requestHash });
    } catch (error) {
      this.#log.error({ job: offer.jobId, error }, 'the journal cannot keep the promise, so none is made');
      this.#o.onError(error instanceof CodedError ? error.code : 'journal_failed');
      this.#reject(key, 'not_ready', 'the journal cannot be written');
      return;
    }
    const job: Job = {
      ...key,
      offer,
      requestHash,
      order: this.#order++,
      acceptedAt: clock.monotonic(),
      expiresAt: clock.monotonic() + (offer.deadline - this.#o.serverNow()),
      abort: new AbortController(),
      deltas: new DeltaStream({ key, clock, channel, onSent: () => this.#touched(job) }),
      state: 'queued',
      stop: null,
      lastFrame: clock.monotonic(),
    };
    this.#open.set(keyOf(key), job);
    this.#o.record('job.accepted', { ...key, model: offer.model, kind: offer.kind, requestHash });
    channel.send('job.accept', key);
    this.#loadChanged();
    this.#startNext();
    this.#o.metrics.jobOverhead.observe((clock.monotonic() - started) / 1000);
  }

  /** Frees the engine at once; a result already signed is sent instead. */
  cancel(key: JobKey, reason: string): void {
    const job = this.#open.get(keyOf(key));
    this.#log.info({ job: key.jobId, attempt: key.attempt, reason }, 'job cancelled by the network');
    if (job) {
      this.#stop(job, 'cancelled');
      return;
    }
    if (this.#o.results.sendAgain(key)) return;
    this.#o.channel.send('job.lost', { jobId: key.jobId, attempt: key.attempt, reason: 'cancelled' });
  }

  /** Stops every open job with this reason (the end of a drain or handover). */
  loseAll(reason: 'draining' | 'handover'): void {
    for (const job of [...this.#open.values()]) this.#stop(job, reason);
  }

  /** Leases and resends; runs until `signal`. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock, journal, metrics } = this.#o;
    for (let tick = 0; !signal.aborted; tick++) {
      const now = clock.monotonic();
      for (const job of this.#open.values()) if (now - job.lastFrame >= PROGRESS_MS) this.#progress(job);
      const serverNow = this.#o.serverNow();
      for (const job of this.#open.values())
        if (job.state === 'queued' && job.expiresAt <= now) this.#stop(job, 'timeout_total');
      this.#o.results.resendDue(serverNow);
      if (tick % 300 === 0) {
        try {
          metrics.journalRecords.set(journal.compact(serverNow));
        } catch (error) {
          this.#log.warn({ error }, 'the journal could not be compacted');
        }
      }
      await clock.sleep(2_000, signal).catch(() => {});
    }
    // what is still open is left as a crash would leave it: the next start gives it back
    this.#over = true;
    for (const job of this.#open.values()) job.abort.abort();
  }

  #reject(key: JobKey, code: string, message: string): void {
    this.#o.channel.send('job.reject', { ...key, code, message });
    this.#o.metrics.jobs.inc({ outcome: `rejected_${code}` });
    this.#o.record('job.rejected', { ...key, code });
    this.#log.info({ job: key.jobId, attempt: key.attempt, reason: code }, 'job rejected');
  }

  #touched(job: Job): void {
    job.lastFrame = this.#o.clock.monotonic();
  }

  #progress(job: Job): void {
    this.#touched(job);
    const phase = job.state === 'queued' ? 'queued' : job.deltas.lines > 0 ? 'decode' : 'prefill';
    this.#o.channel.send('job.progress', {
      jobId: job.jobId,
      attempt: job.attempt,
      phase,
      ...(job.deltas.lines > 0 ? { tokens: job.deltas.lines } : {}),
    });
  }

  /** Highest priority first, then the order of arrival. */
  #startNext(): void {
    while (this.running < this.#o.limits().slots) {
      const next = [...this.#open.values()]
        .filter((j) => j.state === 'queued' && !j.stop)
        .sort((a, b) => b.offer.priority - a.offer.priority || a.order - b.order)[0];
      if (!next) return;
      if (next.expiresAt <= this.#o.clock.monotonic()) {
        this.#stop(next, 'timeout_total');
        continue;
      }
      next.state = 'running';
      this.#run(next).catch((error: unknown) => {
        this.#log.error({ job: next.jobId, error }, 'job failed inside the agent');
        this.#finish(next, 'engine_error');
      });
    }
  }

  async #run(job: Job): Promise<void> {
    const { clock, engine, metrics } = this.#o;
    const { offer } = job;
    const { timeouts } = this.#o.limits();
    const left = Math.max(1, job.expiresAt - clock.monotonic());
    const done = await engine.run(offer.kind, engineRequest(offer, this.#o.rules().maxOutputTokens), {
      stream: offer.stream,
      signal: job.abort.signal,
      timeouts: { ...timeouts, totalMs: Math.min(timeouts.totalMs, left) },
      headers: { 'x-request-id': `${offer.jobId}.${offer.attempt}` },
      clock,
      onLine: (line, index) => {
        const at = clock.monotonic();
        if (index === 0) metrics.ttft.observe((at - job.acceptedAt) / 1000);
        job.deltas.push(line);
        metrics.chunkOverhead.observe((clock.monotonic() - at) / 1000);
        return this.#o.channel.congestion();
      },
    });
    switch (done.state) {
      case 'done':
        return this.#completed(job, done);
      case 'failed':
        if (!job.stop)
          this.#log.warn(
            { job: job.jobId, attempt: job.attempt, reason: done.reason, detail: done.detail },
            'job lost',
          );
        return this.#finish(job, job.stop ?? done.reason, done);
      default:
        return assertNever(done);
    }
  }

  #completed(job: Job, done: RunDone): void {
    if (this.#over) return;
    const { journal, clock, metrics } = this.#o;
    const started = clock.monotonic();
    const { offer } = job;
    const result: JobResultStruct = {
      jobId: job.jobId,
      attempt: job.attempt,
      node: this.#o.signer.address,
      model: offer.model,
      modelDigest: offer.modelDigest,
      configDigest: offer.configDigest,
      requestHash: job.requestHash,
      outputHash: sha256Hex(done.output),
      promptTokens: done.usage?.promptTokens ?? 0,
      completionTokens: offer.kind === 'embeddings' ? 0 : (done.usage?.completionTokens ?? done.contentChunks),
      finishReason: offer.kind === 'embeddings' ? 'stop' : done.finishReason,
      finishedAt: this.#o.serverNow(),
    };
    const sig = signStruct(this.#o.signer, this.#o.domain, 'JobResult', result);
    const payload = JSON.stringify({ result, sig, output: done.output });
    try {
      journal.result(job, payload, done.lines);
    } catch (error) {
      this.#log.error({ job: job.jobId, error }, 'the result cannot be made durable');
      this.#o.onError('journal');
      this.#finish(job, 'disk_full');
      return;
    }
    job.deltas.end();
    this.#close(job);
    const { completionTokens, promptTokens, outputHash, finishReason } = result;
    this.#o.record('job.result', {
      jobId: job.jobId,
      attempt: job.attempt,
      outputHash,
      promptTokens,
      completionTokens,
      finishReason,
    });
    this.#log.info(
      {
        job: job.jobId,
        attempt: job.attempt,
        ms: Math.round(clock.monotonic() - job.acceptedAt),
        promptTokens,
        completionTokens,
      },
      'job done, result signed',
    );
    metrics.jobOverhead.observe((clock.monotonic() - started) / 1000);
    this.#o.results.add({ result, sig, deadline: offer.deadline, lines: done.lines, size: Buffer.byteLength(payload) });
  }

  #stop(job: Job, reason: LostReason | 'silent'): void {
    job.stop ??= reason;
    if (job.state === 'running') job.abort.abort();
    else this.#finish(job, reason);
  }

  /** The end of an attempt without a result. `made`: what the engine had made until then. */
  #finish(job: Job, reason: LostReason | 'silent', made = { lines: 0, completionTokens: 0 }): void {
    if (this.#over || !this.#open.has(keyOf(job))) return;
    job.deltas.end();
    this.#end(job, reason);
    if (reason !== 'silent') this.#o.channel.send('job.lost', { jobId: job.jobId, attempt: job.attempt, reason });
    this.#o.metrics.jobs.inc({ outcome: reason === 'silent' ? 'aborted' : `lost_${reason}` });
    const { lines, completionTokens } = made;
    this.#o.record('job.lost', { jobId: job.jobId, attempt: job.attempt, reason, lines, completionTokens });
    this.#close(job);
  }

  #end(key: JobKey, reason: string): void {
    try {
      this.#o.journal.ended(key, reason);
    } catch (error) {
      this.#log.error({ job: key.jobId, error }, 'the end of a job could not be journalled');
    }
  }

  #close(job: Job): void {
    this.#open.delete(keyOf(job));
    this.#loadChanged();
    this.#startNext();
    if (this.#open.size === 0) for (const resolve of this.#idle.splice(0)) resolve();
  }

  #loadChanged(): void {
    this.#o.metrics.inflight.set(this.#open.size);
    this.#o.onLoad();
  }
}
