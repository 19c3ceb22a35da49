import type { ModelEntry } from '../config/index.ts';
import { jitter } from '../lib/backoff.ts';
import type { Clock } from '../lib/clock.ts';
import { CodedError } from '../lib/errors.ts';
import type { Logger } from '../lib/log.ts';
import {
  type QuarantineRule,
  rateLimit,
  removeUnlisted,
  retryDue,
  type Shared,
  sealOf,
  verifyFolder,
} from '../models/index.ts';
import type { Sha256 } from '../protocol/index.ts';
import type { ConfigSync } from './config-sync.ts';
import type { AgentMetrics } from './job-metrics.ts';
import type { ModelBook } from './model-book.ts';
import { quarantineReason } from './quarantine-reason.ts';

export interface ModelReviewOptions {
  readonly shared: Shared;
  readonly book: ModelBook;
  /** Seals of the folders whose bytes were hashed, shared with the manager. */
  readonly verified: Map<Sha256, string>;
  readonly config: Pick<ConfigSync, 'accepted' | 'applied' | 'retryMs'>;
  /** The model that the manager installs or serves: its states are the manager's. */
  readonly wanted: () => Pick<ModelEntry, 'ref' | 'digest'> | undefined;
  /** `name:version`s whose failure is still told. */
  readonly told: (ref: string) => boolean;
  /** The wanted model's files were wrong and are gone. */
  readonly onSpoiled: (error: CodedError) => void;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: AgentMetrics;
  readonly record: (kind: string, data: Record<string, unknown>) => void;
}

const DAY_MS = 86_400_000;
const ROUND_CAP_MS = 60_000;
const NOTHING_KNOWN_MS = 1_000;
/** Bytes a second: about an eighth of a core, and little of any disk that an engine loads from. */
const REVIEW_RATE = 200 * 2 ** 20;
export const QUARANTINE_CAP_MS = 300_000;

/** Why a folder is hashed again; undefined: not now. */
export const dueOf = (f: {
  /** Seal when it was hashed last; undefined: this process has not. */
  readonly hashed: string | undefined;
  readonly seal: string;
  /** Monotonic, ms. */
  readonly dueAt: number;
  readonly now: number;
  /** The manager hashes it before it loads it. */
  readonly wanted: boolean;
}): 'first' | 'changed' | 'daily' | undefined => {
  if (f.hashed === undefined) return f.wanted ? undefined : 'first';
  if (f.seal !== f.hashed) return 'changed';
  return f.now >= f.dueAt ? 'daily' : undefined;
};

/**
 * Looks after the models that lie on the disk. Each round, as often as the configuration is polled: a folder whose seal
 * changed is hashed again, and every folder once a day, at a rate; what nobody lists, or what is archived, goes after cacheMs; models
 * that are installed and not served are shown. A wrong folder is removed at once; the manager puts its model aside and
 * fetches it again.
 */
export class ModelReview {
  readonly #o: ModelReviewOptions;
  readonly #dueAt = new Map<Sha256, number>();

