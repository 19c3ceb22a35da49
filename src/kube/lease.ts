import type { Clock } from '../lib/clock.ts';
import { errorText } from '../lib/errors.ts';
import type { Logger } from '../lib/log.ts';
import type { KubeClient } from './client.ts';
import { isNotFound } from './errors.ts';
import type { KubeMetrics } from './metrics.ts';
import { deadline, pause } from './timing.ts';
import { type KubeObject, type ResourceType, resource } from './types.ts';

export interface Lease extends KubeObject {
  readonly spec?: {
    readonly holderIdentity?: string;
    readonly leaseDurationSeconds?: number;
    readonly acquireTime?: string;
    readonly renewTime?: string;
    readonly leaseTransitions?: number;
  };
}

export const leases: ResourceType<Lease> = resource<Lease>({
  group: 'coordination.k8s.io',
  version: 'v1',
  plural: 'leases',
  kind: 'Lease',
});

export interface ElectionOptions {
  readonly client: Pick<KubeClient, 'get' | 'create' | 'update'>;
  readonly clock: Clock;
  readonly log: Logger;
  readonly metrics?: KubeMetrics | undefined;
  readonly namespace: string;
  readonly name: string;
  /** Unique to this process: pod name and a random part. */
  readonly identity: string;
  readonly leaseMs?: number | undefined;
  readonly renewDeadlineMs?: number | undefined;
  readonly retryMs?: number | undefined;
  readonly random?: (() => number) | undefined;
}

/**
 * One holder of one Lease, with client-go's times: 15 s lease, 10 s to renew, 2 s between tries.
 * Safety rests on local monotonic time only: a holder stops at 10 s after it *sent* its last good renewal, others take
 * over no sooner than 15 s after they *saw* the lease change. Wall clocks are written down, never compared.
 */
export class Election {
  readonly #o: ElectionOptions;
  readonly #leaseMs: number;
  readonly #renewMs: number;
  readonly #retryMs: number;
  /** Until when we hold it, by the monotonic clock. */
  #heldUntil = Number.NEGATIVE_INFINITY;
  /** Given up on purpose: a renewal still on its way must not take it back. */
  #givenUp = false;
  #trying: Promise<boolean> | undefined;
  #observed: { version: string; at: number; lease: Lease } | undefined;

  constructor(options: ElectionOptions) {
    this.#o = options;
    this.#leaseMs = options.leaseMs ?? 15_000;
    this.#renewMs = options.renewDeadlineMs ?? 10_000;
    this.#retryMs = options.retryMs ?? 2_000;
  }

  /** Computed at the moment of asking: a process that was stopped for a minute wakes up as no leader. */
  leads(): boolean {
    return !this.#givenUp && this.#o.clock.monotonic() < this.#heldUntil;
  }

  /** Who holds it, as far as seen. */
  holder(): string {
    return this.#observed?.lease.spec?.holderIdentity ?? '';
  }

