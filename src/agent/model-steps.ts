import type { Clock } from '../lib/clock.ts';
import { CodedError } from '../lib/errors.ts';
import type { Logger } from '../lib/log.ts';
import { sealOf } from '../models/index.ts';
import type { Sha256 } from '../protocol/index.ts';
import type { EngineClient } from '../runtime/index.ts';
import type { ConfigSync } from './config-sync.ts';
import type { EngineLoader } from './engine-loader.ts';
import type { EngineWatch } from './engine-watch.ts';
import type { AgentMetrics } from './job-metrics.ts';
import type { ModelBook } from './model-book.ts';
import { type InstallOptions, installModel } from './model-install.ts';
import type { Plan } from './plan.ts';
import { testInference } from './test-inference.ts';

export type ServePlan = Extract<Plan, { kind: 'serve' }>;

export interface ModelStepsOptions {
  readonly config: Pick<ConfigSync, 'accepted'>;
  readonly watch: EngineWatch;
  readonly loader: EngineLoader;
  readonly engine: Pick<EngineClient, 'run'>;
  /** Version of the runtime image, as the configuration knows it: a test's answer holds for it alone. */
  readonly engineVersion: () => string;
  readonly install: Pick<InstallOptions, 'shared' | 'dispatcher' | 'credentials' | 'pace'>;
  readonly sourceRules: Omit<InstallOptions['policy'], 'trustedSources'>;
  /** Resolves when no job runs. */
  readonly idle: () => Promise<void>;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: AgentMetrics;
}

const PURGE_TRIES = 80;

/** The steps of model-next.ts as deeds. `quiet`: the model serves meanwhile, so its state stays active. */
export class ModelSteps {
  readonly #o: ModelStepsOptions;
  readonly #book: ModelBook;
  /** Seals of the folders whose every byte this process has hashed. */
  readonly verified = new Map<Sha256, string>();
  /** Start of an engine that read files which are not trusted. */
  #tainted: number | null = null;

  constructor(options: ModelStepsOptions, book: ModelBook) {
    this.#o = options;
    this.#book = book;
  }

  async install({ model, document }: ServePlan, quiet: boolean, signal: AbortSignal): Promise<void> {
    const { config, clock, logger, metrics } = this.#o;
    let shown = '';
    const options: InstallOptions = {
      ...this.#o.install,
      clock,
      logger,
      metrics,
      verified: this.verified,
      standing: (digest) => {
        const listed = config.accepted?.document.models.find((m) => m.digest === digest);
        return listed ? (listed.state === 'active' ? 'active' : 'other') : 'no';
      },
      policy: { ...this.#o.sourceRules, trustedSources: document.trustedSources },
      onStep: (step, percent, progress) => {
        const next = `${step} ${percent} ${progress?.etaSeconds}`;
        if (next === shown || quiet) return;
        shown = next;
        this.#book.begin(model, step, { percent, progress });
      },
    };
    await installModel(model, options, signal);
  }

  /** Resolves with the engine's start. @throws when the files are not those that were hashed, at any time until then */
  async load(plan: ServePlan, quiet: boolean, signal: AbortSignal): Promise<number> {
    const { model } = plan;
    const { store, uses } = this.#o.install.shared;
    if (!quiet) this.#book.begin(model, 'loading');
    const path = store.pathOf(model.digest);
    const start = await this.#o.loader.load(plan, path, (note) => this.#book.note(model, note), signal);
    if (start === this.#tainted) throw new CodedError('digest_mismatch', 'the engine still has what it read before');
    if ((await sealOf(path, model.files)) !== this.verified.get(model.digest)) {
      this.#tainted = start;
      throw new CodedError('digest_mismatch', 'the files changed after they were hashed, while the engine read them');
    }
    this.#tainted = null;
    await uses.only(new Set([model.digest]));
    return start;
  }

  async test({ model, document }: ServePlan, quiet: boolean, signal: AbortSignal): Promise<void> {
    const { clock, metrics, engine, logger } = this.#o;
    if (!quiet) this.#book.begin(model, 'testing');
    const ms = await testInference(model, engine, document.jobs.timeouts, clock, signal);
    const version = this.#o.engineVersion();
    this.#book.tested(model, { ms, engine: version, at: clock.now() });
    metrics.testDuration.observe(ms / 1000);
    logger.info({ model: model.ref, ms, version }, 'test inference passed');
  }

  /**
   * After wrong bytes: an engine that may have read them is not used again. It ends when its jobs have; resolves when it did.
   * `served`: start of the engine that served the model.
   */
  async purge(served: number | null, signal: AbortSignal): Promise<void> {
    const { clock, watch, loader, idle } = this.#o;
    this.#tainted = served ?? this.#tainted;
    if (this.#tainted === null) return;
    await idle();
    await loader.release(true);
    // a launcher that is told to run again before it looked would keep the engine
    for (let tries = 0; tries < PURGE_TRIES && !signal.aborted; tries++) {
      const { facts } = await watch.look();
      if (facts?.pid == null) return;
      await clock.sleep(250, signal).catch(() => {});
    }
  }
}
