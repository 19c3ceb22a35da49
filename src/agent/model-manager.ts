import type { ModelEntry } from '../config/index.ts';
import { assertNever, CodedError, errorText, isCoded } from '../lib/errors.ts';
import type { Logger } from '../lib/log.ts';
import { capacityOf, type EngineArgs } from '../runtime/index.ts';
import type { ConfigSync } from './config-sync.ts';
import type { Isolation } from './isolation.ts';
import { ModelBook, type ModelView } from './model-book.ts';
import { nextOf, type Step, testKey } from './model-next.ts';
import { ModelReview, QUARANTINE_CAP_MS } from './model-review.ts';
import { ModelSteps, type ModelStepsOptions, type ServePlan } from './model-steps.ts';
import { type Obstacle, type Plan, type PlanFacts, planKey, planOf } from './plan.ts';
import { type PlanStep, Setback } from './plan-steps.ts';
import { quarantineReason } from './quarantine-reason.ts';

export interface ModelManagerOptions extends ModelStepsOptions {
  readonly config: ConfigSync;
  /** `name:version` that the operator assigned. */
  readonly assigned: () => string | undefined;
  /** A person holds the node on what is applied. */
  readonly held: () => boolean;
  readonly engineArgs: Readonly<Record<string, string>>;
  /** Of the pod, as it stands. */
  readonly images: { readonly runtime: string };
  /** Of this agent. */
  readonly version: string;
  readonly record: (kind: string, data: Record<string, unknown>) => void;
  readonly onChange: () => void;
  readonly onError: (code: string, message: string) => void;
}

/** The model in the engine, after its test. */
export interface Serving {
  /** Of the plan that was fulfilled. */
  readonly key: string;
  /** Of the test that was passed. */
  readonly passed: string;
  readonly model: ModelEntry;
  readonly args: EngineArgs;
  /** launcher.startedAt of the engine that passed: another start must pass again. */
  readonly engineStart: number;
}

/** What was done for the plan so far. */
interface Done {
  installed: boolean;
  loaded: number | null;
  provedAt: number | null;
  passed: string | null;
}

/**
 * Brings the one model that this node shall serve from the snapshot into the engine, and keeps it there: install → verify →
 * load → prove the isolation → test → Active. Level-based: each turn starts from what is wanted and what is there (plan.ts,
 * model-next.ts), so a changed wish, a crashed engine, files that changed and a restarted agent all take the same path. A
 * failure puts the model aside, and it is tried again after a back-off or when the wish changes.
 */
export class ModelManager {
  readonly #o: ModelManagerOptions;
  readonly #log: Logger;
  readonly #book: ModelBook;
  readonly #steps: ModelSteps;
  readonly #review: ModelReview;
  #serving: Serving | null = null;
  #step: Step = 'idle';
  /** What the plan that is pursued serves. */
  #wanted: ModelEntry | undefined;
  /** Where the plan is. */
  #at: PlanStep = 'validate';
  /** The review found the wanted model's files wrong. */
  #spoiled: CodedError | null = null;
  #provedAt = 0;
  readonly #setback: Setback;
  #wake = new AbortController();

