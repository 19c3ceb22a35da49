import { compareVersions, type SnapshotDocument } from '../config/index.ts';
import type { Clock } from '../lib/clock.ts';
import type { Address, Heartbeat, Hello, NodeState, NodeStatus, Sha256 } from '../protocol/index.ts';
import type { DispatchNode } from './dispatch-types.ts';
import { DEFAULT_ROTATION, inRotation, type RotationRule, servedModels, shortcomings, stateOf } from './rotation.ts';
import type { NodeRow, Order, Store } from './store.ts';
import { Memberships } from './subclouds.ts';

/** The configuration that nodes are measured by. */
export interface CurrentConfig {
  readonly document: SnapshotDocument;
  readonly digest: Sha256;
  /** Monotonic time at which it took effect here. */
  readonly since: number;
}

interface Live {
  row: NodeRow;
  connected: boolean;
  bootId: string;
  heartbeat: Heartbeat | undefined;
  /** Of this session; out of rotation until the first. */
  heartbeatAt: number | undefined;
  /** Of any session or call, for people. */
  heardAt: number | undefined;
  capacity: { slots: number; queue: number };
  supersedes: number[];
  duplicateUntil: number;
  readonly memberships: Memberships;
  /** What stood against the heartbeat under the configuration, judged once for both: every sweep asks. */
  judged:
    | { readonly heartbeat: Heartbeat; readonly config: CurrentConfig; readonly reasons: readonly string[] }
    | undefined;
}

const DUPLICATE_MS = 300_000;

/**
 * Every node that registered: what is durable of it (the row) and what is only true now (session, last heartbeat).
 * Its state is computed when asked, from the monotonic clock, so nothing has to fire for a node to fall out of rotation.
 */
export class Registry {
  readonly #store: Store;
  readonly #clock: Clock;
  readonly #maxLagMs: number;
  readonly #nodes = new Map<Address, Live>();
  #config: CurrentConfig | undefined;

  constructor(store: Store, clock: Clock, maxLagMs: number) {
    this.#store = store;
    this.#clock = clock;
    this.#maxLagMs = maxLagMs;
    for (const row of store.nodes()) this.#nodes.set(row.node, fresh(row));
  }

  configure(config: CurrentConfig): void {
    this.#config = config;
  }
  get rule(): RotationRule {
    return this.#config?.document.ttl ?? DEFAULT_ROTATION;
  }
  get all(): readonly Address[] {
    return [...this.#nodes.keys()];
  }
  row(node: Address): NodeRow | undefined {
    return this.#nodes.get(node)?.row;
  }
  isConnected(node: Address): boolean {
    return this.#nodes.get(node)?.connected === true;
  }
  /** Durable when it resolves; known at once. Many registrations share an fsync. */
  register(row: NodeRow): Promise<void> {
    this.#store.saveNodeSoon(row);
    this.#keep(row);
    return this.#store.durable();
  }
  /** Durable when it returns. */
  save(row: NodeRow): void {
    this.#store.saveNode(row);
    this.#keep(row);
  }
  #keep(row: NodeRow): void {
    const live = this.#nodes.get(row.node);
    if (live) live.row = row;
    else this.#nodes.set(row.node, fresh(row));
  }

  /** A hello that held. @returns when the incarnation that it brought is durable; undefined when it brought none */
  connected(hello: Hello): Promise<void> | undefined {
    const live = this.#live(hello.node);
    if (live.connected) this.#superseded(live, hello.bootId);
    const rises = hello.incarnation > live.row.incarnation;
    if (rises) this.#soon(live, { ...live.row, incarnation: hello.incarnation });
    live.connected = true;
    live.bootId = hello.bootId;
    live.capacity = hello.capacity;
    live.heartbeatAt = undefined;
    this.#floor(live, hello.config);
    return rises ? this.#store.durable() : undefined;
  }
  disconnected(node: Address): void {
    const live = this.#nodes.get(node);
    if (live) live.connected = false;
  }

  /** A heartbeat over the node's socket, or over HTTP while there is none. @returns true when the node became active first */
  heartbeat(node: Address, heartbeat: Heartbeat): boolean {
    const live = this.#live(node);
    live.heartbeat = heartbeat;
    live.capacity = heartbeat.capacity;
    live.heardAt = this.#clock.monotonic();
    if (live.connected) live.heartbeatAt = live.heardAt;
    this.#floor(live, heartbeat.config);
    const { document } = this.#config ?? {};
    if (document) live.memberships.heard(heartbeat, document, live.heardAt);
    const qualifies =
      live.connected &&
      document !== undefined &&
      servedModels(heartbeat, document, live.memberships.of(live.row, heartbeat, document).ids).size > 0 &&
      shortcomings(heartbeat, document).length === 0;
    if (!qualifies || live.row.everActive || live.row.admission !== 'admitted') return false;
    this.#soon(live, { ...live.row, everActive: true });
    return true;
  }

