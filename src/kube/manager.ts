import { monitorEventLoopDelay } from 'node:perf_hooks';
import type { Clock } from '../lib/clock.ts';
import { errorText } from '../lib/errors.ts';
import type { Logger } from '../lib/log.ts';
import type { KubeClient } from './client.ts';
import type { Controller } from './controller.ts';
import { KubeError } from './errors.ts';
import type { Election } from './lease.ts';
import type { KubeMetrics } from './metrics.ts';
import { followOptional } from './optional.ts';
import { Store, type StoreOptions } from './store.ts';
import { pause } from './timing.ts';
import type { KubeObject, ResourceType } from './types.ts';
import { type WatcherOptions, watch } from './watcher.ts';

export interface ManagerOptions {
  readonly client: KubeClient;
  readonly clock: Clock;
  readonly log: Logger;
  readonly metrics?: KubeMetrics | undefined;
  /** Without one, this process leads from the start. */
  readonly election?: Election | undefined;
  /** How long work in hand may go on after the stop; default 30 s. */
  readonly drainMs?: number | undefined;
}

/** A part with a life of its own. Runs until its signal ends; a throw stops the manager. */
export interface Runnable {
  readonly name: string;
  /** Runs only while leading; default true. */
  readonly needsLeader?: boolean;
  readonly run: (signal: AbortSignal) => Promise<void>;
}

/** Starts first and stops last: health and metrics. */
export interface Served {
  readonly close: () => Promise<void>;
}

export type CacheOptions<T extends KubeObject> = StoreOptions<T> &
  Pick<WatcherOptions, 'namespace' | 'labelSelector' | 'fieldSelector' | 'streamingList' | 'pageSize' | 'idleMs'>;

const MEASURE_MS = 10_000;
/** A loop that was blocked for so long has missed probes and renewals: better to be started again. */
const LAG_LIMIT_S = 10;

/**
 * Runs the parts in order: servers → caches → (synced) → election → workers, and stops them the other way round.
 * With an election, the client's writes are refused from the first moment on unless the lease is held.
 */
export class Manager {
  readonly #o: ManagerOptions;
  readonly #servers: (() => Promise<Served>)[] = [];
  readonly #caches: { store: Store; run: (signal: AbortSignal) => Promise<void> }[] = [];
  readonly #controllers: Controller[] = [];
  readonly #runnables: Runnable[] = [];
  #phase: 'new' | 'starting' | 'standby' | 'leading' | 'stopping' | 'stopped' = 'new';
  #lagSeconds = 0;

  constructor(options: ManagerOptions) {
    this.#o = options;
    const { election } = options;
    if (election) options.client.gateWrites(() => election.leads());
  }

  /** `() => serveObserved({ metrics, alive: () => manager.alive(), ready: () => manager.ready() }, port)` */
  addServer(start: () => Promise<Served>): void {
    this.#servers.push(start);
  }

  /** A store kept by a watch for as long as the manager runs. One per type (and selection): share it. */
  cache<T extends KubeObject>(type: ResourceType<T>, options: CacheOptions<T> = {}): Store<T> {
    const { client, log, metrics } = this.#o;
    const store = new Store<T>(type, {
      metrics,
      onError: (error) => log.error({ kind: type.kind, error: errorText(error) }, 'a cache subscriber threw'),
      ...options,
    });
    const run = async (signal: AbortSignal): Promise<void> => {
      for await (const event of watch(client, type, { ...options, metrics, signal })) {
        if (event.type === 'error') {
          log.warn(
            { kind: type.kind, error: errorText(event.error), retryInMs: Math.round(event.retryInMs) },
            'watch interrupted',
          );
        }
        await store.handle(event);
      }
    };
    this.#caches.push({ store: store as unknown as Store, run });
    return store;
  }

  /**
   * The same for a kind whose API may come and go while this process runs: looked for every 30 s; while it is not there the
   * store is empty, and synced.
   */
  optionalCache<T extends KubeObject>(type: ResourceType<T>, options: CacheOptions<T> = {}): Store<T> {
    const { client, clock, log, metrics } = this.#o;
    const store = new Store<T>(type, { metrics, ...options });
    const run = (signal: AbortSignal): Promise<void> =>
      followOptional({ client, clock, log, type, store, options: { ...options, metrics }, signal });
    this.#caches.push({ store: store as unknown as Store, run });
    return store;
  }

  add(controller: Controller): void {
    this.#controllers.push(controller);
  }
  addRunnable(runnable: Runnable): void {
    this.#runnables.push(runnable);
  }

