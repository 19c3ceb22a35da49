import type { Address, CancelReason, Kind, Sha256 } from '../protocol/index.ts';
import type { JobFailure } from './errors.ts';

/** A node as the dispatcher sees it: what its session, heartbeats and orders come to. */
export interface DispatchNode {
  readonly node: Address;
  /** True while it may get offers: active, in rotation, not paused, not too far behind. */
  readonly offers: boolean;
  readonly slots: number;
  /** slots + queue of the last hello or heartbeat: offers not yet ended never exceed it. */
  readonly capacity: number;
  /** Models that are active and loaded, with the digest that was verified. */
  readonly models: ReadonlyMap<string, Sha256>;
  readonly subclouds: readonly string[];
  /** In a subcloud that takes it out of the global pool. */
  readonly isolated: boolean;
}

/** A caller's wish. Times are monotonic milliseconds. */
export interface DispatchJob {
  readonly jobId: string;
  readonly kind: Kind;
  readonly model: string;
  readonly modelDigest: Sha256;
  readonly subcloud?: string;
  /** 0 … 9, higher first. */
  readonly priority: number;
  readonly deadline: number;
}

/** What the shell must do next, in this order. */
export type DispatchAction =
  | { readonly do: 'offer'; readonly node: Address; readonly jobId: string; readonly attempt: number }
  | {
      readonly do: 'cancel';
      readonly node: Address;
      readonly jobId: string;
      readonly attempt: number;
      readonly reason: CancelReason;
    }
  | { readonly do: 'fail'; readonly jobId: string; readonly failure: JobFailure };

export type JobPhase =
  | { readonly kind: 'queued'; readonly since: number }
  | { readonly kind: 'offered'; readonly node: Address; readonly until: number }
  | { readonly kind: 'running'; readonly node: Address; readonly lease: number };

export interface TrackedJob {
  readonly job: DispatchJob;
  readonly arrived: number;
  phase: JobPhase;
  /** Fencing token of the last offer; 0 before the first. */
  attempt: number;
  /** When the last offer was made. */
  offeredAt: number;
  losses: number;
  /** The caller has seen a part of the answer: no other node may start over. */
  seen: boolean;
  /** Nodes that turned this job down, and until when they are passed over. */
  readonly avoid: Map<Address, number>;
}

/** How patient the dispatcher is. */
export interface DispatchLimits {
  /** Jobs that wait for a node, and how long one waits while nodes are busy or while there is none. */
  readonly queue: number;
  readonly queueMs: number;
  readonly noNodeMs: number;
  /** Lost attempts, and offers in all, before a caller is told. */
  readonly attempts: number;
  readonly offers: number;
  readonly offerMs: number;
  readonly leaseMs: number;
  readonly downGraceMs: number;
}
