import type { SnapshotDocument } from '../config/index.ts';
import type { Clock } from '../lib/clock.ts';
import { CodedError } from '../lib/errors.ts';
import type { Logger } from '../lib/log.ts';
import { tierAtLeast } from '../protocol/index.ts';
import type { EngineClient, LauncherLink } from '../runtime/index.ts';
import type { EngineWatch } from './engine-watch.ts';
import { type Isolation, type IsolationMode, launcherTier, proveIsolation } from './isolation.ts';
import type { AgentMetrics } from './job-metrics.ts';
import { type LoadTimes, secondsOf } from './load-times.ts';
import type { Plan } from './plan.ts';

export interface EngineLoaderOptions {
  readonly link: LauncherLink;
  readonly watch: EngineWatch;
  readonly engine: Pick<EngineClient, 'models'>;
  readonly isolation: IsolationMode;
  readonly probeTargets: () => Promise<string[]>;
  /** The port that the agent listens on. */
  readonly agentPort: () => number;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: AgentMetrics;
  readonly times: LoadTimes;
  readonly record: (kind: string, data: Record<string, unknown>) => void;
  readonly onChange: () => void;
}

type ServePlan = Extract<Plan, { kind: 'serve' }>;

const CRASHES = 3;

/** Has the launcher run a model, waits until the engine answers for it, and has the launcher probe its own prison. */
export class EngineLoader {
  readonly #o: EngineLoaderOptions;
  #isolation: Isolation = { tier: 'none', provedAt: 0 };
  /** What the launcher was told last. */
  #desired: { readonly plan: ServePlan; readonly path: string } | null = null;
  /** Auto: the sandbox was tried and is not available here. */
  #unconfined = false;
  #probe: number;
  /** Another number starts the engine again. */
  #restarts: number | null = null;
  #readyBy: number | null = null;
  #lastProbe: { n: number; targets: readonly string[] } | null = null;

  constructor(options: EngineLoaderOptions) {
    this.#o = options;
    this.#probe = options.clock.now();
  }

  /** When the engine that loads is expected to be ready, from what the last load of the same took; wall clock, ms. */
  get readyBy(): number | null {
    return this.#readyBy;
  }
  get isolation(): Isolation {
    return this.#isolation;
  }