  /** undefined, or why this process should be started again. */
  alive(): string | undefined {
    if (this.#lagSeconds > LAG_LIMIT_S) return `the event loop was blocked for ${this.#lagSeconds.toFixed(1)} s`;
    return undefined;
  }

  /** undefined, or what is not ready. Not bound to leadership: a warm standby is ready. */
  ready(): string | undefined {
    if (this.#phase === 'new' || this.#phase === 'stopping' || this.#phase === 'stopped')
      return `the manager is ${this.#phase}`;
    const missing = this.#caches.filter((c) => !c.store.synced()).map((c) => c.store.type.plural);
    return missing.length > 0 ? `caches not synced: ${missing.join(', ')}` : undefined;
  }

  status(): Record<string, unknown> {
    return {
      phase: this.#phase,
      leader: this.#o.election?.holder(),
      caches: Object.fromEntries(
        this.#caches.map(({ store }) => [
          store.type.plural,
          { objects: store.size, version: String(store.version), synced: store.synced() },
        ]),
      ),
      queues: Object.fromEntries(
        this.#controllers.map((c) => [
          c.name,
          { ready: c.queue.depth, delayed: c.queue.delayed, running: c.queue.running },
        ]),
      ),
      eventLoopLagSeconds: this.#lagSeconds,
    };
  }

  /** Runs until `signal` ends, then drains and resolves. Rejects with kube_stopped when the lease or a part is lost. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock, log, election, drainMs = 30_000 } = this.#o;
    this.#phase = 'starting';
    const started = clock.monotonic();
    const stop = new AbortController(); // no new work
    const kill = new AbortController(); // work in hand ends now
    const outer = new AbortController(); // caches, renewal and measuring end
    const onSignal = (): void => stop.abort();
    if (signal.aborted) stop.abort();
    else signal.addEventListener('abort', onSignal, { once: true });
    let failure: unknown;
    const fail = (error: unknown): void => {
      failure ??= error;
      kill.abort();
      stop.abort();
    };
    const guard = (name: string, work: Promise<void>): Promise<void> =>
      work.catch((cause) => fail(new KubeError('kube_stopped', `${name} failed`, { cause })));

    const servers: Served[] = [];
    const background: Promise<void>[] = [];
    const leading: Promise<void>[] = [];
    try {
      for (const start of this.#servers) servers.push(await start());
      background.push(guard('measuring', this.#measure(outer.signal)));
      for (const controller of this.#controllers) controller.listen(outer.signal);
      for (const { store, run } of this.#caches)
        background.push(guard(`the cache of ${store.type.plural}`, run(outer.signal)));
      await this.#synced(stop.signal);
      if (!stop.signal.aborted) log.info({ ms: Math.round(clock.monotonic() - started) }, 'caches synced');
      for (const r of this.#runnables)
        if (r.needsLeader === false && !stop.signal.aborted) leading.push(guard(r.name, r.run(stop.signal)));
      this.#phase = 'standby';
      if (!stop.signal.aborted && (!election || (await election.acquire(stop.signal)))) {
        this.#phase = 'leading';
        if (election) {
          background.push(
            election.hold(outer.signal).then((end) => {
              if (end === 'lost') fail(new KubeError('kube_stopped', 'the lease was lost'));
            }),
          );
        }
        for (const c of this.#controllers)
          leading.push(guard(`controller ${c.name}`, c.work(stop.signal, kill.signal)));
        for (const r of this.#runnables) if (r.needsLeader !== false) leading.push(guard(r.name, r.run(stop.signal)));
        await ended(stop.signal);
      }
    } catch (error) {
      fail(error);
    }
    this.#phase = 'stopping';
    stop.abort();
    await this.#drain(leading, kill, drainMs);
    await election?.release();
    outer.abort();
    await Promise.all(background);
    for (const server of servers.reverse()) await server.close();
    signal.removeEventListener('abort', onSignal);
    this.#phase = 'stopped';
    log.info({ ms: Math.round(clock.monotonic() - started) }, 'stopped');
    if (failure !== undefined) throw failure;
  }

  /** Waits for work in hand; when the time is over, its signals end; what still does not end is left behind and said. */
  async #drain(work: Promise<void>[], kill: AbortController, ms: number): Promise<void> {
    const all = Promise.all(work).then(() => true);
    for (const patience of [kill.signal.aborted ? 0 : ms, 5_000]) {
      const timer = new AbortController();
      const over = pause(this.#o.clock, patience, timer.signal).then(() => false);
      const finished = await Promise.race([all, over]);
      timer.abort();
      if (finished) return;
      kill.abort();
    }
    this.#o.log.error(
      { controllers: this.#controllers.filter((c) => c.queue.running > 0).map((c) => c.name) },
      'work that does not end was left',
    );
  }

  async #synced(signal: AbortSignal): Promise<void> {
    for (const { store } of this.#caches) {
      if (store.synced() || signal.aborted) continue;
      await new Promise<void>((resolve) => {
        const end = (): void => {
          off();
          signal.removeEventListener('abort', end);
          resolve();
        };
        const off = store.onAdvance(() => store.synced() && end());
        signal.addEventListener('abort', end, { once: true });
      });
    }
  }

  async #measure(signal: AbortSignal): Promise<void> {
    const delay = monitorEventLoopDelay({ resolution: 20 });
    delay.enable();
    try {
      while (await pause(this.#o.clock, MEASURE_MS, signal)) {
        this.#lagSeconds = delay.count > 0 ? delay.max / 1e9 : 0;
        delay.reset();
        this.#o.metrics?.loopLag.set(this.#lagSeconds);
        for (const c of this.#controllers) c.queue.measure();
      }
    } finally {
      delay.disable();
    }
  }
}

const ended = (signal: AbortSignal): Promise<void> =>
  signal.aborted
    ? Promise.resolve()
    : new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));

/** Ends at the first SIGTERM or SIGINT. For main.ts; a second signal then ends the process as usual. */
export const terminationSignal = (source: Pick<NodeJS.Process, 'once'>): AbortSignal => {
  const ours = new AbortController();
  for (const name of ['SIGTERM', 'SIGINT'] as const) source.once(name, () => ours.abort(new Error(name)));
  return ours.signal;
};
