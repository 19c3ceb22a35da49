import type { Clock } from '../lib/clock.ts';
import { assertNever, errorText } from '../lib/errors.ts';
import type { Logger } from '../lib/log.ts';
import { KubeError } from './errors.ts';
import { Expectations } from './expectations.ts';
import type { KubeMetrics } from './metrics.ts';
import { type Item, WorkQueue } from './queue.ts';
import type { Source } from './sources.ts';
import type { Store } from './store.ts';
import { breathe, deadline } from './timing.ts';
import { type Key, type KubeObject, splitKey } from './types.ts';

/** How a reconcile ended well. A thrown error is the fourth way: it is counted and tried again with back-off. */
export type Outcome =
  | { readonly type: 'done' }
  /** Look again after `ms`, whatever happens. */
  | { readonly type: 'requeueAfter'; readonly ms: number }
  /** It cannot succeed until something changes; no retry. */
  | { readonly type: 'terminal'; readonly error: unknown };

export const done: Outcome = { type: 'done' };
export const requeueAfter = (ms: number): Outcome => ({ type: 'requeueAfter', ms });
export const terminal = (error: unknown): Outcome => ({ type: 'terminal', error });

export interface ReconcileContext {
  readonly key: Key;
  readonly namespace: string | undefined;
  readonly name: string;
  /** Ends when the time is over or the process stops; pass it to every call. */
  readonly signal: AbortSignal;
  /** Carries controller, key, reason and attempt. */
  readonly log: Logger;
  /** What woke it: for the log, never for a decision. */
  readonly reason: string;
  readonly attempt: number;
  /** Says that `written` (an answer of the API server) must be in `store` before this key is reconciled again. */
  readonly wrote: <T extends KubeObject>(store: Store<T>, written: T) => void;
}

export interface ControllerOptions {
  readonly name: string;
  readonly clock: Clock;
  readonly log: Logger;
  readonly metrics?: KubeMetrics | undefined;
  readonly sources: readonly Source[];
  /** Level-triggered: looks at the whole state of `key`, never at what woke it. Called for keys that no longer exist, too. */
  readonly reconcile: (key: Key, context: ReconcileContext) => Promise<Outcome>;
  /** Workers; default 1. One key is never in two of them. */
  readonly concurrency?: number | undefined;
  /** Of one reconcile; default 60 s. */
  readonly timeoutMs?: number | undefined;
  /** At least so long between two starts of one key; default 0. */
  readonly minIntervalMs?: number | undefined;
  /** Keys that belong together: workers take turns over these, so that thousands of one delay nobody else. */
  readonly flowOf?: ((key: Key) => string) | undefined;
}

/** A key whose cache is behind is looked at again so often, to see whether that is still worth waiting for. */
const LOOK_AGAIN_MS = 1_000;

/**
 * A reconcile that finds nothing to write may end without the loop having turned. After so many of them each worker lets it
 * turn, or a resync of thousands would stop watches, probes and renewals until its end.
 */
const AT_ONCE = 4;

/** Turns changes of sources into reconciles of keys. Run it by a Manager, or by `listen` and `work` yourself. */
export class Controller {
  readonly name: string;
  readonly queue: WorkQueue;
  readonly #o: ControllerOptions;
  readonly #expected: Expectations;
  /** Reconciles that ended in this turn of the loop. */
  #inTurn = 0;

  constructor(options: ControllerOptions) {
    this.#o = options;
    this.name = options.name;
    const { name, clock, metrics, minIntervalMs, flowOf } = options;
    this.queue = new WorkQueue({ name, clock, metrics, minIntervalMs, flowOf });
    this.#expected = new Expectations(clock);
    metrics?.maxWorkers.set({ controller: name }, options.concurrency ?? 1);
    metrics?.activeWorkers.set({ controller: name }, 0);
    metrics?.reconcileErrors.inc({ controller: name }, 0);
  }