  /** Nothing is wished any more; with `stop` the engine ends, without it whatever runs goes on. */
  async release(stop: boolean): Promise<void> {
    this.#desired = null;
    if (stop) await stopEngine(this.#o.link, this.#o.isolation);
  }

  /** The same engine anew: the launcher ends this one, with force after 15 s, and starts another. */
  async restart(): Promise<void> {
    this.#restarts = (await this.#restartNumber()) + 1;
    if (this.#desired) await this.#desire(this.#desired.plan, this.#desired.path);
  }

  /** Resolves with the engine's start when it answers for the model. @throws CodedError with a reason; the signal's reason */
  async load(plan: ServePlan, path: string, onNote: (note: string) => void, signal: AbortSignal): Promise<number> {
    try {
      return await this.#load(plan, path, onNote, signal);
    } finally {
      this.#readyBy = null;
    }
  }

  async #load(plan: ServePlan, path: string, onNote: (note: string) => void, signal: AbortSignal): Promise<number> {
    const { clock, watch, engine, logger, metrics, times } = this.#o;
    const begun = clock.now();
    const { model } = plan;
    if (this.#desired?.plan.key !== plan.key) logger.info({ model: model.ref, args: plan.args }, 'starting the engine');
    this.#desired = { plan, path };
    let generation = await this.#desire(plan, path);
    const started = clock.monotonic();
    const key = `${model.digest} ${JSON.stringify(Object.entries(plan.args).sort())}`;
    const { load: expected } = (await times.of(key)) ?? {};
    this.#readyBy = expected === undefined ? null : clock.now() + expected * 1000;
    let phase = '';
    let crashesBefore: number | null = null;
    for (;;) {
      signal.throwIfAborted();
      const { runtime, facts } = await watch.look();
      if (runtime.phase !== phase) {
        phase = runtime.phase;
        this.#o.onChange();
        if (['loading', 'compiling', 'capturing', 'crashed'].includes(phase))
          logger.info({ model: model.ref, phase, reason: runtime.reason }, `engine ${phase}`);
      }
      if (facts && facts.generation === generation) {
        crashesBefore ??= facts.restarts;
        if (facts.reason?.code === 'SandboxUnavailable' && this.#o.isolation === 'Auto' && !this.#unconfined) {
          logger.warn({ error: facts.reason.message }, 'the sandbox does not work here; the engine runs without');
          this.#unconfined = true;
          generation = await this.#desire(plan, path);
          continue;
        }
        if (facts.reason?.code === 'ArgumentRefused') throw new CodedError('args_refused', facts.reason.message);
        if (facts.restarts - crashesBefore >= CRASHES) throw new CodedError(runtime.reason, runtime.message);
        if (runtime.phase === 'ready' && facts.startedAt !== null && facts.model === model.ref) {
          const served = await engine.models(signal).catch(() => []);
          if (served.some((m) => m.id === model.ref)) {
            const ms = Math.round(clock.monotonic() - started);
            const { startedAt } = facts;
            // an engine that was there already says nothing about a load
            if (startedAt >= begun) {
              const seconds = secondsOf(facts.marks, startedAt, clock.now());
              for (const [name, value] of Object.entries(seconds)) metrics.phaseSeconds.set({ phase: name }, value);
              await times.keep(key, seconds);
            }
            logger.info({ model: model.ref, ms }, 'engine ready');
            return facts.startedAt;
          }
        }
        onNote(runtime.reason);
      }
      await clock.sleep(250, signal);
    }
  }

  /** Proves the isolation anew. @throws CodedError `isolation_unproved`, also when the tier is below what is demanded */
  async prove({ isolation: demanded }: Pick<SnapshotDocument, 'isolation'>, signal: AbortSignal): Promise<void> {
    const { clock, watch, isolation, logger } = this.#o;
    const targets = await this.#o.probeTargets();
    const before = this.#isolation;
    try {
      this.#isolation = await proveIsolation(
        isolation,
        launcherTier(isolation, this.#unconfined),
        targets,
        { ask: (asked) => this.#ask(asked, signal), facts: () => watch.view.facts, agentPort: this.#o.agentPort() },
        clock,
        signal,
      );
    } catch (error) {
      this.#isolation = { tier: 'none', provedAt: 0 };
      throw error;
    }
    const { tier } = this.#isolation;
    const why = 'why' in this.#isolation ? `: ${this.#isolation.why}` : '';
    if (!tierAtLeast(tier, demanded.minTier))
      throw new CodedError(
        'isolation_unproved',
        `the network demands ${demanded.minTier}, this node proves ${tier}${why}`,
      );
    if (before.tier !== tier || before.provedAt === 0)
      logger.info(
        { tier, targets: targets.length },
        tierAtLeast(tier, 'sandbox') ? 'isolation proved: no way out of the runtime' : `isolation: ${tier}${why}`,
      );
    this.#o.record('isolation', { tier });
    this.#o.onChange();
  }

  async #ask(targets: readonly string[], signal: AbortSignal): Promise<number> {
    signal.throwIfAborted();
    if (!this.#desired) throw new CodedError('replanned', 'another plan');
    this.#probe++;
    this.#lastProbe = { n: this.#probe, targets };
    await this.#desire(this.#desired.plan, this.#desired.path);
    return this.#probe;
  }

  /** An earlier agent's number goes on: a new agent must not start the engine anew. */
  async #restartNumber(): Promise<number> {
    this.#restarts ??= await this.#o.link.lastRestart();
    return this.#restarts;
  }

  async #desire(plan: ServePlan, path: string): Promise<number> {
    const restart = await this.#restartNumber();
    return await this.#o.link.desire({
      action: 'run',
      model: { name: plan.model.ref, path },
      args: plan.args,
      env: {},
      tier: launcherTier(this.#o.isolation, this.#unconfined),
      restart,
      probe: this.#lastProbe,
    });
  }
}

/** Tells the launcher that no engine shall run. */
export const stopEngine = async (link: LauncherLink, isolation: IsolationMode): Promise<void> => {
  const tier = launcherTier(isolation, false);
  await link.desire({ action: 'stop', model: null, args: {}, env: {}, tier, restart: 0, probe: null });
};
