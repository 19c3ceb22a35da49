import type { ModelEntry } from '../config/index.ts';
import type { Clock } from '../lib/clock.ts';
import { CodedError, errorText } from '../lib/errors.ts';
import type { Logger } from '../lib/log.ts';
import { move, newModel, removeUnlisted } from '../models/index.ts';
import type { Sha256 } from '../protocol/index.ts';
import { capacityOf, type EngineArgs, type EngineClient } from '../runtime/index.ts';
import type { ConfigSync } from './config-sync.ts';
import type { EngineLoader } from './engine-loader.ts';
import type { EngineWatch } from './engine-watch.ts';
import type { Isolation } from './isolation.ts';
import type { AgentMetrics } from './job-metrics.ts';
import { type InstallOptions, installModel } from './model-install.ts';
import { type ModelView, ModelViews } from './model-views.ts';
import { type Obstacle, type Plan, type PlanFacts, planKey, planOf } from './plan.ts';
import { type PlanStep, Setback } from './plan-steps.ts';
import { quarantineReason } from './quarantine-reason.ts';
import { testInference } from './test-inference.ts';

export interface ModelManagerOptions {
  readonly config: ConfigSync;
  /** `name:version` that the operator assigned. */
  readonly assigned: () => string | undefined;
  /** A person holds the node on what is applied. */
  readonly held: () => boolean;
  readonly watch: EngineWatch;
  readonly loader: EngineLoader;
  readonly engine: Pick<EngineClient, 'run'>;
  readonly install: Pick<InstallOptions, 'shared' | 'dispatcher' | 'credentials' | 'pace'>;
  readonly sourceRules: Omit<InstallOptions['policy'], 'trustedSources'>;
  readonly engineArgs: Readonly<Record<string, string>>;
  /** Of the pod, as it stands. */
  readonly images: { readonly runtime: string };
  /** Of this agent. */
  readonly version: string;
  /** Resolves when no job runs: before an engine is stopped for another model. */
  readonly idle: () => Promise<void>;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: AgentMetrics;
  readonly record: (kind: string, data: Record<string, unknown>) => void;
  readonly onChange: () => void;
  readonly onError: (code: string, message: string) => void;
}

/** The model in the engine, after its test. */
export interface Serving {
  /** Of the plan that was fulfilled. */
  readonly key: string;
  readonly model: ModelEntry;
  readonly args: EngineArgs;
  /** launcher.startedAt of the engine that passed: another start must pass again. */
  readonly engineStart: number;
}

export type Step = 'idle' | 'installing' | 'loading' | 'proving' | 'testing' | 'active' | 'quarantined';

type ServePlan = Extract<Plan, { kind: 'serve' }>;

const QUARANTINE_CAP_MS = 300_000;
const REPROVE_MS = 3_600_000;
const REVIEW_MS = 86_400_000;
/**
 * Brings the one model that this node shall serve from the snapshot into the engine, and keeps it there: install → verify →
 * load → prove the isolation → test → Active. Level-based: each round starts from what is wanted and what is there, so a
 * changed wish, a crashed engine and a restarted agent all take the same path. A failure puts the model aside, and it is
 * tried again after a back-off or when the wish changes.
 */
export class ModelManager {
  readonly #o: ModelManagerOptions;
  readonly #log: Logger;
  readonly #models: ModelViews;
  readonly #verified = new Map<Sha256, string>();
  #serving: Serving | null = null;
  #step: Step = 'idle';
  /** Where the plan is. */
  #at: PlanStep = 'validate';
  #provedAt = 0;
  readonly #setback: Setback;
  #wake = new AbortController();
  #reviewedAt: number;

  constructor(options: ModelManagerOptions) {
    this.#o = options;
    this.#log = options.logger;
    this.#models = new ModelViews(options.onChange);
    this.#setback = new Setback(() => options.clock.monotonic());
    this.#reviewedAt = options.clock.monotonic();
  }

