import { assertNever } from '../lib/errors.ts';
import type { Address, CancelReason, LostReason, RejectCode } from '../protocol/index.ts';
import type { DispatchAction, DispatchJob, DispatchLimits, DispatchNode, TrackedJob } from './dispatch-types.ts';
import type { JobFailure } from './errors.ts';
import { JobQueue } from './job-queue.ts';
import { NodePool } from './node-pool.ts';

/** How long a node that turned a job down is passed over for it. */
const AVOID_MS = 1_000;
/** When a caller may come back to a service that restarts. */
export const RESTART_MS = 2_000;
/** Way, queue and prompt of a job in tokens of its answer, so that short answers do not look slow. */
const FIXED_TOKENS = 16;

/**
 * Who works on what: plain data in, actions out; it owns no timer, socket or disk. Time is the caller's monotonic clock.
 *
 * Invariants: a job is queued, offered to one node or running on one node; each offer raises its attempt, so an older one
 * is fenced; offers not yet ended never exceed a node's capacity; a job of whose answer the caller has seen a part is
 * never started over; every job ends by `finished`, `cancelled` or one `fail` action.
 */
export class Dispatcher {
  readonly #limits: DispatchLimits;
  readonly #pool: NodePool;
  readonly #queue = new JobQueue();
  readonly #jobs = new Map<string, TrackedJob>();
  #closing = false;

  constructor(limits: DispatchLimits, random: () => number) {
    this.#limits = limits;
    this.#pool = new NodePool(random);
  }

  get queued(): number {
    return this.#queue.size;
  }
  get size(): number {
    return this.#jobs.size;
  }
  /** The job as it stands, or undefined once it has ended. */
  job(jobId: string): Readonly<TrackedJob> | undefined {
    return this.#jobs.get(jobId);
  }
  /** Jobs that the network still wants from this node. */
  wanted(node: Address): readonly { jobId: string; attempt: number }[] {
    return this.#pool.openOn(node).map((jobId) => ({ jobId, attempt: this.#jobs.get(jobId)?.attempt ?? 0 }));
  }