  /** Waits in standby until the lease is ours. Resolves false when `signal` ends first. Never throws. */
  async acquire(signal: AbortSignal): Promise<boolean> {
    this.#givenUp = false;
    this.#o.metrics?.leader.set({ name: this.#o.name }, 0);
    let said = '';
    while (!signal.aborted) {
      if (await this.#try(signal)) {
        this.#o.log.info({ lease: this.#o.name, identity: this.#o.identity }, 'leading');
        this.#o.metrics?.leader.set({ name: this.#o.name }, 1);
        return true;
      }
      if (this.holder() !== said) {
        said = this.holder();
        this.#o.log.info({ lease: this.#o.name, holder: said }, 'standing by');
      }
      await pause(this.#o.clock, this.#retryMs * (1 + 0.2 * (this.#o.random ?? Math.random)()), signal);
    }
    return false;
  }

  /** Renews until `signal` ends or the lease is lost; resolves 'stopped' or 'lost'. By 'lost', `leads()` is false already. */
  async hold(signal: AbortSignal): Promise<'stopped' | 'lost'> {
    while (!signal.aborted && !this.#givenUp) {
      await pause(
        this.#o.clock,
        Math.min(this.#retryMs, Math.max(1, this.#heldUntil - this.#o.clock.monotonic())),
        signal,
      );
      if (signal.aborted || this.#givenUp) break;
      const renewed = this.leads() && (await this.#try(signal));
      if (!renewed && !signal.aborted && !this.#givenUp && !this.leads()) {
        this.#o.metrics?.leader.set({ name: this.#o.name }, 0);
        this.#o.log.error({ lease: this.#o.name, holder: this.holder() }, 'lease lost');
        return 'lost';
      }
    }
    return 'stopped';
  }

  /** Gives the lease up, so that a standby need not wait. Call it when nothing writes any more. Never throws. */
  async release(): Promise<void> {
    const ours = this.leads();
    this.#givenUp = true;
    await this.#trying?.catch(() => false);
    const held = this.#observed?.lease;
    this.#heldUntil = Number.NEGATIVE_INFINITY;
    this.#o.metrics?.leader.set({ name: this.#o.name }, 0);
    if (!ours || held?.spec?.holderIdentity !== this.#o.identity) return;
    try {
      await this.#o.client.update(
        leases,
        { ...held, spec: { ...held.spec, holderIdentity: '', leaseDurationSeconds: 1, renewTime: this.#wall() } },
        { lane: 'lease', timeoutMs: 5_000 },
      );
    } catch (error) {
      this.#o.log.warn({ lease: this.#o.name, error: errorText(error) }, 'lease not released');
    }
  }

  /** One attempt to take or renew, one at a time. */
  async #try(signal: AbortSignal): Promise<boolean> {
    this.#trying = this.#attempt(signal);
    try {
      return await this.#trying;
    } finally {
      this.#trying = undefined;
    }
  }

  async #attempt(signal: AbortSignal): Promise<boolean> {
    const { client, clock, identity, namespace, name } = this.#o;
    // A renewal may take no longer than what is left of our time.
    const limit = deadline(
      clock,
      Math.max(1, Math.min(this.#renewMs / 2, this.leads() ? this.#heldUntil - clock.monotonic() : this.#renewMs)),
      signal,
      () => new Error('too slow'),
    );
    const call = { signal: limit.signal, lane: 'lease' as const };
    const sent = clock.monotonic();
    const renewTime = this.#wall();
    const spec = { holderIdentity: identity, leaseDurationSeconds: Math.ceil(this.#leaseMs / 1000), renewTime };
    try {
      let lease: Lease | undefined = this.leads() ? this.#observed?.lease : undefined;
      if (!lease) {
        try {
          lease = await client.get(leases, { namespace, name }, call);
        } catch (error) {
          if (!isNotFound(error)) throw error;
        }
      }
      if (!lease) {
        const made = await client.create(
          leases,
          { metadata: { namespace, name }, spec: { ...spec, acquireTime: renewTime, leaseTransitions: 0 } },
          call,
        );
        return this.#won(made, sent);
      }
      this.#see(lease);
      const mine = lease.spec?.holderIdentity === identity;
      if (!mine && !this.#expired(lease)) return false;
      const next: Lease = {
        ...lease,
        spec: {
          ...lease.spec,
          ...spec,
          ...(mine ? {} : { acquireTime: renewTime, leaseTransitions: (lease.spec?.leaseTransitions ?? 0) + 1 }),
        },
      };
      return this.#won(await client.update(leases, next, call), sent);
    } catch (error) {
      if (!signal.aborted) this.#o.log.warn({ lease: name, error: errorText(error) }, 'lease not taken or renewed');
      if (this.leads()) await this.#look(call);
      return false;
    } finally {
      limit.close();
    }
  }

  /** After a failed renewal: see who has it, so that the next try is made against the newest version. */
  async #look(call: { signal: AbortSignal; lane: 'lease' }): Promise<void> {
    try {
      const lease = await this.#o.client.get(leases, { namespace: this.#o.namespace, name: this.#o.name }, call);
      this.#see(lease);
      if (lease.spec?.holderIdentity !== this.#o.identity) this.#heldUntil = Number.NEGATIVE_INFINITY;
    } catch (error) {
      if (isNotFound(error)) this.#heldUntil = Number.NEGATIVE_INFINITY;
    }
  }

  #won(lease: Lease, sent: number): boolean {
    this.#see(lease);
    this.#heldUntil = sent + this.#renewMs;
    return this.leads();
  }

  #see(lease: Lease): void {
    const version = `${lease.metadata?.uid}/${lease.metadata?.resourceVersion}`;
    if (this.#observed?.version !== version) this.#observed = { version, at: this.#o.clock.monotonic(), lease };
  }

  #expired(lease: Lease): boolean {
    if (!lease.spec?.holderIdentity) return true;
    const ms = (lease.spec.leaseDurationSeconds ?? this.#leaseMs / 1000) * 1000;
    return this.#observed !== undefined && this.#o.clock.monotonic() >= this.#observed.at + ms;
  }

  /** MicroTime, as the API wants it. */
  #wall(): string {
    return new Date(this.#o.clock.now()).toISOString().replace('Z', '000Z');
  }
}