  get step(): Step {
    return this.#step;
  }
  get isolation(): Isolation {
    return this.#o.loader.isolation;
  }
  get models(): readonly ModelView[] {
    return this.#models.all;
  }
  /** The tested model, when the engine that passed is up. */
  get serving(): Serving | null {
    const s = this.#serving;
    const { runtime, facts } = this.#o.watch.view;
    return s && runtime.phase === 'ready' && facts?.startedAt === s.engineStart ? s : null;
  }
  /** The tested model, whether or not its engine is up at this moment. */
  get tested(): ModelEntry | null {
    return this.#serving?.model ?? null;
  }
  /** Slots and queue of the wanted model. */
  get capacity(): { slots: number; queue: number } {
    const maxQueue = this.#o.config.effective?.jobs.maxQueue ?? 0;
    return capacityOf(this.#serving?.args ?? this.#o.engineArgs, maxQueue);
  }

  /** Something that a plan depends on may be another now. */
  wake(): void {
    this.#wake.abort();
  }

  async run(signal: AbortSignal): Promise<void> {
    const unwatch = this.#o.watch.onChange(() => this.wake());
    try {
      while (!signal.aborted) {
        this.#wake = new AbortController();
        const plan = this.#plan();
        const replanned = new AbortController();
        const pursuit = this.#pursue(plan, AbortSignal.any([signal, replanned.signal]));
        let over = false;
        const ended = pursuit.then(() => {
          over = true;
        });
        while (!over && !signal.aborted) {
          await Promise.race([ended, this.#woken(signal)]);
          this.#wake = new AbortController();
          if (!over && planKey(this.#plan()) !== planKey(plan))
            replanned.abort(new CodedError('replanned', 'another plan'));
          if (replanned.signal.aborted) await ended;
        }
        await ended;
      }
    } finally {
      unwatch();
    }
  }

  async #woken(signal: AbortSignal): Promise<void> {
    await this.#o.clock.sleep(5_000, AbortSignal.any([signal, this.#wake.signal])).catch(() => {});
  }

  #plan(): Plan {
    return planOf(this.#facts());
  }

  #facts(): PlanFacts {
    const { config, watch, images, version, engineArgs } = this.#o;
    return {
      accepted: config.accepted?.document ?? null,
      effective: config.effective,
      assigned: this.#o.assigned(),
      running: this.#serving?.model.ref ?? watch.view.facts?.model ?? undefined,
      served: config.servedModel,
      held: this.#o.held(),
      failure: this.#setback.inForce(config.accepted?.version),
      images,
      version,
      engineArgs,
    };
  }

  /**
   * With the plan fulfilled all of the accepted snapshot is here and takes effect, unless something stands in the way: then
   * it stays pending.
   */
  async #follow(plan: Plan, served?: string): Promise<void> {
    const { config } = this.#o;
    const { accepted } = config;
    const now = this.#plan();
    if (!accepted || planKey(now) !== planKey(plan)) return;
    if (!now.obstacle) return await config.apply(accepted, served);
    this.#showWaiting(now.obstacle);
    config.blocked(now.obstacle);
  }

  /** The assigned model, which must not start, with the reason. */
  #showWaiting({ reason }: Obstacle): void {
    const ref = this.#o.assigned();
    const model = this.#o.config.accepted?.document.models.find((m) => m.ref === ref);
    if (model && ref !== this.#serving?.model.ref && ref !== this.#setback.ref) this.#models.waiting(model, reason);
  }

  /** One plan until it fails, is replaced, or the agent ends. Never throws. */
  async #pursue(plan: Plan, signal: AbortSignal): Promise<void> {
    try {
      if (plan.kind === 'none') return await this.#serveNothing(plan, signal);
      await this.#serve(plan, signal);
    } catch (error) {
      if (signal.aborted) return;
      if (plan.kind === 'none') {
        this.#log.error({ error }, 'the engine could not be stopped');
        return await this.#o.clock.sleep(2_000, signal).catch(() => {});
      }
      await this.#quarantine(plan, error, signal);
    }
  }

  async #serveNothing(plan: Extract<Plan, { kind: 'none' }>, signal: AbortSignal): Promise<void> {
    const { why, stop } = plan;
    if (this.#serving || this.#step === 'idle') this.#log.info({ reason: why }, 'no model to serve');
    this.#enter('idle');
    if (this.#serving) {
      this.#serving = null;
      this.#o.onChange();
      await this.#o.idle();
    }
    await this.#o.loader.release(stop);
    while (!signal.aborted) {
      // nothing to install: what the snapshot says is in effect
      await this.#follow(plan);
      await this.#o.clock.sleep(5_000, AbortSignal.any([signal, this.#wake.signal])).catch(() => {});
    }
  }

  async #serve(plan: ServePlan, signal: AbortSignal): Promise<void> {
    const { model, args } = plan;
    const { clock } = this.#o;
    for (;;) {
      signal.throwIfAborted();
      this.#at = 'prefetch';
      const path = await this.#install(plan, signal);
      // back from a plan that never touched the engine
      if (this.serving?.key === plan.key) {
        this.#activate(model);
        this.#enter('active');
        await this.#hold(plan, signal);
        continue;
      }
      const engineStart = await this.#load(plan, path, signal);
      this.#at = 'test';
      this.#enter('proving');
      await this.#prove(plan, signal);
      this.#enter('testing');
      this.#models.pending(model, 'testing');
      const ms = await testInference(model, this.#o.engine, plan.document.jobs.timeouts, clock, signal);
      this.#o.metrics.testDuration.observe(ms / 1000);
      this.#log.info({ model: model.ref, ms }, 'test inference passed');
      this.#at = 'record';
      await this.#follow(plan, model.ref);
      this.#serving = { key: plan.key, model, args, engineStart };
      this.#activate(model);
      this.#o.record('model.active', { model: model.ref, digest: model.digest, tier: this.isolation.tier, ms });
      this.#enter('active');
      await this.#hold(plan, signal);
    }
  }

  /** Active: follows the configuration, proves the isolation again at intervals; returns when the engine is another one. */
  async #hold(plan: ServePlan, signal: AbortSignal): Promise<void> {
    const { clock, config } = this.#o;
    for (;;) {
      signal.throwIfAborted();
      this.#at = 'test';
      await this.#follow(plan, plan.model.ref).catch((error: unknown) =>
        // what serves, serves on under the old configuration
        config.blocked({ step: 'record', reason: quarantineReason(error), why: errorText(error) }),
      );
      const { facts, terminating } = this.#o.watch.view;
      if (!terminating && facts && facts.startedAt !== this.#serving?.engineStart) {
        this.#log.warn({ model: plan.model.ref }, 'the engine is another one, it is tested again');
        this.#serving = null;
        this.#models.set(plan.model, { state: 'pending', reason: 'loading', failures: 0 });
        return;
      }
      if (clock.monotonic() - this.#provedAt >= REPROVE_MS) await this.#prove(plan, signal);
      if (clock.monotonic() - this.#reviewedAt >= REVIEW_MS) {
        this.#reviewedAt = clock.monotonic();
        this.#verified.clear();
        await this.#install(plan, signal);
        this.#activate(plan.model);
      }
      await clock.sleep(1_000, AbortSignal.any([signal, this.#wake.signal])).catch(() => {});
    }
  }

  async #prove({ document }: ServePlan, signal: AbortSignal): Promise<void> {
    await this.#o.loader.prove(document, signal);
    this.#provedAt = this.#o.clock.monotonic();
  }

  async #install({ model, document }: ServePlan, signal: AbortSignal): Promise<string> {
    const { clock, logger, metrics, config } = this.#o;
    if (this.#step !== 'active') this.#enter('installing');
    let shown = -1;
    const path = await installModel(
      model,
      {
        ...this.#o.install,
        clock,
        logger,
        metrics,
        verified: this.#verified,
        standing: () => 'active',
        policy: { ...this.#o.sourceRules, trustedSources: document.trustedSources },
        onStep: (step, percent) => {
          const tens = percent - (percent % 10);
          if (tens === shown && this.#models.statusOf(model).state === 'pending') return;
          shown = tens;
          this.#models.pending(model, step, tens);
        },
      },
      signal,
    );
    // whatever nobody lists goes after cacheMs; what is loaded stays
    const listed = new Set(
      [...(config.accepted?.document.models ?? []), ...(config.applied?.document.models ?? [])].map((m) => m.digest),
    );
    if (this.#serving) listed.add(this.#serving.model.digest);
    const cacheMs = config.accepted?.document.ttl.cacheMs ?? 0;
    const gone = await removeUnlisted(this.#o.install.shared, listed, cacheMs, clock.now());
    for (const digest of gone) this.#log.info({ digest }, 'unlisted model removed');
    return path;
  }

  /** The engine for the plan; jobs of another model finish first. */
  async #load(plan: ServePlan, path: string, signal: AbortSignal): Promise<number> {
    const { model } = plan;
    if (this.#serving && !sameEngine(this.#serving, plan)) {
      this.#at = 'drain';
      this.#log.info(
        { from: this.#serving.model.ref, to: model.ref },
        'switching the model, running jobs finish first',
      );
      this.#serving = null;
      this.#o.onChange();
      await this.#o.idle();
      signal.throwIfAborted();
    }
    this.#at = 'switch';
    this.#enter('loading');
    this.#models.pending(model, 'loading');
    return await this.#o.loader.load(plan, path, (note) => this.#models.note(model, note), signal);
  }

  async #quarantine(plan: ServePlan, error: unknown, signal: AbortSignal): Promise<void> {
    const { model, obstacle } = plan;
    const { clock, config, metrics } = this.#o;
    const step = this.#at;
    const reason = quarantineReason(error);
    if (reason === 'DigestMismatch') metrics.verifyFailures.inc();
    metrics.quarantines.inc();
    const rule = { retryMs: config.retryMs, capMs: QUARANTINE_CAP_MS };
    const before = this.#models.statusOf(model);
    const status = move.fail(
      before.state === 'failed' || before.state === 'archived' ? newModel : before,
      reason,
      clock.now(),
      rule,
    );
    if (this.#serving?.model.digest === model.digest) this.#serving = null;
    this.#verified.delete(model.digest);
    this.#models.set(model, status);
    this.#enter('quarantined');
    const version = config.accepted?.version;
    const failure = { key: plan.key, ref: model.ref, step, reason, why: `step ${step}: ${errorText(error)}` };
    let back = false;
    const ms = obstacle
      ? Math.max(500, status.retryAt - clock.now())
      : this.#setback.note(failure, version, config.retryMs, (f) => {
          back = planKey(planOf({ ...this.#facts(), failure: f })) !== plan.key;
          return back;
        });
    this.#log.error(
      { model: model.ref, reason, phase: step, error: errorText(error), attempt: status.failures, ms },
      back ? 'model put aside, back to the one before' : 'model put aside, tried again later',
    );
    this.#o.record('model.quarantined', { model: model.ref, digest: model.digest, reason, step });
    this.#o.onError(reason, failure.why);
    if (!obstacle) config.blocked(failure);
    if (back) return;
    // a new snapshot is a reason to try at once; the plan's key may be the same
    const end = clock.monotonic() + ms;
    while (!signal.aborted && clock.monotonic() < end && config.accepted?.version === version)
      await clock.sleep(Math.min(1_000, end - clock.monotonic()), signal).catch(() => {});
  }

  #activate(model: ModelEntry): void {
    this.#models.activate(model, this.#o.clock.now(), this.#setback.ref);
  }
  #enter(step: Step): void {
    if (this.#step === step) return;
    this.#step = step;
    this.#o.onChange();
  }
}

/** No engine has to be started for the plan: what serves has its files and its arguments. */
const sameEngine = ({ model, args }: Serving, plan: ServePlan): boolean =>
  model.ref === plan.model.ref &&
  model.digest === plan.model.digest &&
  JSON.stringify(Object.entries(args).sort()) === JSON.stringify(Object.entries(plan.args).sort());