  order(node: Address, order: Order): void {
    this.save({ ...this.#live(node).row, order });
  }

  state(node: Address): NodeState {
    const live = this.#live(node);
    return stateOf(live.row, this.#rotates(live) && this.#reasons(live).length === 0);
  }
  /** The digest of the snapshot that the node said it applied. */
  applied(node: Address): Sha256 | undefined {
    return this.#nodes.get(node)?.heartbeat?.config?.digest;
  }

  /** Whether it may get offers now: what a sweep over all nodes asks, so nothing else is computed. */
  offers(node: Address): boolean {
    return this.state(node) === 'active' && this.#upToDate(this.#live(node));
  }
  view(node: Address): DispatchNode {
    const live = this.#live(node);
    const { document } = this.#config ?? {};
    const hb = live.heartbeat;
    const { ids, isolated } =
      hb && document ? live.memberships.of(live.row, hb, document) : { ids: [], isolated: false };
    return {
      node,
      offers: this.offers(node),
      slots: live.capacity.slots,
      capacity: live.capacity.slots + live.capacity.queue,
      models: hb && document ? servedModels(hb, document, ids) : new Map(),
      subclouds: ids,
      isolated,
    };
  }

  status(node: Address): NodeStatus | undefined {
    const live = this.#nodes.get(node);
    if (!live) return undefined;
    const now = this.#clock.monotonic();
    const reasons = [...this.#reasons(live)];
    if (!live.connected) reasons.push('NotConnected');
    else if (!this.#rotates(live)) reasons.push('HeartbeatStale');
    if (now < live.duplicateUntil) reasons.push('DuplicateIdentity');
    return {
      node,
      state: this.state(node),
      reasons,
      floor: live.row.floor,
      lastHeartbeatAgeMs: live.heardAt === undefined ? null : Math.round(now - live.heardAt),
      incarnation: live.row.incarnation,
    };
  }
  /** How many nodes are in each state. */
  counts(): Map<NodeState, number> {
    const counts = new Map<NodeState, number>();
    for (const node of this.#nodes.keys()) {
      const state = this.state(node);
      counts.set(state, (counts.get(state) ?? 0) + 1);
    }
    return counts;
  }

  /** What the node will say again. */
  #soon(live: Live, row: NodeRow): void {
    this.#store.saveNodeSoon(row);
    live.row = row;
  }
  #live(node: Address): Live {
    const live = this.#nodes.get(node);
    if (!live) throw new Error(`node ${node} is not registered`);
    return live;
  }
  #rotates(live: Live): boolean {
    const age = live.heartbeatAt === undefined ? undefined : this.#clock.monotonic() - live.heartbeatAt;
    return inRotation({ connected: live.connected, heartbeatAgeMs: age }, this.rule);
  }
  #reasons(live: Live): readonly string[] {
    const { heartbeat } = live;
    const config = this.#config;
    if (!heartbeat || !config) return [];
    if (live.judged?.heartbeat !== heartbeat || live.judged.config !== config)
      live.judged = { heartbeat, config, reasons: shortcomings(heartbeat, config.document) };
    return live.judged.reasons;
  }
  #upToDate(live: Live): boolean {
    const config = this.#config;
    if (!config) return false;
    if (live.heartbeat?.config?.digest === config.digest) return true;
    return live.heartbeat?.config != null && this.#clock.monotonic() - config.since <= this.#maxLagMs;
  }
  #floor(live: Live, config: Hello['config'] | Heartbeat['config']): void {
    for (const seen of [config, config?.pending])
      if (seen && compareVersions(seen, live.row.floor) > 0)
        this.#soon(live, { ...live.row, floor: { epoch: seen.epoch, version: seen.version } });
  }
  #superseded(live: Live, bootId: string): void {
    const now = this.#clock.monotonic();
    if (bootId === live.bootId) return;
    live.supersedes = [...live.supersedes.filter((at) => now - at < DUPLICATE_MS), now];
    if (live.supersedes.length >= 3 || now < live.duplicateUntil) live.duplicateUntil = now + DUPLICATE_MS;
  }
}

const fresh = (row: NodeRow): Live => ({
  row,
  connected: false,
  bootId: '',
  heartbeat: undefined,
  heartbeatAt: undefined,
  heardAt: undefined,
  capacity: { slots: 0, queue: 0 },
  supersedes: [],
  duplicateUntil: 0,
  memberships: new Memberships(),
  judged: undefined,
});
