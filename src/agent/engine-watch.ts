import type { Clock } from '../lib/clock.ts';
import {
  type EngineClient,
  type EngineMetrics,
  type LauncherFacts,
  type LauncherLink,
  type RuntimeView,
  runtimeView,
} from '../runtime/index.ts';

/** What is known of the engine right now. */
export interface EngineView {
  readonly runtime: RuntimeView;
  readonly facts: LauncherFacts | null;
  readonly metrics: EngineMetrics | null;
  readonly tokensPerSecond: number;
  /** This very engine has answered before. */
  readonly wasReady: boolean;
  /** The runtime container was told to end. */
  readonly terminating: boolean;
}

const NOTHING: EngineView = {
  runtime: { phase: 'waiting', reason: 'LauncherMissing', message: 'the runtime container has not started yet' },
  facts: null,
  metrics: null,
  tokensPerSecond: 0,
  wasReady: false,
  terminating: false,
};

const WEDGED: RuntimeView = {
  phase: 'wedged',
  reason: 'EngineWedged',
  message: 'the engine lives and generates nothing; it is started again',
};

/** Looks at launcher and engine about once a second; the last look is `view`. */
export class EngineWatch {
  readonly #link: LauncherLink;
  readonly #engine: Pick<EngineClient, 'health' | 'metrics'>;
  readonly #clock: Clock;
  readonly #listeners = new Set<() => void>();
  #counted: { readonly tokens: number; readonly at: number } | null = null;
  view: EngineView = NOTHING;
  /** launcher.startedAt of the engine that was ready last, and of the one that was given up. */
  #readyStart: number | undefined;
  #wedgedStart: number | undefined;
  #looking: Promise<EngineView> | null = null;
  #queued: Promise<EngineView> | null = null;

  constructor(link: LauncherLink, engine: Pick<EngineClient, 'health' | 'metrics'>, clock: Clock) {
    this.#link = link;
    this.#engine = engine;
    this.#clock = clock;
  }

  /** Called after each look that found something new. */
  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** The engine of this start is not to be used any more; the next one is another. */
  declareWedged(start: number): void {
    this.#wedgedStart = start;
    if (this.view.facts?.startedAt === start) this.view = { ...this.view, runtime: WEDGED };
    for (const listener of this.#listeners) listener();
  }

  /** A look that begins after this call: never what was seen before it. One at a time, and all who wait share the next. */
  look(): Promise<EngineView> {
    if (this.#queued) return this.#queued;
    const before = this.#looking;
    const begin = (): Promise<EngineView> => {
      this.#queued = null;
      const look = this.#look();
      this.#looking = look;
      const over = (): void => {
        if (this.#looking === look) this.#looking = null;
      };
      look.then(over, over);
      return look;
    };
    if (!before) return begin();
    this.#queued = before.then(begin, begin);
    return this.#queued;
  }

  async #look(): Promise<EngineView> {
    const facts = await this.#link.facts();
    // without a process there is nobody to ask
    const health =
      facts?.pid == null
        ? ({ state: 'down', why: 'refused', detail: 'no engine process' } as const)
        : await this.#engine.health();
    const seen = runtimeView(facts, health, this.#clock.now());
    const start = facts?.startedAt ?? undefined;
    if (seen.phase === 'ready') this.#readyStart = start;
    const runtime = start !== undefined && facts?.pid != null && start === this.#wedgedStart ? WEDGED : seen;
    const metrics = runtime.phase === 'ready' ? await this.#engine.metrics().catch(() => null) : null;
    const before = this.view;
    this.view = {
      runtime,
      facts,
      metrics,
      tokensPerSecond: this.#rate(metrics),
      wasReady: start !== undefined && start === this.#readyStart,
      terminating: await this.#link.terminating(),
    };
    const mark = (v: EngineView): string =>
      `${v.runtime.phase} ${v.runtime.reason} ${v.facts?.startedAt} ${v.facts?.restarts} ${v.facts?.probe?.n} ${v.facts?.generation} ${v.facts?.sandbox.tier} ${v.terminating}`;
    if (mark(before) !== mark(this.view)) for (const listener of this.#listeners) listener();
    return this.view;
  }

  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const view = await this.look();
      await this.#clock.sleep(view.runtime.phase === 'ready' ? 1_000 : 300, signal).catch(() => {});
    }
  }

  #rate(metrics: EngineMetrics | null): number {
    const at = this.#clock.monotonic();
    const last = this.#counted;
    this.#counted = metrics ? { tokens: metrics.generationTokens, at } : null;
    if (!metrics || !last || at <= last.at || metrics.generationTokens < last.tokens) return 0;
    return Math.round(((metrics.generationTokens - last.tokens) * 1000) / (at - last.at));
  }
}
