import type { Clock } from '../lib/clock.ts';
import { errorText } from '../lib/errors.ts';
import type { Logger } from '../lib/log.ts';
import type { KubeClient } from './client.ts';
import { isNotFound } from './errors.ts';
import { fingerprint } from './fingerprint.ts';
import { TokenBucket } from './limiter.ts';
import type { KubeMetrics } from './metrics.ts';
import { pause } from './timing.ts';
import { apiVersionOf, type KubeObject, type ResourceType, resource } from './types.ts';

interface Series {
  readonly count: number;
  readonly lastObservedTime: string;
}

export interface EventObject extends KubeObject {
  readonly eventTime?: string;
  readonly series?: Series;
  readonly regarding?: unknown;
  readonly related?: unknown;
  readonly reason?: string;
  readonly action?: string;
  readonly note?: string;
  readonly type?: string;
  readonly reportingController?: string;
  readonly reportingInstance?: string;
}

export const events: ResourceType<EventObject> = resource<EventObject>({
  group: 'events.k8s.io',
  version: 'v1',
  plural: 'events',
  kind: 'Event',
});

export interface RecorderOptions {
  readonly client: KubeClient;
  readonly clock: Clock;
  readonly log: Logger;
  readonly metrics?: KubeMetrics | undefined;
  /** As `reportingController`: `example.com/operator`. */
  readonly controller: string;
  /** As `reportingInstance`: the pod's name. */
  readonly instance: string;
  /** Repetitions are written at most this often; default 10 s. */
  readonly foldMs?: number | undefined;
  /** Writes a second and burst, of all objects together; default 20 and 100. */
  readonly qps?: number | undefined;
  readonly burst?: number | undefined;
}

export interface EventInput {
  readonly type: 'Normal' | 'Warning';
  /** CamelCase, of a closed set. */
  readonly reason: string;
  /** What was done, CamelCase; default the reason. */
  readonly action?: string | undefined;
  /** For people; cut at 1 024 bytes. Never prompts, outputs, keys. */
  readonly note: string;
}

/** After so long without a repetition, the next one is a new event. */
const SERIES_MS = 6 * 60_000;
const MAX_SERIES = 2_000;
/** An event whose turn would come later than this is dropped: news is no news by then, and the object's status tells it. */
const PATIENCE_MS: Record<EventInput['type'], number> = { Normal: 10_000, Warning: 60_000 };

interface Known {
  readonly namespace: string;
  readonly name: string;
  /** Whether the event stands on the server; a series is written only after that. */
  created: Promise<boolean>;
  count: number;
  lastAt: number;
  lastTime: string;
  /** Count that the server has. */
  written: number;
}

/**
 * Writes events.k8s.io/v1 events in the background: `record` never throws and never waits. Repetitions (same object,
 * reason, action, type) fold into a series. Events have a small budget of their own, so that a scale-up of thousands does
 * not spend its writes on them. What cannot be written in time is dropped and counted: events are no state.
 */
export class EventRecorder {
  readonly #o: RecorderOptions;
  readonly #known = new Map<string, Known>();
  readonly #pending = new Set<Promise<void>>();
  readonly #stop = new AbortController();
  readonly #budget: TokenBucket;

  constructor(options: RecorderOptions) {
    this.#o = options;
    this.#budget = new TokenBucket(options.clock, options.qps ?? 20, options.burst ?? 100);
  }

  /** `regarding` must carry namespace, name and uid. */
  record(type: ResourceType, regarding: KubeObject, event: EventInput): void {
    if (this.#stop.signal.aborted) return;
    const { namespace = 'default', name = '', uid, resourceVersion } = regarding.metadata ?? {};
    const action = event.action ?? event.reason;
    const id = [type.kind, namespace, name, uid, event.type, event.reason, action].join('|');
    const now = this.#o.clock.now();
    const known = this.#known.get(id);
    if (known && now - known.lastAt <= SERIES_MS) {
      known.count += 1;
      known.lastAt = now;
      known.lastTime = microTime(now);
      this.#o.metrics?.events.inc({ outcome: 'folded' });
      if (known.count - known.written === 1) this.#spawn(this.#fold(known));
      return;
    }
    if (this.#known.size >= MAX_SERIES) this.#prune(now);
    const eventName = `${name.slice(0, 200)}.${fingerprint([id, now, this.#o.instance])
      .toLowerCase()
      .replace(/[^a-z0-9]/g, '')
      .slice(0, 16)}`;
    const eventTime = microTime(now);
    const created = this.#write('created', event.type, () =>
      this.#o.client.create(events, {
        metadata: { namespace, name: eventName },
        eventTime,
        type: event.type,
        reason: event.reason,
        action,
        note: bounded(event.note),
        regarding: {
          apiVersion: apiVersionOf(type),
          kind: type.kind,
          namespace: regarding.metadata?.namespace,
          name,
          uid,
          resourceVersion,
        },
        reportingController: this.#o.controller,
        reportingInstance: this.#o.instance,
      }),
    );
    this.#known.set(id, {
      namespace,
      name: eventName,
      created,
      count: 1,
      written: 1,
      lastAt: now,
      lastTime: eventTime,
    });
    this.#spawn(
      created.then((ok) => {
        if (!ok) this.#known.delete(id);
      }),
    );
  }

  /** Resolves when everything recorded so far is written or dropped (repetitions that still gather included). */
  async flush(): Promise<void> {
    while (this.#pending.size > 0) await Promise.all(this.#pending);
  }

  /** Writes what has gathered, then takes no more. */
  async close(): Promise<void> {
    this.#stop.abort();
    await this.flush();
  }

  async #fold(known: Known): Promise<void> {
    await pause(this.#o.clock, this.#o.foldMs ?? 10_000, this.#stop.signal);
    if (!(await known.created)) return;
    const { count } = known;
    const series: Series = { count, lastObservedTime: known.lastTime };
    known.written = count;
    await this.#write('series', 'Normal', () => this.#o.client.patchMerge(events, known, { series }));
  }

  async #write(outcome: string, type: EventInput['type'], send: () => Promise<unknown>): Promise<boolean> {
    const wait = this.#budget.reserve();
    if (wait > PATIENCE_MS[type] || (wait > 0 && !(await pause(this.#o.clock, wait, this.#stop.signal)))) {
      this.#budget.refund();
      this.#o.metrics?.events.inc({ outcome: 'dropped' });
      return false;
    }
    try {
      await send();
      this.#o.metrics?.events.inc({ outcome });
      return true;
    } catch (error) {
      this.#o.metrics?.events.inc({ outcome: isNotFound(error) ? 'dropped' : 'failed' });
      this.#o.log.debug({ error: errorText(error) }, 'event not written');
      return false;
    }
  }

  #spawn(work: Promise<void>): void {
    const tracked = work.finally(() => this.#pending.delete(tracked));
    this.#pending.add(tracked);
  }

  #prune(now: number): void {
    for (const [id, known] of this.#known) {
      if (now - known.lastAt > SERIES_MS || this.#known.size >= MAX_SERIES) this.#known.delete(id);
      else break;
    }
  }
}

const microTime = (ms: number): string => new Date(ms).toISOString().replace('Z', '000Z');

/** events.k8s.io refuses notes over 1 024 bytes. */
const bounded = (note: string): string => {
  if (Buffer.byteLength(note) <= 1024) return note;
  let cut = note.slice(0, 1000);
  while (Buffer.byteLength(cut) > 1020) cut = cut.slice(0, -20);
  return `${cut.toWellFormed()}…`;
};
