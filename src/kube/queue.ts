import type { Clock } from '../lib/clock.ts';
import { FairMap } from './fair.ts';
import { TokenBucket } from './limiter.ts';
import type { KubeMetrics } from './metrics.ts';
import { pause } from './timing.ts';
import type { Key } from './types.ts';

/** live: something changed; retry: it failed before; resync: just to be sure. Served in this order, in turns over flows within. */
export type Priority = 'live' | 'retry' | 'resync';
const ORDER: readonly Priority[] = ['live', 'retry', 'resync'];

export interface QueueOptions {
  readonly name: string;
  readonly clock: Clock;
  readonly metrics?: KubeMetrics | undefined;
  /** At least so long between two starts of one key; default 0. */
  readonly minIntervalMs?: number | undefined;
  /** Keys that belong together, so that many of them do not delay others; default all in one. First in first out within. */
  readonly flowOf?: ((key: Key) => string) | undefined;
  /** Back-off of a key that fails: base × 2^n up to the cap; default 5 ms and 1 000 s. */
  readonly baseMs?: number | undefined;
  readonly capMs?: number | undefined;
  /** Retries of all keys together, a second; default 50, burst 300. */
  readonly retryQps?: number | undefined;
  readonly retryBurst?: number | undefined;
}

export interface AddOptions {
  readonly priority?: Priority | undefined;
  /** For the log only; two adds with different reasons are one. */
  readonly reason?: string | undefined;
  readonly afterMs?: number | undefined;
}

export interface Item {
  readonly key: Key;
  readonly priority: Priority;
  readonly reason: string;
  /** 1 for the first try since the last success. */
  readonly attempt: number;
}

interface Entry {
  priority: Priority;
  reason: string;
  /** When it became ready. */
  since: number;
}

/**
 * A work queue of keys. Guarantees: a key waits at most once; it is never given out twice at once; an add while it is
 * being worked on leads to exactly one more turn after `done`; nothing is kept of a key that neither waits nor works nor failed
 * (but its last start, for minIntervalMs). An add never delays one that was to come earlier.
 */
