import type { Clock } from '../lib/clock.ts';
import type { Logger } from '../lib/log.ts';
import type { EngineClient } from '../runtime/index.ts';
import type { EngineView, EngineWatch } from './engine-watch.ts';
import type { AgentMetrics } from './job-metrics.ts';
import { kindOf } from './test-inference.ts';
import { type Look, Pulse, RestartPace } from './wedge.ts';

export interface EngineGuardOptions {
  readonly watch: Pick<EngineWatch, 'view' | 'declareWedged'>;
  readonly engine: Pick<EngineClient, 'run' | 'cut'>;
  /** Has the launcher end this engine and start another. */
  readonly restart: () => Promise<void>;
  /** `name:version` in the engine and a request that its model understands; null while nothing is served. */
  readonly question: () => { readonly ref: string; readonly request: Readonly<Record<string, unknown>> } | null;
  /** How long a first token may take by the configuration, ms. */
  readonly firstTokenMs: () => number;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Pick<AgentMetrics, 'wedges'>;
  readonly record: (kind: string, data: Record<string, unknown>) => void;
  readonly onError: (code: string, message: string) => void;
}

const PROBE_MIN_MS = 10_000;
const PROBE_MAX_MS = 60_000;

/**
 * Finds an engine that answers /health and generates nothing: its counters stand still while requests are in it, or it had
 * nothing to do for 10 minutes, and a request for one token gets no answer. Its jobs then end at once as engine_crash, so that the network gives them to others, and the
 * engine alone is started again.
 */
export class EngineGuard {
  readonly #o: EngineGuardOptions;
  readonly #pulse = new Pulse();
  readonly #pace = new RestartPace();

  constructor(options: EngineGuardOptions) {
    this.#o = options;
  }

  async run(signal: AbortSignal): Promise<void> {
    const { clock, watch } = this.#o;
    while (!signal.aborted) {
      await clock.sleep(1_000, signal).catch(() => {});
      const look = lookOf(watch.view, clock.monotonic());
      if (signal.aborted || !look) continue;
      const suspicion = this.#pulse.see(look);
      if (suspicion === 'none') continue;
      if (suspicion !== 'dead' && ((await this.#answers(suspicion, signal)) || this.#moved(look)))
        this.#pulse.answered();
      else if (!signal.aborted) await this.#end(look.start, suspicion, signal);
    }
  }

  /** One token, asked for; an error counts as an answer, since whoever refuses still works. */
  async #answers(suspicion: 'ask' | 'idle', signal: AbortSignal): Promise<boolean> {
    const { clock, engine, firstTokenMs, logger } = this.#o;
    const question = this.#o.question();
    if (!question) return true;
    const limit = Math.min(PROBE_MAX_MS, Math.max(PROBE_MIN_MS, firstTokenMs()));
    const asked = { model: question.ref, ms: limit };
    if (suspicion === 'idle') logger.debug(asked, 'the engine had nothing to do for long; asking it for one token');
    else logger.warn(asked, 'the engine is busy and generates nothing; asking it for one token');
    const kind = kindOf(question.request);
    const done = await engine.run(
      kind,
      { ...question.request, model: question.ref, ...(kind === 'embeddings' ? {} : { stream: false, max_tokens: 1 }) },
      { stream: false, timeouts: { firstTokenMs: limit, gapMs: limit, totalMs: limit }, signal, clock },
    );
    return done.state === 'done' || done.reason === 'engine_error';
  }

  /** The question had no answer, but others had theirs meanwhile: it only waited behind them. */
  #moved(before: Look): boolean {
    const now = lookOf(this.#o.watch.view, this.#o.clock.monotonic());
    return now !== undefined && (now.start !== before.start || now.progress !== before.progress);
  }

  async #end(start: number, suspicion: 'ask' | 'idle' | 'dead', signal: AbortSignal): Promise<void> {
    const { clock, engine, logger, metrics, watch } = this.#o;
    const why =
      suspicion === 'dead'
        ? 'the engine runs and its server does not answer'
        : 'the engine answers /health and generates nothing';
    const ms = this.#pace.next(clock.monotonic());
    logger.error({ reason: 'EngineWedged', ms }, `${why}; it is started again`);
    this.#o.record('engine.wedged', { why: suspicion, ms });
    this.#o.onError('EngineWedged', why);
    metrics.wedges.inc();
    watch.declareWedged(start);
    engine.cut();
    await clock.sleep(ms, signal).catch(() => {});
    if (!signal.aborted) await this.#o.restart();
  }
}

/** Undefined unless this very engine was ready once, lives, and is not given up already. */
const lookOf = ({ runtime, facts, metrics, wasReady }: EngineView, at: number): Look | undefined => {
  if (!wasReady || facts?.pid == null || facts.startedAt === null || runtime.phase === 'wedged') return undefined;
  if (runtime.phase === 'draining') return undefined;
  return {
    at,
    start: facts.startedAt,
    up: runtime.phase === 'ready',
    busy: metrics ? metrics.running + metrics.waiting : undefined,
    progress: metrics ? metrics.generationTokens + metrics.iterations : undefined,
  };
};
