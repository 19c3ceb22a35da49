import type {
  Address,
  JobReceiptMessage,
  JobResultStruct,
  Kind,
  ReceiptPair,
  Sha256,
  Signature,
} from '../protocol/index.ts';

export type Admission = 'pending' | 'admitted' | 'revoked';
/** What the network's operator ordered; holds over restarts until `resume`. */
export type Order = 'none' | 'paused' | 'draining';

/** What is kept of a node. */
export interface NodeRow {
  readonly node: Address;
  readonly owner: { readonly kind: 'wallet' | 'email'; readonly id: string };
  /** A proved owner stays proved. */
  readonly proved: boolean;
  readonly admission: Admission;
  readonly order: Order;
  /** It was active once: from then on it is in or out of rotation. */
  readonly everActive: boolean;
  /** The highest seen. */
  readonly incarnation: number;
  /** The highest configuration that the node said it holds. */
  readonly floor: { readonly epoch: number; readonly version: number };
  readonly registeredAt: number;
  readonly metadata: {
    readonly agent: string;
    readonly runtime: string;
    readonly labels: Readonly<Record<string, string>>;
  };
}

/** One offer that went out: what its result is compared with, also after a restart. */
export interface AttemptRow {
  readonly jobId: string;
  readonly attempt: number;
  readonly node: Address;
  readonly keyId: string;
  readonly kind: Kind;
  readonly stream: boolean;
  readonly model: string;
  readonly modelDigest: Sha256;
  readonly configDigest: Sha256;
  readonly requestHash: Sha256;
  readonly offeredAt: number;
  readonly deadline: number;
}

/**
 * How the completion tokens were counted: not at all; from the output (the engine's usage in it, and what its text can
 * hold); by the lines that a caller who left was given.
 */
export type CountMethod = 'claimed' | 'output' | 'lines';

export interface Tokens {
  readonly promptClaimed: number;
  readonly completionClaimed: number;
  /** The network's own count, null where it could not count. */
  readonly completionCounted: number | null;
  readonly method: CountMethod;
  readonly promptBilled: number;
  readonly completionBilled: number;
}

/** A result, the receipt that answers it, and what it is worth. */
export interface LedgerEntry {
  readonly resultHash: string;
  readonly result: JobResultStruct;
  readonly resultSig: Signature;
  readonly receipt: JobReceiptMessage;
  readonly keyId: string | null;
  /** As known when the result came; an unproved owner is never paid. */
  readonly owner: { readonly kind: 'wallet' | 'email'; readonly id: string; readonly proved: boolean } | null;
  readonly tokens: Tokens;
}

/**
 * What the service must not forget. Synchronous, one writer: what is written is read back at once, and what a call returned
 * from is durable, but for `saveReceipt` (then `durable` tells), `saveNodeSoon`, `noteAttempt` and `notePassedOn` (no promises).
 */
export interface Store {
  nodes(): NodeRow[];
  saveNode(row: NodeRow): void;
  /** As `saveNode`, durable with the next group of writes: for what is no promise. */
  saveNodeSoon(row: NodeRow): void;
  /** True when this nonce of this owner was not used before; it is now. */
  useBind(owner: string, nonce: string): boolean;

  noteAttempt(row: AttemptRow): void;
  attempt(jobId: string, attempt: number): AttemptRow | undefined;
  latestAttempt(jobId: string): number | undefined;
  /** Lines of its answer that a job's caller was given, or 0 once they are not to be billed; replaces what was noted before. */
  notePassedOn(jobId: string, lines: number): void;
  passedOn(jobId: string): number;

  receiptOf(resultHash: string): JobReceiptMessage | undefined;
  isAccepted(jobId: string): boolean;
  /** @throws when a second `accepted` of one job would come to stand */
  saveReceipt(entry: LedgerEntry): void;
  /** Resolves when every receipt saved so far is durable; rejects when they are not kept. */
  durable(): Promise<void>;
  /** Undefined when the job is unknown or was asked for with another key. */
  receipts(jobId: string, keyId: string): readonly ReceiptPair[] | undefined;
  ledger(): Iterable<LedgerEntry>;

  /** Last record of a node's execution record, n = 0 before the first. */
  logEnd(node: Address): { readonly n: number; readonly hash: string };
  logLine(node: Address, n: number): string | undefined;
  appendLog(node: Address, from: number, lines: readonly string[], hash: string): void;
  close(): void;
}
