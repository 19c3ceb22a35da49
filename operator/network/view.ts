import type { SnapshotDocument } from '../../src/config/document.ts';
import type { Key } from '../../src/kube/index.ts';
import type { Address, NodeStatus } from '../../src/protocol/index.ts';
import type { Sight } from '../node/facts.ts';

/** The verified configuration of a network that is in force. */
export interface NetworkView {
  /** From the verified root. */
  readonly name: string;
  readonly environment: 'testnet' | 'mainnet';
  readonly epoch: number;
  readonly version: number;
  readonly digest: string;
  readonly document: SnapshotDocument;
}

interface Seen {
  readonly nodes: ReadonlyMap<Address, NodeStatus>;
  readonly asked: ReadonlySet<Address>;
  readonly error: string | undefined;
}

/** So many calls in a row must fail before the nodes' conditions say so. */
const FAILURES = 3;

/** `nodes` undefined: every node of the network is concerned. */
export type ViewChange = { readonly network: Key; readonly nodes: ReadonlySet<Address> | undefined };

/**
 * What the operator holds in memory of each network: the configuration in force and what the network says of its nodes.
 * The network controller writes it, the others read it and are told of changes.
 */
export class NetworkViews {
  readonly #views = new Map<Key, NetworkView>();
  readonly #seen = new Map<Key, Seen>();
  readonly #tried = new Set<Key>();
  readonly #failures = new Map<Key, number>();
  readonly #subscribers = new Set<(change: ViewChange) => void>();

  get(network: Key): NetworkView | undefined {
    return this.#views.get(network);
  }

  set(network: Key, view: NetworkView): void {
    const old = this.#views.get(network);
    this.#views.set(network, view);
    if (old?.digest !== view.digest || old.epoch !== view.epoch || old.version !== view.version)
      this.#tell({ network, nodes: undefined });
  }

  /** The network was looked at once, whatever came of it. The first time tells, so that waiting nodes go on. */
  setTried(network: Key): void {
    if (this.#tried.has(network)) return;
    this.#tried.add(network);
    this.#tell({ network, nodes: undefined });
  }
  tried(network: Key): boolean {
    return this.#tried.has(network);
  }

  /** The object is gone. */
  forget(network: Key): void {
    this.#tried.delete(network);
    this.#failures.delete(network);
    this.#views.delete(network);
    this.#seen.delete(network);
    this.#tell({ network, nodes: undefined });
  }

  sight(network: Key, node: string | undefined): Sight {
    const seen = this.#seen.get(network);
    const address = node?.toLowerCase() as Address | undefined;
    if (seen === undefined || address === undefined) return { kind: 'notAsked' };
    if (seen.error !== undefined) return { kind: 'unreachable', message: seen.error };
    const status = seen.nodes.get(address);
    if (status !== undefined) return { kind: 'seen', status };
    return seen.asked.has(address) ? { kind: 'absent' } : { kind: 'notAsked' };
  }

  /** A new answer of the bulk status call, or why there is none. */
  setSight(network: Key, seen: Seen): void {
    const old = this.#seen.get(network);
    const failures = seen.error === undefined ? 0 : (this.#failures.get(network) ?? 0) + 1;
    this.#failures.set(network, failures);
    // Unknown is not unhealthy: one lost answer takes no node out of sight.
    if (failures > 0 && failures < FAILURES && old !== undefined && old.error === undefined) return;
    this.#seen.set(network, seen);
    if (old?.error !== seen.error) {
      this.#tell({ network, nodes: undefined });
      return;
    }
    const nodes = new Set<Address>();
    for (const address of seen.asked) {
      if (!old?.asked.has(address) || shape(old.nodes.get(address)) !== shape(seen.nodes.get(address)))
        nodes.add(address);
    }
    if (nodes.size > 0) this.#tell({ network, nodes });
  }

  subscribe(then: (change: ViewChange) => void): () => void {
    this.#subscribers.add(then);
    return () => {
      this.#subscribers.delete(then);
    };
  }

  #tell(change: ViewChange): void {
    for (const then of [...this.#subscribers]) then(change);
  }
}

/** What of a status matters to conditions; ages change with every answer. */
const shape = (status: NodeStatus | undefined): string =>
  status === undefined ? '' : [status.state, ...status.reasons].join(' ');