  constructor(options: ModelReviewOptions) {
    this.#o = options;
  }

  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await this.round(signal).catch((error: unknown) => {
        if (!signal.aborted) this.#o.logger.error({ error }, 'the models on the disk could not be reviewed');
      });
      const pollMs = this.#o.config.accepted?.document.ttl.pollMs ?? NOTHING_KNOWN_MS;
      await this.#o.clock.sleep(Math.min(ROUND_CAP_MS, pollMs), signal).catch(() => {});
    }
  }

  /** One look at everything. Before a configuration is known nothing is judged. */
  async round(signal: AbortSignal): Promise<void> {
    const { config, shared } = this.#o;
    const { accepted, applied } = config;
    if (!accepted) return;
    const models = [...accepted.document.models, ...(applied?.document.models ?? [])];
    for (const digest of await shared.store.list()) {
      const model = models.find((m) => m.digest === digest);
      if (model) await this.#check(model, signal);
    }
    const listed = new Set(models.filter((m) => m.state !== 'archived').map((m) => m.digest));
    const wanted = this.#o.wanted();
    if (wanted) listed.add(wanted.digest);
    const gone = await removeUnlisted(shared, listed, accepted.document.ttl.cacheMs);
    for (const digest of gone) {
      this.#o.verified.delete(digest);
      this.#o.logger.info({ digest }, 'model removed, nobody lists it');
      this.#o.record('model.removed', { digest });
    }
    await this.#show(accepted.document.models);
  }

  async #check(model: ModelEntry, signal: AbortSignal): Promise<void> {
    const { shared, verified, clock, logger } = this.#o;
    const { digest, files, ref } = model;
    const path = shared.store.pathOf(digest);
    const seal = await sealOf(path, files);
    const hashed = verified.get(digest);
    if (!this.#dueAt.has(digest)) this.#plan(digest);
    const dueAt = this.#dueAt.get(digest) ?? 0;
    const wanted = this.#o.wanted()?.digest === digest;
    const why = dueOf({ hashed, seal, dueAt, now: clock.monotonic(), wanted });
    if (why === undefined) return;
    const started = clock.monotonic();
    const verdict = await verifyFolder(path, files, { signal, pace: rateLimit(REVIEW_RATE, clock) });
    this.#plan(digest);
    if (verdict.ok) {
      verified.set(digest, seal);
      logger.info({ model: ref, reason: why, ms: Math.round(clock.monotonic() - started) }, 'model files reviewed');
      return;
    }
    const lease = await shared.leases.acquire(shared.store.lockOf(digest), { wait: false });
    if (!lease) return; // somebody works on it: the next round sees what became of it
    try {
      // replaced while it was hashed: the verdict is about what is gone
      if ((await sealOf(path, files)) !== seal) return;
      await shared.store.remove(digest);
    } finally {
      await lease.release();
    }
    verified.delete(digest);
    this.#spoiled(model, new CodedError('digest_mismatch', `files at rest are wrong: ${verdict.message}`));
  }

  #spoiled(model: ModelEntry, error: CodedError): void {
    const { book, config, logger, metrics, record } = this.#o;
    logger.error({ model: model.ref, error: error.message }, 'model files at rest are wrong, removed');
    if (this.#o.wanted()?.digest === model.digest) {
      this.#o.onSpoiled(error);
      return;
    }
    metrics.verifyFailures.inc();
    metrics.quarantines.inc();
    const reason = quarantineReason(error);
    book.fail(model, reason, { retryMs: config.retryMs, capMs: QUARANTINE_CAP_MS });
    record('model.quarantined', { model: model.ref, digest: model.digest, reason });
  }

  #plan(digest: Sha256): void {
    this.#dueAt.set(digest, this.#o.clock.monotonic() + jitter(DAY_MS, 0.2));
  }

  /** States of the models that are not the wanted one. */
  async #show(models: readonly ModelEntry[]): Promise<void> {
    const { book, shared, verified, clock, config } = this.#o;
    const there = new Set(await shared.store.list());
    const wanted = this.#o.wanted();
    const rule: QuarantineRule = { retryMs: config.retryMs, capMs: QUARANTINE_CAP_MS };
    for (const { ref } of book.all) if (ref !== wanted?.ref && !models.some((m) => m.ref === ref)) book.forget(ref);
    for (const model of models) {
      if (model.ref === wanted?.ref || this.#o.told(model.ref)) continue;
      const view = book.view(model);
      const { status } = view ?? {};
      if (status?.state === 'failed' && !retryDue(status, clock.now(), rule)) continue;
      if (!view && !there.has(model.digest)) continue;
      if (model.state === 'archived') book.archive(model);
      else if (there.has(model.digest) && verified.has(model.digest))
        book.rest(model, model.state === 'active' ? 'NotAssigned' : 'Disabled');
      else if (status?.state === 'pending') book.forget(model.ref);
      else if (!there.has(model.digest)) book.archive(model);
    }
  }
}
