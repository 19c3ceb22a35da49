import { readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { z } from 'zod';
import {
  type AcceptedConfig,
  type ConfigSource,
  compareVersions,
  intersect,
  loadAccepted,
  onlineKeys,
  openRoot,
  parseSnapshotDocument,
  receiptAuthorities,
  type SnapshotDocument,
  type StateStore,
  type TrustedRoot,
  updateConfig,
  walkRoots,
} from '../config/index.ts';
import { fullJitter, jitter } from '../lib/backoff.ts';
import type { Clock } from '../lib/clock.ts';
import { CodedError } from '../lib/errors.ts';
import { writeDurably } from '../lib/fs.ts';
import type { Logger } from '../lib/log.ts';
import {
  type Address,
  type ConfigAck,
  type ConfigRef,
  type ReceiptAuthority,
  type Refusal,
  type Sha256,
  zConfigRef,
} from '../protocol/index.ts';
import type { Obstacle } from './plan.ts';
import type { ServerClock } from './server-clock.ts';
import { type Freshness, TicketAge } from './ticket-age.ts';

/** A snapshot that is, or was, in effect here. */
export interface AppliedConfig {
  readonly ref: ConfigRef;
  readonly document: SnapshotDocument;
}

export interface ConfigSyncOptions {
  readonly pinnedRoot: string;
  readonly network: string;
  readonly environment: 'testnet' | 'mainnet';
  readonly allowInsecureHosts: readonly string[];
  readonly store: StateStore;
  readonly source: ConfigSource;
  readonly clock: Clock;
  readonly server: ServerClock;
  readonly logger: Logger;
  /** Highest of the operator's annotation and the network's status call; never written down. */
  readonly minimumFloor: () => { epoch: number; version: number } | undefined;
  /** File that remembers what is applied. */
  readonly appliedFile: string;
  readonly record: (kind: string, data: Record<string, unknown>) => void;
  /** config.ack. */
  readonly ack: (ref: ConfigRef, state: ConfigAck['state'], more?: Pick<ConfigAck, 'code' | 'step'>) => void;
  /** Accepted, applied or roots changed. */
  readonly onChange: () => void;
  readonly onError: (code: string, message: string) => void;
}

const zApplied = z.object({
  applied: zConfigRef,
  previous: zConfigRef.nullish(),
  served: z.string().optional(),
  expiresAt: z.number().optional(),
});
/** What waits for others is no failure: for the operator's rollout, for the person who holds the node. */
const ACK_OF: Readonly<Record<string, ConfigAck['state']>> = {
  ImageMismatch: 'restricted',
  VersionTooOld: 'restricted',
  Held: 'held',
};
const PREVIOUS_MS = 600_000;
const DEFAULT_POLL_MS = 60_000;
const DEFAULT_RETRY_MS = 1_000;

const refOf = (c: { epoch: number; version: number; digest: Sha256 }): ConfigRef => ({
  epoch: c.epoch,
  version: c.version,
  digest: c.digest,
});

/**
 * The node's configuration: fetched, verified, made durable by src/config; here it is polled, restricted at once, and
 * marked applied when the model manager says that all of it is there and tested. What is accepted and not applied yet only
 * ever takes away.
 */
export class ConfigSync {
  readonly #o: ConfigSyncOptions;
  readonly #log: Logger;
  #accepted: AcceptedConfig | null = null;
  #applied: AppliedConfig | null = null;
  #previous: { readonly config: AppliedConfig; readonly until: number } | null = null;
  #effective: SnapshotDocument | null = null;
  #roots: readonly TrustedRoot[];
  #refusal: Refusal | null = null;
  #served: string | undefined;
  #appliedUntil: number | undefined;
  #obstacle: Obstacle | null = null;
  #refreshing: Promise<boolean> | null = null;
  readonly #age: TicketAge;
  #told: Freshness = 'Fresh';
  #wake = new AbortController();

  /** @throws CodedError<Refusal> when the pinned root is none */
  constructor(options: ConfigSyncOptions) {
    this.#o = options;
    this.#log = options.logger;
    this.#roots = [openRoot(options.pinnedRoot)];
    this.#age = new TicketAge(options.clock, options.server, join(dirname(options.appliedFile), 'ticket-age.json'));
  }

  get accepted(): AcceptedConfig | null {
    return this.#accepted;
  }
  get applied(): AppliedConfig | null {
    return this.#applied;
  }
  /** What may be done now: the applied snapshot, cut down by the accepted one. */
  get effective(): SnapshotDocument | null {
    return this.#effective;
  }
  /** The accepted one while it is not applied. */
  get pending(): ConfigRef | null {
    return this.#accepted && this.#accepted.digest !== this.#applied?.ref.digest ? refOf(this.#accepted) : null;
  }
  /** `name:version` that was served under the applied one. */
  get servedModel(): string | undefined {
    return this.#served;
  }
  /** What is applied may no longer be held on to. */
  get appliedExpired(): boolean {
    return this.#appliedUntil !== undefined && this.#o.server.now() >= this.#appliedUntil;
  }
  /** Why the pending one does not take effect; null while nothing is known to stand in the way. */
  get obstacle(): Obstacle | null {
    return this.pending && this.#obstacle;
  }
  /** Applied first, then the one before it for 10 minutes. */
  get servable(): readonly AppliedConfig[] {
    const previous = this.#previous && this.#o.clock.monotonic() < this.#previous.until ? [this.#previous.config] : [];
    return this.#applied ? [this.#applied, ...previous] : [];
  }
  /** Why the last update was refused; null after one that was not. */
  get refusal(): Refusal | null {
    return this.#refusal;
  }
  get retryMs(): number {
    return this.#accepted?.document.ttl.retryMs ?? DEFAULT_RETRY_MS;
  }
  get newestRoot(): TrustedRoot {
    return this.#roots.at(-1) as TrustedRoot;
  }
  get authorities(): readonly ReceiptAuthority[] {
    return receiptAuthorities(this.#roots);
  }
  /** Since the last fresh ticket, ms. */
  get ticketAgeMs(): number {
    return this.#age.ms;
  }
  /** Expired: older than maxStalenessSeconds, work must stop. */
  get freshness(): Freshness {
    return this.#accepted ? this.#age.standing(this.#accepted.document.maxStalenessSeconds) : 'Fresh';
  }

  /** Takes up what an earlier run accepted and applied, verified again. @throws when the floor fails closed */
  async open(): Promise<void> {
    const { pinnedRoot, store, clock, allowInsecureHosts } = this.#o;
    const held = await loadAccepted({ pinnedRoot, store, now: clock.now(), insecureHosts: allowInsecureHosts });
    if (held) {
      await this.#age.restore(held.ticket);
      this.#accepted = held;
      this.#roots = held.roots;
    }
    await this.#loadApplied();
    this.#derive();
  }

  async #loadApplied(): Promise<void> {
    const text = await readFile(this.#o.appliedFile, 'utf8').catch(() => undefined);
    if (text === undefined) return;
    const parsed = zApplied.safeParse(JSON.parse(text));
    if (!parsed.success) return;
    const ref = parsed.data.applied;
    this.#served = parsed.data.served;
    this.#appliedUntil = parsed.data.expiresAt;
    const bytes = await this.#o.store.loadSnapshot(ref.digest);
    if (bytes)
      this.#applied = {
        ref,
        document: parseSnapshotDocument(bytes, { insecureHosts: this.#o.allowInsecureHosts }),
      };
  }

  /** One update, shared by whoever asks at the same time. True when something new was accepted. */
  refresh(signal?: AbortSignal): Promise<boolean> {
    this.#refreshing ??= this.#refresh(signal).finally(() => {
      this.#refreshing = null;
    });
    return this.#refreshing;
  }

  async #refresh(signal?: AbortSignal): Promise<boolean> {
    const { clock, server } = this.#o;
    const outcome = await updateConfig({
      ...this.#trust(),
      now: clock.now(),
      serverNow: server.known() === undefined ? undefined : server.now(),
      minimumFloor: this.#o.minimumFloor(),
      insecureHosts: this.#o.allowInsecureHosts,
      ...(signal ? { signal } : {}),
    });
    if (outcome.kind === 'refused') {
      this.#takeRoots(outcome.roots);
      if (this.#refusal !== outcome.code) {
        this.#log.warn(
          { reason: outcome.code, error: outcome.message },
          'configuration not renewed; the last one holds',
        );
        this.#o.record('config.refused', { code: outcome.code });
      }
      this.#refusal = outcome.code;
      this.#o.onError(outcome.code, outcome.message);
      this.#o.onChange();
      return false;
    }
    this.#refusal = null;
    this.#age.renewed(outcome.config.ticket);
    this.#takeRoots(outcome.config.roots);
    const before = this.#accepted;
    this.#accepted = outcome.config;
    if (before?.digest === outcome.config.digest && before.version === outcome.config.version) return false;
    const ref = refOf(outcome.config);
    this.#log.info(
      { ...ref, signers: outcome.config.signers.length, models: outcome.config.document.models.length },
      'configuration accepted',
    );
    this.#o.record('config.accepted', { ...ref, signers: outcome.config.signers });
    this.#obstacle = null;
    this.#derive();
    if (this.#applied && this.#applied.ref.digest !== ref.digest) this.#o.ack(ref, 'restricted');
    this.#o.onChange();
    return true;
  }

  /**
   * All of the accepted snapshot is here and tested: it takes effect, durably, in one step. `served` is the model that was
   * tested for it. @throws when it cannot be written: the old one stays in effect
   */
  async apply(accepted: AcceptedConfig, served = this.#served): Promise<void> {
    const before = this.#applied;
    const known = before?.ref.digest === accepted.digest && before.ref.version === accepted.version;
    if (known && served === this.#served) return;
    const ref = refOf(accepted);
    const previous = (known ? this.#previous?.config.ref : before?.ref) ?? null;
    const { expiresAt } = accepted.snapshot;
    const text = JSON.stringify({ applied: ref, previous, served, expiresAt });
    await writeDurably(this.#o.appliedFile, text).catch((cause: unknown) => {
      throw new CodedError('StateUnwritable', `${this.#o.appliedFile} cannot be written`, { cause });
    });
    this.#served = served;
    this.#appliedUntil = expiresAt;
    if (known) return;
    this.#obstacle = null;
    if (before) this.#previous = { config: before, until: this.#o.clock.monotonic() + PREVIOUS_MS };
    this.#applied = { ref, document: accepted.document };
    this.#derive();
    this.#log.info({ ...ref }, 'configuration applied');
    this.#o.record('config.applied', { ...ref, signers: accepted.signers });
    this.#o.ack(ref, 'applied');
    this.#o.onChange();
  }

  /** The pending snapshot does not take effect (yet). Told once for each reason. */
  blocked(obstacle: Obstacle): void {
    const ref = this.pending;
    const before = this.#obstacle;
    if (!ref || (before?.reason === obstacle.reason && before.step === obstacle.step)) return;
    this.#obstacle = obstacle;
    const { step, reason, why } = obstacle;
    const state = ACK_OF[reason] ?? 'failed';
    this.#log.warn({ ...ref, reason, phase: step, error: why }, 'configuration stays pending');
    this.#o.record(state === 'failed' ? 'config.failed' : 'config.pending', { ...ref, step, reason });
    this.#o.onError(reason, why);
    if (state !== 'restricted') this.#o.ack(ref, state, { code: reason, step });
    this.#o.onChange();
  }

  /** A digest that the network named: anything but the accepted one is fetched. */
  notice(named: ConfigRef | null): void {
    if (named && named.digest !== this.#accepted?.digest) this.#wake.abort();
  }

  /** Keys that may sign a session, after the roots were walked up to `rootVersion`. */
  async sessionKeys(rootVersion: number): Promise<readonly Address[]> {
    if (this.newestRoot.version < rootVersion) await this.walk();
    return onlineKeys(this.newestRoot);
  }

  /** Asks for the next roots. */
  async walk(signal?: AbortSignal): Promise<void> {
    const outcome = await walkRoots({ ...this.#trust(), ...(signal ? { signal } : {}) });
    this.#takeRoots(outcome.roots);
  }

  /** Polls every ttl.pollMs (± 10 %), at once on a notice, with back-off while the network is away. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock } = this.#o;
    for (let failures = 0; !signal.aborted; ) {
      this.#wake = new AbortController();
      const poll = this.#accepted?.document.ttl.pollMs ?? DEFAULT_POLL_MS;
      const retry = fullJitter(failures, { baseMs: 2 * this.retryMs, capMs: poll });
      const wait = this.#refusal === null ? jitter(poll) : Math.max(500, retry);
      await clock.sleep(wait, AbortSignal.any([signal, this.#wake.signal])).catch(() => {});
      if (signal.aborted) return;
      if (this.#wake.signal.aborted) await clock.sleep(Math.random() * 250, signal).catch(() => {});
      await this.refresh(signal).catch((error: unknown) => {
        if (!signal.aborted) this.#log.error({ error }, 'the configuration could not be renewed');
      });
      failures = this.#refusal === null ? 0 : failures + 1;
      this.#tellAge();
      await this.#age.keep();
    }
  }

  #trust() {
    const { pinnedRoot, network, environment, store, source } = this.#o;
    return { pinnedRoot, network, environment, store, source };
  }

  /** Told once for each change: work goes on while it is Stale, and stops while it is Expired. */
  #tellAge(): void {
    const now = this.freshness;
    if (now === this.#told) return;
    this.#told = now;
    const ms = this.ticketAgeMs;
    if (now === 'Fresh') this.#log.info({ ms }, 'the configuration is fresh again');
    else {
      const why =
        now === 'Stale' ? 'work goes on with the last known configuration' : 'the node drains until one comes';
      this.#log.warn({ reason: `Config${now}`, ms }, `no fresh ticket: ${why}`);
      this.#o.onError(`Config${now}`, `no fresh ticket for ${Math.round(ms / 60_000)} min: ${why}`);
    }
    this.#o.record('config.freshness', { state: now, ageMs: Math.round(ms) });
    this.#o.onChange();
  }

  #takeRoots(roots: readonly TrustedRoot[]): void {
    const newest = roots.at(-1);
    if (newest && newest.version >= this.newestRoot.version) this.#roots = roots;
  }

  #derive(): void {
    const accepted = this.#accepted?.document ?? null;
    const applied = this.#applied;
    if (!applied) this.#effective = null;
    else if (!accepted || this.#accepted?.digest === applied.ref.digest) this.#effective = applied.document;
    else this.#effective = intersect(applied.document, accepted);
  }
}

/** The higher of two floors. */
export const higherFloor = <F extends { epoch: number; version: number }>(
  a: F | undefined,
  b: F | undefined,
): F | undefined => (a === undefined ? b : b === undefined ? a : compareVersions(a, b) >= 0 ? a : b);