export class WorkQueue {
  readonly #o: QueueOptions;
  readonly #minInterval: number;
  readonly #ready: Record<Priority, FairMap<Entry>> = {
    live: new FairMap(),
    retry: new FairMap(),
    resync: new FairMap(),
  };
  readonly #delayed = new Map<Key, Entry & { at: number }>();
  /** Keys being worked on: since when, and what was added meanwhile. */
  readonly #running = new Map<Key, { since: number; again: Entry | undefined }>();
  readonly #failures = new Map<Key, number>();
  readonly #lastStart = new Map<Key, number>();
  readonly #waiters: ((item: Item | undefined) => void)[] = [];
  readonly #bucket: TokenBucket;
  readonly #stopped = new AbortController();
  readonly #labels: { readonly name: string; readonly controller: string };
  #timer: { at: number; cancel: AbortController } | undefined;

  constructor(options: QueueOptions) {
    this.#o = options;
    this.#labels = { name: options.name, controller: options.name };
    this.#minInterval = options.minIntervalMs ?? 0;
    this.#bucket = new TokenBucket(options.clock, options.retryQps ?? 50, options.retryBurst ?? 300);
  }

  /** Keys that wait and could start now. */
  get depth(): number {
    return ORDER.reduce((sum, p) => sum + this.#ready[p].size, 0);
  }
  /** Keys that wait for their time. */
  get delayed(): number {
    return this.#delayed.size;
  }
  get running(): number {
    return this.#running.size;
  }
  /** Nothing waits now, and nothing is being worked on. */
  get idle(): boolean {
    return this.depth === 0 && this.#running.size === 0;
  }

  add(key: Key, { priority = 'live', reason = '', afterMs = 0 }: AddOptions = {}): void {
    if (this.#stopped.signal.aborted) return;
    this.#o.metrics?.adds.inc(this.#labels);
    const now = this.#o.clock.monotonic();
    const at = Math.max(
      now + Math.max(0, afterMs),
      (this.#lastStart.get(key) ?? Number.NEGATIVE_INFINITY) + this.#minInterval,
    );
    const entry: Entry = { priority, reason, since: now };
    if (at <= now) this.#promote(key, entry);
    else if (!this.#waiting(key)) this.#delay(key, entry, at);
  }

  /** Adds after the key's back-off, which grows with each call until `forget`. Returns the delay. */
  addRateLimited(key: Key, reason = 'retry'): number {
    const failures = this.#failures.get(key) ?? 0;
    this.#failures.set(key, failures + 1);
    this.#o.metrics?.retries.inc(this.#labels);
    const own = Math.min(this.#o.capMs ?? 1_000_000, (this.#o.baseMs ?? 5) * 2 ** Math.min(failures, 50));
    const afterMs = Math.max(own, this.#bucket.reserve());
    this.add(key, { priority: 'retry', reason, afterMs });
    return afterMs;
  }

  /** The key did well: its back-off starts anew. */
  forget(key: Key): void {
    this.#failures.delete(key);
  }

  /** The next key, waiting for one; undefined once the queue is stopped (or `signal` ends). Each item must be given back by `done`. */
  async next(signal?: AbortSignal): Promise<Item | undefined> {
    if (this.#stopped.signal.aborted || signal?.aborted) return undefined;
    const item = this.#take();
    if (item) return item;
    return new Promise((resolve) => {
      const waiter = (got: Item | undefined): void => {
        signal?.removeEventListener('abort', leave);
        resolve(got);
      };
      const leave = (): void => {
        const index = this.#waiters.indexOf(waiter);
        if (index >= 0) this.#waiters.splice(index, 1);
        resolve(undefined);
      };
      signal?.addEventListener('abort', leave, { once: true });
      this.#waiters.push(waiter);
    });
  }

  done(key: Key): void {
    const running = this.#running.get(key);
    if (!running) return;
    this.#running.delete(key);
    const now = this.#o.clock.monotonic();
    this.#o.metrics?.workSeconds.observe(this.#labels, (now - running.since) / 1000);
    if (!running.again || this.#stopped.signal.aborted) return;
    const at = running.since + this.#minInterval;
    if (at <= now) this.#promote(key, running.again);
    else this.#delay(key, running.again, at);
  }

  /** No more items; those who wait get undefined. What was being worked on may still be given back. */
  stop(): void {
    this.#stopped.abort();
    this.#timer?.cancel.abort();
    for (const p of ORDER) this.#ready[p].clear();
    this.#delayed.clear();
    for (const waiter of this.#waiters.splice(0)) waiter(undefined);
    for (const p of ORDER) this.#gauge(p);
  }

  /** Brings the gauges of work in progress up to date; called before each scrape or now and then. */
  measure(): void {
    const now = this.#o.clock.monotonic();
    const ages = [...this.#running.values()].map((r) => (now - r.since) / 1000);
    this.#o.metrics?.unfinishedSeconds.set(
      this.#labels,
      ages.reduce((a, b) => a + b, 0),
    );
    this.#o.metrics?.longestSeconds.set(this.#labels, Math.max(0, ...ages));
  }

  #waiting(key: Key): boolean {
    return this.#running.get(key)?.again !== undefined || ORDER.some((p) => this.#ready[p].has(key));
  }

  /** Ready now: gives it to a waiter, or lines it up, or notes it at the running one. Takes the better of two priorities. */
  #promote(key: Key, entry: Entry): void {
    this.#delayed.delete(key);
    const running = this.#running.get(key);
    if (running) {
      running.again = better(running.again, entry);
      return;
    }
    const old = ORDER.find((p) => this.#ready[p].has(key));
    if (old !== undefined && ORDER.indexOf(old) <= ORDER.indexOf(entry.priority)) return;
    if (old !== undefined) {
      entry = { ...entry, since: this.#ready[old].get(key)?.since ?? entry.since };
      this.#ready[old].delete(key);
      this.#gauge(old);
    }
    this.#ready[entry.priority].set(key, entry, this.#o.flowOf?.(key) ?? '');
    const waiter = this.#waiters.shift();
    if (waiter) waiter(this.#take());
    else this.#gauge(entry.priority);
  }

  #delay(key: Key, entry: Entry, at: number): void {
    const old = this.#delayed.get(key);
    if (old) {
      const { priority, reason } = better(old, entry);
      entry = { ...entry, priority, reason };
      at = Math.min(at, old.at);
    }
    this.#delayed.set(key, { ...entry, at });
    this.#arm(at);
  }

  #take(): Item | undefined {
    for (const p of ORDER) {
      const first = this.#ready[p].shift();
      if (first === undefined) continue;
      const [key, entry] = first;
      const now = this.#o.clock.monotonic();
      this.#running.set(key, { since: now, again: undefined });
      if (this.#minInterval > 0) this.#started(key, now);
      this.#o.metrics?.queueSeconds.observe(this.#labels, (now - entry.since) / 1000);
      this.#gauge(p);
      return { key, priority: p, reason: entry.reason, attempt: (this.#failures.get(key) ?? 0) + 1 };
    }
    return undefined;
  }

  /** Remembers the start, and forgets starts that no longer hold anything back (the map is in the order of starts). */
  #started(key: Key, now: number): void {
    this.#lastStart.delete(key);
    this.#lastStart.set(key, now);
    for (const [old, at] of this.#lastStart) {
      if (at + this.#minInterval > now) break;
      this.#lastStart.delete(old);
    }
  }

  /** One timer, for the earliest of the delayed. */
  #arm(at: number): void {
    if (this.#stopped.signal.aborted || (this.#timer && this.#timer.at <= at)) return;
    this.#timer?.cancel.abort();
    const timer = { at, cancel: new AbortController() };
    this.#timer = timer;
    void pause(this.#o.clock, at - this.#o.clock.monotonic(), timer.cancel.signal).then((passed) => {
      if (!passed || this.#timer !== timer) return;
      this.#timer = undefined;
      this.#due();
    });
  }

  #due(): void {
    const now = this.#o.clock.monotonic();
    let earliest = Number.POSITIVE_INFINITY;
    const due: [Key, Entry & { at: number }][] = [];
    for (const pair of this.#delayed) {
      if (pair[1].at <= now) due.push(pair);
      else earliest = Math.min(earliest, pair[1].at);
    }
    due.sort(([, a], [, b]) => a.at - b.at);
    for (const [key, entry] of due) this.#promote(key, { priority: entry.priority, reason: entry.reason, since: now });
    if (Number.isFinite(earliest)) this.#arm(earliest);
  }

  #gauge(priority: Priority): void {
    this.#o.metrics?.depth.set({ ...this.#labels, priority }, this.#ready[priority].size);
  }
}

const better = <E extends { priority: Priority }>(a: E | undefined, b: E): E =>
  a !== undefined && ORDER.indexOf(a.priority) <= ORDER.indexOf(b.priority) ? a : b;