  /** Starts to listen; keys gather in the queue. */
  listen(signal: AbortSignal): void {
    for (const source of this.#o.sources) {
      source.start((key, reason, priority) => this.queue.add(key, { reason, priority }), signal);
    }
  }

  synced(): boolean {
    return this.#o.sources.every((s) => s.synced?.() ?? true);
  }

  /**
   * Works until `stop` ends, then finishes what is in hand; `kill` ends that too (contexts' signals abort).
   * Resolves when no reconcile runs any more.
   */
  async work(stop: AbortSignal, kill: AbortSignal): Promise<void> {
    const end = (): void => {
      this.queue.stop();
      this.#expected.stop();
    };
    if (stop.aborted) end();
    else stop.addEventListener('abort', end, { once: true });
    await Promise.all(Array.from({ length: this.#o.concurrency ?? 1 }, () => this.#worker(kill)));
    stop.removeEventListener('abort', end);
  }

  async #worker(kill: AbortSignal): Promise<void> {
    for (let item = await this.queue.next(); item; item = await this.queue.next()) {
      this.#o.metrics?.activeWorkers.inc({ controller: this.name });
      try {
        await this.#one(item, kill);
      } finally {
        this.queue.done(item.key);
        this.#o.metrics?.activeWorkers.dec({ controller: this.name });
      }
      if (this.#inTurn === 0)
        setImmediate(() => {
          this.#inTurn = 0;
        });
      if (++this.#inTurn >= AT_ONCE) await breathe();
    }
  }

  async #one(item: Item, kill: AbortSignal): Promise<void> {
    const { clock, metrics, timeoutMs = 60_000 } = this.#o;
    const controller = this.name;
    const { key, reason, attempt } = item;
    const again = { reason, priority: item.priority };
    if (!this.#expected.met(key, () => this.queue.add(key, again))) {
      // The worker goes on with other keys; this one comes back when the cache has told, or to give up waiting.
      metrics?.staleSkips.inc({ controller });
      this.queue.add(key, { ...again, afterMs: LOOK_AGAIN_MS });
      return;
    }
    const log = this.#o.log.child({ controller, key, reason, attempt });
    const limit = deadline(
      clock,
      timeoutMs,
      kill,
      () => new KubeError('kube_timeout', `reconcile of ${key} ran past ${timeoutMs} ms`),
    );
    const started = clock.monotonic();
    let result: string;
    try {
      const outcome = await this.#o.reconcile(key, {
        key,
        ...splitKey(key),
        signal: limit.signal,
        log,
        reason,
        attempt,
        wrote: (store, written) => this.#expected.add(key, store, written),
      });
      result = this.#settle(item, outcome, log);
    } catch (error) {
      result = 'error';
      metrics?.reconcileErrors.inc({ controller });
      const retryInMs = this.queue.addRateLimited(key, 'error');
      if (!kill.aborted)
        log.error(
          { error: errorText(error), ms: Math.round(clock.monotonic() - started), retryInMs: Math.round(retryInMs) },
          'reconcile failed',
        );
    } finally {
      limit.close();
    }
    if (limit.expired()) metrics?.reconcileTimeouts.inc({ controller });
    const ms = clock.monotonic() - started;
    metrics?.reconciles.inc({ controller, result });
    metrics?.reconcileSeconds.observe({ controller }, ms / 1000);
    log.debug({ result, ms: Math.round(ms * 10) / 10 }, 'reconciled');
  }

  #settle(item: Item, outcome: Outcome, log: Logger): string {
    this.queue.forget(item.key);
    switch (outcome.type) {
      case 'done':
        return 'success';
      case 'requeueAfter':
        this.queue.add(item.key, { reason: 'timer', priority: 'live', afterMs: outcome.ms });
        return 'requeue_after';
      case 'terminal':
        this.#o.metrics?.terminalErrors.inc({ controller: this.name });
        log.warn({ error: errorText(outcome.error) }, 'reconcile ended for good until something changes');
        return 'terminal_error';
      default:
        return assertNever(outcome);
    }
  }
}
