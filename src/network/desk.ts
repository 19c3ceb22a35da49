import type { Clock } from '../lib/clock.ts';
import { assertNever } from '../lib/errors.ts';
import type { Logger } from '../lib/log.ts';
import {
  type Address,
  type CancelReason,
  CLOSE,
  FrameError,
  type JobReceiptMessage,
  type JobResultMessage,
  type LostReason,
  type RejectCode,
  type Sha256,
  sha256Hex,
} from '../protocol/index.ts';
import type { DispatchAction, DispatchNode } from './dispatch-types.ts';
import { Dispatcher, RESTART_MS } from './dispatcher.ts';
import type { JobFailure } from './errors.ts';
import { type Ending, Job, type JobRequest, type JobSink, ReceivedLines } from './job.ts';
import type { Ledger, Settled } from './ledger.ts';
import type { NetworkMetrics } from './metrics.ts';
import { newJobId, type Random } from './random.ts';
import type { Limits } from './settings.ts';
import type { Store } from './store.ts';
import { billsPassedOn } from './verdict.ts';

/** How jobs reach nodes. */
export interface NodeLink {
  /** False when the frame did not go out: no session, or too large for one. */
  send(node: Address, t: string, payload: string): boolean;
  /** True when a payload of this size may be offered at all. */
  fits(payload: string): boolean;
  applied(node: Address): Sha256 | undefined;
  /** Wall time of a monotonic moment, as this node's session tells time. */
  timeAt(node: Address, monotonic: number): number;
}

export interface DeskPorts {
  readonly clock: Clock;
  readonly random: Random;
  readonly store: Store;
  readonly ledger: Ledger;
  readonly link: NodeLink;
  readonly limits: Limits;
  readonly metrics: NetworkMetrics;
  readonly log: Logger;
}

type JobRef = { readonly jobId: string; readonly attempt: number };

/** An ended job is kept for results that are still under way. */
const KEPT_MS = 600_000;
const TICK_MS = 200;
/** How often it is written down how much of their answers callers were given. */
const NOTE_MS = 1_000;
/** How long ended jobs may wait to be forgotten. */
const REST_MS = 30_000;
/** How often a desk that closes looks whether all have their answer. */
const CLOSING_MS = 50;

/**
 * The shell around the dispatcher: turns its actions into frames and answers, and frames into its inputs. Holds every job
 * whose caller waits, and for a while those whose caller left.
 */
export class JobDesk {
  readonly #ports: DeskPorts;
  readonly #dispatcher: Dispatcher;
  readonly #jobs = new Map<string, Job>();
  /** Jobs of which lines were passed on since the last note of them. */
  readonly #passing = new Set<Job>();
  #notedAt = 0;
  #ticking = false;
  #rest: AbortController | undefined;
  #closed = false;
  readonly #stop = new AbortController();

  constructor(ports: DeskPorts) {
    this.#ports = ports;
    this.#dispatcher = new Dispatcher(ports.limits, () => ports.random.next());
  }

  get queued(): number {
    return this.#dispatcher.queued;
  }
  /** Jobs whose caller waits. */
  get open(): number {
    return this.#dispatcher.size;
  }

