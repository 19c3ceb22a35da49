import type { Clock } from '../lib/clock.ts';
import type { Counter } from '../lib/metrics.ts';
import {
  type Address,
  type Domain,
  type Hex32,
  type JobReceiptMessage,
  type JobReceiptStruct,
  type JobResultMessage,
  recoverAddress,
  type Signer,
  sha256Hex,
  signStruct,
  structDigest,
  type Verdict,
} from '../protocol/index.ts';
import type { Job } from './job.ts';
import type { AttemptRow, NodeRow, Store, Tokens } from './store.ts';
import { countOutput } from './tokens.ts';
import { forgotten, type JobView, judge } from './verdict.ts';

export interface LedgerPorts {
  readonly store: Store;
  readonly clock: Clock;
  readonly domain: Domain;
  readonly signer: Signer;
  /** Version of the root that receipts name. */
  readonly rootVersion: () => number;
  readonly nodeOf: (node: Address) => NodeRow | undefined;
  readonly receipts: Counter<'verdict'>;
}

/** The answer to a result: the receipt, durable when the store says so, and whether this is the one that settles the job. */
export interface Settled {
  readonly receipt: JobReceiptMessage;
  readonly verdict: Verdict;
  readonly isNew: boolean;
  /** Completion tokens as billed. */
  readonly tokens: number;
}

/**
 * Judges results and writes them down; who tells anybody waits for `store.durable` first (docs/protocol.md §5). At most one `accepted` per job: by the
 * rule, and by a unique index below it.
 */
export class Ledger {
  readonly #ports: LedgerPorts;
  constructor(ports: LedgerPorts) {
    this.#ports = ports;
  }

  /** @returns undefined when the result is not signed by `node` */
  settle(node: Address, message: JobResultMessage, job: Job | undefined): Settled | undefined {
    const { store, clock, domain } = this.#ports;
    const { result, output } = message;
    if (result.node !== node) return undefined;
    const digest = structDigest(domain, 'JobResult', result);
    if (recoverAddress(digest, message.sig) !== node) return undefined;
    // what resultHash is: the digest again would be the dearest step of a result
    const hash: Hex32 = `0x${Buffer.from(digest).toString('hex')}`;
    const before = store.receiptOf(hash);
    const offer = store.attempt(result.jobId, result.attempt);
    const view = job ? viewOf(job) : forgotten(store.passedOn(result.jobId));
    const judgement = judge({
      receipted: before !== undefined,
      attempt: result.attempt,
      latestAttempt: store.latestAttempt(result.jobId),
      acceptedElsewhere: store.isAccepted(result.jobId),
      matches: offer !== undefined && fits(message, offer) && (job?.lines.isPrefixOf(output) ?? true),
      job: view,
    });
    if (judgement.kind === 'repeat')
      return {
        receipt: before as JobReceiptMessage,
        verdict: (before as JobReceiptMessage).receipt.verdict,
        isNew: false,
        tokens: 0,
      };
    const receipt = this.#sign({
      jobId: result.jobId,
      attempt: result.attempt,
      node,
      resultHash: hash,
      verdict: judgement.verdict,
      rootVersion: this.#ports.rootVersion(),
      receivedAt: clock.now(),
    });
    const row = this.#ports.nodeOf(node);
    const tokens = tokensOf(message, offer, judgement.billing, view.kind === 'cancelled' ? view.passedOn : 0);
    store.saveReceipt({
      resultHash: hash,
      result,
      resultSig: message.sig,
      receipt,
      keyId: offer?.keyId ?? null,
      owner: row ? { ...row.owner, proved: row.proved } : null,
      tokens,
    });
    this.#ports.receipts.inc({ verdict: judgement.verdict });
    return { receipt, verdict: judgement.verdict, isNew: true, tokens: tokens.completionBilled };
  }

  #sign(receipt: JobReceiptStruct): JobReceiptMessage {
    const { signer, domain } = this.#ports;
    return { receipt, sig: signStruct(signer, domain, 'JobReceipt', receipt), signer: signer.address };
  }
}

/** Every signed field is what was offered, and the output is what was hashed. */
const fits = ({ result, output }: JobResultMessage, offer: AttemptRow): boolean =>
  result.node === offer.node &&
  result.model === offer.model &&
  result.modelDigest === offer.modelDigest &&
  result.configDigest === offer.configDigest &&
  result.requestHash === offer.requestHash &&
  result.outputHash === sha256Hex(output) &&
  (offer.kind !== 'embeddings' || result.completionTokens === 0);

const viewOf = (job: Job): JobView => {
  if (!job.ending) return { kind: 'wanted' };
  return job.ending.kind === 'cancelled'
    ? { kind: 'cancelled', reason: job.ending.reason, passedOn: job.passedOn }
    : { kind: 'ended' };
};

/** The smaller of what is claimed and what is counted, with how it was counted (docs/network-service.md, billing). */
const tokensOf = (
  { result, output }: JobResultMessage,
  offer: AttemptRow | undefined,
  billing: 'full' | 'passedOn' | 'none',
  passedOn: number,
): Tokens => {
  const { promptTokens: promptClaimed, completionTokens: completionClaimed } = result;
  const claimed = { promptClaimed, completionClaimed };
  // what was never offered has no kind to count by, and is not billed
  if (!offer)
    return { ...claimed, completionCounted: null, method: 'claimed' as const, promptBilled: 0, completionBilled: 0 };
  const read = countOutput(offer.kind, offer.stream, output);
  const counted = billing === 'passedOn' ? Math.min(passedOn, read.completion) : read.completion;
  return {
    ...claimed,
    completionCounted: counted,
    method: billing === 'passedOn' ? 'lines' : 'output',
    promptBilled: billing === 'none' ? 0 : Math.min(promptClaimed, read.prompt ?? promptClaimed),
    completionBilled: billing === 'none' ? 0 : Math.min(completionClaimed, counted),
  };
};