  submit(job: DispatchJob, now: number): DispatchAction[] {
    if (this.#queue.size >= this.#limits.queue)
      return [{ do: 'fail', jobId: job.jobId, failure: unavailable('the queue is full', 1_000) }];
    const tracked: TrackedJob = {
      job,
      arrived: now,
      phase: { kind: 'queued', since: now },
      attempt: 0,
      offeredAt: now,
      losses: 0,
      seen: false,
      avoid: new Map(),
    };
    this.#jobs.set(job.jobId, tracked);
    this.#queue.add(tracked);
    return this.#place(now);
  }

  /** Nothing is offered from now on: who waits for a node is told to come back, as is who comes; what runs may end. */
  close(now: number): DispatchAction[] {
    this.#closing = true;
    return this.#place(now);
  }

  nodeChanged(view: DispatchNode, now: number): DispatchAction[] {
    this.#pool.set(view);
    return view.offers ? this.#place(now) : [];
  }

  /** The node's socket is gone (its view says so already): what it had not accepted is withdrawn, what runs is waited for a while longer (§5). */
  nodeDown(node: Address, now: number): DispatchAction[] {
    for (const t of this.#on(node)) {
      if (t.phase.kind === 'offered') this.#requeue(t, now);
      else if (t.phase.kind === 'running') t.phase = { ...t.phase, lease: t.phase.lease + this.#limits.downGraceMs };
    }
    return this.#place(now);
  }

  /**
   * A new session names what it has: named jobs count as accepted, the others of this node are lost. What is still wanted
   * afterwards is `wanted(node)`.
   */
  reconcile(node: Address, named: readonly { jobId: string; attempt: number }[], now: number): DispatchAction[] {
    const actions: DispatchAction[] = [];
    const has = new Map(named.map((j) => [j.jobId, j.attempt]));
    for (const t of this.#on(node)) {
      if (has.get(t.job.jobId) === t.attempt) t.phase = { kind: 'running', node, lease: now + this.#limits.leaseMs };
      else if (t.phase.kind === 'offered') this.#requeue(t, now);
      else actions.push(...this.#lose(t, 'the node lost it', now));
    }
    return [...actions, ...this.#place(now)];
  }

  accepted(node: Address, jobId: string, attempt: number, now: number): void {
    const t = this.#current(node, jobId, attempt);
    if (t) t.phase = { kind: 'running', node, lease: now + this.#limits.leaseMs };
  }

  rejected(node: Address, jobId: string, attempt: number, code: RejectCode, now: number): DispatchAction[] {
    const t = this.#current(node, jobId, attempt);
    if (!t) return [];
    switch (code) {
      case 'invalid_request':
        return this.#fail(t, { code: 'invalid_request', message: 'the node found the request invalid' });
      case 'expired':
        return this.#fail(t, { code: 'deadline', message: 'the deadline passed before a node could start' });
      case 'draining':
      case 'paused':
      case 'config_mismatch':
      case 'model_not_active':
      case 'wrong_subcloud':
      case 'stale_attempt':
      case 'at_capacity':
      case 'not_ready':
        t.avoid.set(node, now + AVOID_MS * 2 ** Math.min(t.attempt, 5));
        return [...this.#again(t, `turned down: ${code}`, now), ...this.#place(now)];
      default:
        return assertNever(code);
    }
  }

  /** job.progress or job.delta: the lease runs anew. True when this attempt is the current one. */
  renewed(node: Address, jobId: string, attempt: number, now: number): boolean {
    const t = this.#current(node, jobId, attempt);
    // a delta that overtakes nothing: frames are in order, so accept came first or was lost with an old socket
    if (t) t.phase = { kind: 'running', node, lease: now + this.#limits.leaseMs };
    return t !== undefined;
  }
  callerSaw(jobId: string): void {
    const t = this.#jobs.get(jobId);
    if (t) t.seen = true;
  }

  lost(node: Address, jobId: string, attempt: number, reason: LostReason, now: number): DispatchAction[] {
    const t = this.#current(node, jobId, attempt);
    if (!t) return [];
    if (reason === 'output_too_large')
      return this.#fail(t, { code: 'output_too_large', message: 'the answer is above 16 MiB' });
    if (reason === 'engine_error' && t.losses > 0)
      return this.#fail(t, { code: 'engine_error', message: 'the engine could not answer this request' });
    if (reason === 'disk_full' || reason === 'engine_crash') this.#pool.penalise(node, now);
    return [...this.#lose(t, reason, now), ...this.#place(now)];
  }

  /** A result with so many tokens was accepted: the node's time for it is measured. */
  finished(jobId: string, tokens: number, now: number): DispatchAction[] {
    const t = this.#jobs.get(jobId);
    if (t && t.phase.kind !== 'queued')
      this.#pool.measured(t.phase.node, t.job, (now - t.offeredAt) / (tokens + FIXED_TOKENS), now);
    if (t) this.#forget(t);
    return t ? this.#place(now) : [];
  }

  /** The caller left, or the network's operator ended it. */
  cancelled(jobId: string, reason: CancelReason, now: number): DispatchAction[] {
    const t = this.#jobs.get(jobId);
    if (!t) return [];
    const cancel = cancelOf(t, reason);
    this.#forget(t);
    return [...cancel, ...this.#place(now)];
  }

  /** Everything that time alone brings: deadlines, unanswered offers, lost leases, callers who waited long enough. */
  tick(now: number): DispatchAction[] {
    const actions: DispatchAction[] = [];
    for (const t of [...this.#jobs.values()]) {
      if (t.job.deadline <= now) {
        const cancel = cancelOf(t, 'deadline');
        actions.push(...cancel, ...this.#fail(t, { code: 'deadline', message: 'the deadline passed' }));
        continue;
      }
      switch (t.phase.kind) {
        case 'queued':
          actions.push(...this.#waited(t, t.phase.since, now));
          break;
        case 'offered':
          if (t.phase.until > now) break;
          this.#pool.penalise(t.phase.node, now);
          actions.push(...cancelOf(t, 'unanswered'));
          t.avoid.set(t.phase.node, now + this.#limits.leaseMs);
          actions.push(...this.#again(t, 'no node answered the offer', now));
          break;
        case 'running':
          if (t.phase.lease > now) break;
          this.#pool.penalise(t.phase.node, now);
          t.avoid.set(t.phase.node, now + this.#limits.leaseMs);
          actions.push(...cancelOf(t, 'reassigned'), ...this.#lose(t, 'its lease ran out', now));
          break;
        default:
          assertNever(t.phase);
      }
    }
    return [...actions, ...this.#place(now)];
  }

  #waited(t: TrackedJob, since: number, now: number): DispatchAction[] {
    const waited = now - since;
    if (waited < this.#limits.noNodeMs) return [];
    if (!this.#pool.canServe(t.job)) return this.#fail(t, unavailable(`no node can serve ${t.job.model} now`, 5_000));
    return waited < this.#limits.queueMs ? [] : this.#fail(t, unavailable('every node is busy', 2_000));
  }

  #place(now: number): DispatchAction[] {
    const actions: DispatchAction[] = [];
    if (this.#closing)
      for (const t of this.#queue.clear())
        actions.push(...this.#fail(t, unavailable('the service restarts', RESTART_MS)));
    this.#queue.serve((t) => {
      const node = this.#pool.pick(t.job, t.avoid, now);
      if (!node) return t.avoid.size === 0 ? 'full' : 'passed';
      t.attempt++;
      t.offeredAt = now;
      t.phase = { kind: 'offered', node, until: now + this.#limits.offerMs };
      this.#pool.open(node, t.job.jobId);
      actions.push({ do: 'offer', node, jobId: t.job.jobId, attempt: t.attempt });
      return 'placed';
    });
    return actions;
  }

  #lose(t: TrackedJob, why: string, now: number): DispatchAction[] {
    t.losses++;
    if (t.seen) return this.#fail(t, { code: 'interrupted', message: `the node stopped in mid-answer: ${why}` });
    if (t.losses >= this.#limits.attempts || t.attempt >= this.#limits.offers)
      return this.#fail(t, unavailable(`gave up after ${t.losses} attempts: ${why}`, 2_000));
    this.#requeue(t, now);
    return [];
  }

  /** Back to the queue after an offer that came to nothing; the number of offers is bounded. */
  #again(t: TrackedJob, why: string, now: number): DispatchAction[] {
    if (t.attempt >= this.#limits.offers)
      return this.#fail(t, unavailable(`gave up after ${t.attempt} offers: ${why}`, 5_000));
    this.#requeue(t, now);
    return [];
  }

  #requeue(t: TrackedJob, now: number): void {
    if (t.phase.kind === 'queued') return;
    this.#pool.close(t.phase.node, t.job.jobId);
    t.phase = { kind: 'queued', since: now };
    this.#queue.add(t);
  }

  #fail(t: TrackedJob, failure: JobFailure): DispatchAction[] {
    this.#forget(t);
    return [{ do: 'fail', jobId: t.job.jobId, failure }];
  }

  #forget(t: TrackedJob): void {
    if (t.phase.kind === 'queued') this.#queue.remove(t);
    else this.#pool.close(t.phase.node, t.job.jobId);
    this.#jobs.delete(t.job.jobId);
  }

  #current(node: Address, jobId: string, attempt: number): TrackedJob | undefined {
    const t = this.#jobs.get(jobId);
    return t && t.attempt === attempt && t.phase.kind !== 'queued' && t.phase.node === node ? t : undefined;
  }

  #on(node: Address): TrackedJob[] {
    return this.#pool
      .openOn(node)
      .map((id) => this.#jobs.get(id))
      .filter((t) => t !== undefined);
  }
}

const cancelOf = (t: TrackedJob, reason: CancelReason): DispatchAction[] =>
  t.phase.kind === 'queued'
    ? []
    : [{ do: 'cancel', node: t.phase.node, jobId: t.job.jobId, attempt: t.attempt, reason }];

const unavailable = (message: string, retryAfterMs: number): JobFailure => ({
  code: 'unavailable',
  message,
  retryAfterMs,
});
