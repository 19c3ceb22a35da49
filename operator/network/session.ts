import type { Dispatcher } from 'undici';
import type { ResultityNetwork } from '../../src/api/index.ts';
import { type AcceptedConfig, type Floor, httpSource, loadAccepted, updateConfig } from '../../src/config/index.ts';
import { fingerprint, type KubeClient } from '../../src/kube/index.ts';
import { type Clock, isCoded, jitter } from '../../src/lib/index.ts';
import { REFUSALS } from '../../src/protocol/index.ts';
import type { NetworkFacts, Outcome } from './decide.ts';
import { dispatcherFor, type Named, readCaBundle, readPinnedRoot } from './fetch.ts';
import { ConfigMapStateStore } from './store.ts';

export interface SessionOptions {
  readonly client: KubeClient;
  readonly clock: Clock;
  /** Writes the floor into the network's status: before the configuration is used. */
  readonly onFloor: (floor: Floor) => Promise<void>;
  readonly pollFloorMs: number;
  readonly random?: () => number;
}

/** Until a configuration was accepted: a network or a ConfigMap may appear any moment. */
const FIRST_POLL_MS = 5_000;

/** What one process knows of one ResultityNetwork between two looks: the store, the connections, the configuration. */
export class NetworkSession {
  readonly #o: SessionOptions;
  readonly #store: ConfigMapStateStore;
  #loaded = false;
  #spec = '';
  #nextPoll = Number.NEGATIVE_INFINITY;
  #connections: { key: string; dispatcher: Dispatcher } | undefined;
  #pinned: Named = { kind: 'none' };
  #ca: Named = { kind: 'none' };
  #outcome: Outcome = { kind: 'notTried' };
  #accepted: AcceptedConfig | undefined;
  inForce: AcceptedConfig | undefined;
  /** How often it has looked. */
  polls = 0;

  constructor(network: ResultityNetwork, options: SessionOptions) {
    this.#o = options;
    this.#store = new ConfigMapStateStore(options.client, network, options.onFloor);
  }

  /** Milliseconds until the next look. */
  get dueInMs(): number {
    return Math.max(0, this.#nextPoll - this.#o.clock.monotonic());
  }
  get dispatcher(): Dispatcher | undefined {
    return this.#connections?.dispatcher;
  }

  /** Looks when it is time or the spec has changed, and gives the facts either way. */
  async look(network: ResultityNetwork, signal: AbortSignal): Promise<NetworkFacts> {
    const spec = fingerprint([network.spec.endpoint, network.spec.trust, network.spec.tls, network.spec.environment]);
    if (spec !== this.#spec || this.dueInMs === 0) {
      await this.#poll(network, signal);
      this.polls += 1;
      this.#spec = spec;
      this.#nextPoll = this.#o.clock.monotonic() + this.#interval();
    }
    return {
      now: this.#o.clock.now(),
      network,
      pinned: this.#pinned,
      ca: this.#ca,
      outcome: this.#outcome,
      accepted: this.#accepted,
      inForce: this.inForce,
    };
  }

  /** From now on the nodes get this one. With `updates: Manual` a restart of the operator changes nothing of that. */
  async putInForce(config: AcceptedConfig | undefined, updates: ResultityNetwork['spec']['updates']): Promise<void> {
    if (config !== undefined && updates === 'Manual') await this.#store.approve(config.digest);
    this.inForce = config;
  }

  async close(): Promise<void> {
    await this.#connections?.dispatcher.close();
    this.#connections = undefined;
  }

  async #poll(network: ResultityNetwork, signal: AbortSignal): Promise<void> {
    const { client, clock } = this.#o;
    this.#pinned = await readPinnedRoot(client, network, signal);
    this.#ca = await readCaBundle(client, network, signal);
    if (this.#pinned.kind !== 'text' || this.#ca.kind === 'missing') return;
    const { environment, endpoint, tls } = network.spec;
    const common = {
      pinnedRoot: this.#pinned.text,
      environment,
      store: this.#store,
      now: clock.now(),
      insecureHosts: tls?.allowInsecureHosts,
    };
    if (!this.#loaded) {
      try {
        this.#accepted = await loadAccepted(common);
        if (network.spec.updates === 'Manual')
          this.inForce = await loadAccepted({ ...common, store: this.#store.approved() });
      } catch (error) {
        if (!isCoded(error, ...REFUSALS)) throw error; // the update below meets the same and says it
      }
      this.#loaded = true;
    }
    const { epoch, version } = network.status ?? {};
    const outcome = await updateConfig({
      ...common,
      source: httpSource({ endpoint, dispatcher: this.#connect(tls?.proxy) }),
      signal,
      // A lost ConfigMap must not open a way back below what the status remembers.
      minimumFloor: epoch === undefined || version === undefined ? undefined : { epoch, version },
    });
    if (outcome.kind === 'accepted') {
      this.#accepted = outcome.config;
      this.#outcome = { kind: 'accepted' };
    } else this.#outcome = { kind: 'refused', code: outcome.code, message: outcome.message };
  }

  #connect(proxy: string | undefined): Dispatcher {
    const ca = this.#ca.kind === 'text' ? this.#ca.text : undefined;
    const key = fingerprint([ca, proxy]);
    if (this.#connections?.key !== key) {
      void this.#connections?.dispatcher.close();
      this.#connections = { key, dispatcher: dispatcherFor(ca, proxy) };
    }
    return this.#connections.dispatcher;
  }

  #interval(): number {
    const { pollMs, retryMs } = this.#accepted?.document.ttl ?? {};
    const ms =
      this.#outcome.kind === 'accepted'
        ? pollMs
        : Math.min(pollMs ?? FIRST_POLL_MS, Math.max(retryMs ?? 0, FIRST_POLL_MS));
    return jitter(Math.max(this.#o.pollFloorMs, ms ?? FIRST_POLL_MS), 0.1, this.#o.random);
  }
}