  /** @returns the job's id; the sink may be called before this returns, or undefined when an offer would not fit a frame */
  submit(request: JobRequest, sink: JobSink): string | undefined {
    const { clock, random, link } = this.#ports;
    const now = clock.monotonic();
    const jobId = newJobId(clock.now(), random);
    const job = new Job(jobId, request, sink, now, now + (request.deadline - clock.now()));
    // digests have one length, so the first offer is as long as any
    if (!link.fits(job.offer(99, request.modelDigest, request.deadline))) return undefined;
    this.#jobs.set(jobId, job);
    this.#run(
      this.#dispatcher.submit(
        {
          jobId,
          kind: request.kind,
          model: request.model,
          modelDigest: request.modelDigest,
          priority: request.priority,
          deadline: job.expiresAt,
          ...(request.subcloud === undefined ? {} : { subcloud: request.subcloud }),
        },
        now,
      ),
    );
    this.#keepTicking();
    return jobId;
  }

  /** The caller left, or an operator ends it. */
  cancel(jobId: string, reason: CancelReason): void {
    const job = this.#jobs.get(jobId);
    if (!job || job.ending) return;
    this.#end(job, { kind: 'cancelled', reason }, 'cancelled');
    this.#run(this.#dispatcher.cancelled(jobId, reason, this.#now()));
  }

  nodeChanged(view: DispatchNode): void {
    this.#run(this.#dispatcher.nodeChanged(view, this.#now()));
  }
  nodeDown(view: DispatchNode): void {
    const now = this.#now();
    this.#run([
      ...this.#dispatcher.nodeChanged({ ...view, offers: false }, now),
      ...this.#dispatcher.nodeDown(view.node, now),
    ]);
  }
  /** What the network still wants of a node that named what it has, with the lines held. */
  reconcile(node: Address, named: readonly JobRef[]): { jobId: string; attempt: number; deltas: number }[] {
    this.#run(this.#dispatcher.reconcile(node, named, this.#now()));
    return this.wanted(node);
  }
  wanted(node: Address): { jobId: string; attempt: number; deltas: number }[] {
    return this.#dispatcher.wanted(node).map((j) => ({ ...j, deltas: this.#jobs.get(j.jobId)?.lines.count ?? 0 }));
  }

  accepted(node: Address, { jobId, attempt }: JobRef): void {
    this.#dispatcher.accepted(node, jobId, attempt, this.#now());
  }
  rejected(node: Address, { jobId, attempt }: JobRef, code: RejectCode): void {
    this.#ports.log.info({ node, job: jobId, attempt, reason: code }, 'offer rejected');
    this.#run(this.#dispatcher.rejected(node, jobId, attempt, code, this.#now()));
  }
  progressed(node: Address, { jobId, attempt }: JobRef): void {
    this.#dispatcher.renewed(node, jobId, attempt, this.#now());
  }

  /** @throws FrameError 4400 when lines are missing between those held and `from` */
  delta(node: Address, ref: JobRef, from: number, lines: readonly string[]): void {
    const job = this.#jobs.get(ref.jobId);
    if (!job?.request.stream || !this.#dispatcher.renewed(node, ref.jobId, ref.attempt, this.#now())) return;
    const held = job.lines.count;
    if (from > held) throw new FrameError(CLOSE.badFrame, `job.delta from ${from}, ${held} lines are held`);
    const fresh = lines.slice(held - from);
    if (fresh.length === 0) return;
    job.lines.add(fresh);
    job.passedOn += fresh.length;
    this.#passing.add(job);
    this.#dispatcher.callerSaw(ref.jobId);
    job.sink.lines(fresh);
  }

  lost(node: Address, { jobId, attempt }: JobRef, reason: LostReason): void {
    this.#ports.log.info({ node, job: jobId, attempt, reason }, 'job lost');
    this.#run(this.#dispatcher.lost(node, jobId, attempt, reason, this.#now()));
  }

  /** @returns the receipt once it is durable; undefined when the inner signature is not the node's */
  result(node: Address, message: JobResultMessage): Promise<JobReceiptMessage> | undefined {
    const job = this.#jobs.get(message.result.jobId);
    const settled = this.#ports.ledger.settle(node, message, job);
    if (!settled) return undefined;
    return this.#ports.store.durable().then(() => {
      this.#settled(node, message, job, settled);
      return settled.receipt;
    });
  }
  /** The receipt is durable: the caller gets the answer. The job may have ended in between by the caller's will. */
  #settled(node: Address, message: JobResultMessage, job: Job | undefined, settled: Settled): void {
    const { jobId, attempt } = message.result;
    const { verdict, isNew } = settled;
    // the ledger has them all: what went well is no news
    if (isNew)
      this.#ports.log[verdict === 'accepted' ? 'debug' : 'info'](
        { node, job: jobId, attempt, verdict },
        'result receipted',
      );
    if (job && !job.ending) {
      if (verdict === 'accepted' && isNew) {
        this.#end(job, { kind: 'ended' }, 'completed');
        const rest = job.request.stream ? message.output.split('\n').slice(job.lines.count) : [];
        job.sink.answered(message.output, rest);
        this.#run(this.#dispatcher.finished(jobId, settled.tokens, this.#now()));
      } else if (verdict === 'rejected' && this.#dispatcher.job(jobId)?.attempt === attempt)
        // the node is done with this attempt, and what it sent is worth nothing
        this.#run(this.#dispatcher.lost(node, jobId, attempt, 'engine_error', this.#now()));
    }
  }

  /**
   * Nothing is offered any more: callers who wait for a node, and new ones, are told to come back. What runs has `graceMs` to
   * end; whoever still waits then is told the same.
   */
  async close(graceMs: number): Promise<void> {
    this.#run(this.#dispatcher.close(this.#now()));
    const until = this.#now() + graceMs;
    while (this.#dispatcher.size > 0 && this.#now() < until) await this.#ports.clock.sleep(CLOSING_MS);
    this.#closed = true;
    this.#stop.abort();
    for (const job of this.#jobs.values())
      if (!job.ending) {
        this.#end(job, { kind: 'ended' }, 'failed');
        job.sink.failed({ code: 'unavailable', message: 'the service restarts', retryAfterMs: RESTART_MS });
      }
  }

  #run(actions: readonly DispatchAction[]): void {
    for (const action of actions)
      switch (action.do) {
        case 'offer':
          this.#offer(action.node, action.jobId, action.attempt);
          break;
        case 'cancel': {
          const { jobId, attempt, reason } = action;
          this.#ports.link.send(action.node, 'job.cancel', JSON.stringify({ jobId, attempt, reason }));
          break;
        }
        case 'fail':
          this.#fail(action.jobId, action.failure);
          break;
        default:
          assertNever(action);
      }
  }

  #offer(node: Address, jobId: string, attempt: number): void {
    const { link, store, clock, log, metrics } = this.#ports;
    const job = this.#jobs.get(jobId);
    const configDigest = link.applied(node);
    if (!job || !configDigest) return;
    const deadline = link.timeAt(node, job.expiresAt);
    const payload = job.offer(attempt, configDigest, deadline);
    job.lines = new ReceivedLines();
    const { kind, stream, model, modelDigest, keyId } = job.request;
    store.noteAttempt({
      jobId,
      attempt,
      node,
      keyId,
      kind,
      stream,
      model,
      modelDigest,
      configDigest,
      requestHash: sha256Hex(payload),
      offeredAt: clock.now(),
      deadline,
    });
    job.sink.offered(node);
    metrics.dispatch.observe((this.#now() - job.arrivedAt) / 1_000);
    log.debug({ node, job: jobId, attempt }, 'job offered');
    // an offer that cannot go out is not answered within 2 s, which moves the job on
    link.send(node, 'job.offer', payload);
  }

  #fail(jobId: string, failure: JobFailure): void {
    const job = this.#jobs.get(jobId);
    if (!job || job.ending) return;
    this.#ports.log.warn({ job: jobId, reason: failure.code, detail: failure.message }, 'job failed');
    this.#end(job, { kind: 'ended' }, failure.code === 'deadline' ? 'deadline' : 'failed');
    job.sink.failed(failure);
  }

  #end(job: Job, ending: Ending, outcome: string): void {
    job.ending = ending;
    job.keptUntil = this.#now() + KEPT_MS;
    this.#passing.delete(job);
    // what is accepted needs no note any more
    if (outcome !== 'completed')
      this.#note(job, ending.kind === 'cancelled' && billsPassedOn(ending.reason) ? job.passedOn : 0);
    this.#ports.metrics.jobs.inc({ outcome });
  }

  /** A result may come to a service that was killed since: then this is all that is known of its caller's part (docs/protocol.md §5). */
  #note(job: Job, lines: number): void {
    if (job.notedPassedOn === lines) return;
    job.notedPassedOn = lines;
    this.#ports.store.notePassedOn(job.jobId, lines);
  }
  #notePassing(now: number): void {
    if (now - this.#notedAt < NOTE_MS) return;
    this.#notedAt = now;
    for (const job of this.#passing) this.#note(job, job.passedOn);
    this.#passing.clear();
  }

  /** Ticks while there is a job that time can change, and rests while there are only ended ones; a new job ends the rest. */
  #keepTicking(): void {
    this.#rest?.abort();
    if (this.#ticking || this.#closed) return;
    this.#ticking = true;
    const { clock } = this.#ports;
    const loop = async (): Promise<void> => {
      while (this.#jobs.size > 0) {
        if (this.#dispatcher.size > 0) await clock.sleep(TICK_MS, this.#stop.signal);
        else await this.#restFor(REST_MS);
        const now = this.#now();
        this.#run(this.#dispatcher.tick(now));
        this.#notePassing(now);
        for (const job of this.#jobs.values()) if (job.keptUntil <= now) this.#jobs.delete(job.jobId);
      }
      this.#ticking = false;
    };
    loop().catch((error: unknown) => {
      this.#ticking = false;
      if (this.#closed) return;
      this.#ports.log.error({ error }, 'a tick of the dispatcher failed');
      this.#keepTicking();
    });
  }

  /** Sleeps until `ms` are over or a job arrives. */
  async #restFor(ms: number): Promise<void> {
    const rest = new AbortController();
    this.#rest = rest;
    try {
      await this.#ports.clock.sleep(ms, AbortSignal.any([this.#stop.signal, rest.signal]));
    } catch (error) {
      if (!rest.signal.aborted) throw error;
    } finally {
      this.#rest = undefined;
    }
  }

  #now(): number {
    return this.#ports.clock.monotonic();
  }
}