  constructor(options: ModelManagerOptions) {
    const { clock, logger, metrics, record, config, install } = options;
    this.#o = options;
    this.#log = logger;
    this.#setback = new Setback(() => clock.monotonic());
    this.#book = new ModelBook(clock, options.onChange);
    this.#steps = new ModelSteps(options, this.#book);
    this.#review = new ModelReview({
      shared: install.shared,
      book: this.#book,
      verified: this.#steps.verified,
      config,
      wanted: () => this.#wanted ?? this.#serving?.model,
      told: (ref) => ref === options.assigned() || ref === this.#setback.ref,
      onSpoiled: (error) => {
        this.#spoiled = error;
        this.wake();
      },
      clock,
      logger,
      metrics,
      record,
    });
  }

  get step(): Step {
    return this.#step;
  }
  get isolation(): Isolation {
    return this.#o.loader.isolation;
  }
  get models(): readonly ModelView[] {
    return this.#book.all;
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
    const beside = [this.#review.run(signal), this.#o.install.shared.uses.run(signal)];
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
          await Promise.race([ended, this.#woken(5_000, signal)]);
          this.#wake = new AbortController();
          if (!over && planKey(this.#plan()) !== planKey(plan))
            replanned.abort(new CodedError('replanned', 'another plan'));
          if (replanned.signal.aborted) await ended;
        }
        await ended;
      }
    } finally {
      unwatch();
      await Promise.all(beside);
    }
  }

  async #woken(ms: number, signal: AbortSignal): Promise<void> {
    await this.#o.clock.sleep(ms, AbortSignal.any([signal, this.#wake.signal])).catch(() => {});
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
    if (!model || ref === this.#serving?.model.ref || ref === this.#setback.ref) return;
    if (this.#book.view(model)?.note !== reason) this.#book.begin(model, 'queued', { percent: 0, note: reason });
  }

  /** One plan until it fails, is replaced, or the agent ends. Never throws. */
  async #pursue(plan: Plan, signal: AbortSignal): Promise<void> {
    this.#wanted = plan.kind === 'serve' ? plan.model : undefined;
    this.#spoiled = null; // of another plan; its files are gone, so they are fetched before anything else
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
    await this.#letGo();
    await this.#o.loader.release(stop);
    if (stop) await this.#o.install.shared.uses.only(new Set());
    while (!signal.aborted) {
      // nothing to install: what the snapshot says is in effect
      await this.#follow(plan);
      await this.#woken(5_000, signal);
    }
  }

  /** No job is taken for the model any more; resolves when those that run have ended. */
  async #letGo(): Promise<void> {
    if (!this.#serving) return;
    const { model } = this.#serving;
    this.#serving = null;
    if (this.#book.view(model)?.status.state === 'active') this.#book.rest(model, 'NotAssigned');
    this.#o.onChange();
    await this.#o.idle();
  }

  async #serve(plan: ServePlan, signal: AbortSignal): Promise<void> {
    const { model } = plan;
    const { clock, config, watch } = this.#o;
    const done: Done = { installed: false, loaded: null, provedAt: null, passed: null };
    if (this.serving?.key === plan.key) {
      // back from a plan that never touched the engine
      const { engineStart: loaded, passed } = this.serving;
      Object.assign(done, { loaded, passed, provedAt: this.#provedAt });
      this.#book.pass(model);
      this.#enter('active');
    }
    for (;;) {
      signal.throwIfAborted();
      if (this.#spoiled) throw this.#spoiled;
      const { facts, terminating } = watch.view;
      const seal = done.installed ? this.#steps.verified.get(model.digest) : undefined;
      const wanted = testKey(plan.key, done.loaded, this.#o.engineVersion(), seal);
      const next = nextOf({
        now: clock.monotonic(),
        seal,
        loaded: done.loaded,
        engineStart: facts && !terminating ? facts.startedAt : undefined,
        provedAt: done.provedAt,
        passed: done.passed,
        wanted,
        active: this.#serving?.key === plan.key && this.#serving.engineStart === done.loaded,
      });
      switch (next) {
        case 'install':
          this.#at = 'prefetch';
          if (this.#step !== 'active') this.#enter('installing');
          await this.#steps.install(plan, this.#serving?.model.digest === model.digest, signal);
          done.installed = true;
          break;
        case 'load':
          if (done.loaded !== null && this.#serving) {
            this.#log.warn({ model: model.ref }, 'the engine is another one, it is tested again');
            this.#serving = null;
          }
          await this.#makeWay(plan, signal);
          this.#at = 'switch';
          if (!this.#serving) this.#enter('loading');
          done.loaded = await this.#steps.load(plan, this.#serving !== null, signal);
          done.provedAt = null;
          break;
        case 'prove':
          this.#at = 'test';
          if (!this.#serving) this.#enter('proving');
          await this.#o.loader.prove(plan.document, signal);
          done.provedAt = this.#provedAt = clock.monotonic();
          break;
        case 'test':
          this.#at = 'test';
          if (!this.#serving) this.#enter('testing');
          await this.#steps.test(plan, this.#serving !== null, signal);
          done.passed = wanted;
          break;
        case 'activate':
          await this.#activate(plan, done.loaded ?? 0, wanted);
          break;
        case 'hold':
          this.#at = 'test';
          await this.#follow(plan, model.ref).catch((error: unknown) =>
            // what serves, serves on under the old configuration
            config.blocked({ step: 'record', reason: quarantineReason(error), why: errorText(error) }),
          );
          await this.#woken(1_000, signal);
          break;
        default:
          assertNever(next);
      }
    }
  }

  /** Before another engine starts: jobs of the old one finish. */
  async #makeWay(plan: ServePlan, signal: AbortSignal): Promise<void> {
    if (!this.#serving || sameEngine(this.#serving, plan)) return;
    this.#at = 'drain';
    const [from, to] = [this.#serving.model.ref, plan.model.ref];
    this.#log.info({ from, to }, 'switching the model, running jobs finish first');
    await this.#letGo();
    signal.throwIfAborted();
  }

  async #activate(plan: ServePlan, engineStart: number, passed: string): Promise<void> {
    const { key, model, args } = plan;
    this.#at = 'record';
    await this.#follow(plan, model.ref);
    this.#serving = { key, passed, model, args, engineStart };
    for (const { ref, status } of this.#book.all)
      if (ref !== model.ref && ref !== this.#setback.ref && status.state === 'pending') this.#book.forget(ref);
    this.#book.pass(model);
    const { test } = this.#book.view(model) ?? {};
    const { tier } = this.isolation;
    this.#o.record('model.active', {
      model: model.ref,
      digest: model.digest,
      tier,
      ms: test?.ms,
      engine: test?.engine,
    });
    this.#enter('active');
  }

  async #quarantine(plan: ServePlan, error: unknown, signal: AbortSignal): Promise<void> {
    const { model, obstacle } = plan;
    const { clock, config, metrics } = this.#o;
    const step = error === this.#spoiled ? 'prefetch' : this.#at;
    this.#spoiled = null;
    const reason = quarantineReason(error);
    metrics.quarantines.inc();
    const engineStart = this.#serving?.model.digest === model.digest ? this.#serving.engineStart : null;
    if (engineStart !== null) this.#serving = null;
    this.#steps.verified.delete(model.digest);
    const status = this.#book.fail(model, reason, { retryMs: config.retryMs, capMs: QUARANTINE_CAP_MS });
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
    const end = clock.monotonic() + ms;
    if (isCoded(error, 'digest_mismatch')) {
      metrics.verifyFailures.inc();
      await this.#steps.purge(engineStart, signal);
    }
    if (back) return;
    // a new snapshot is a reason to try at once; the plan's key may be the same
    while (!signal.aborted && clock.monotonic() < end && config.accepted?.version === version)
      await clock.sleep(Math.min(1_000, end - clock.monotonic()), signal).catch(() => {});
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
