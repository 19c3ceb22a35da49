import type { Domain } from './eip712.ts';
import { structDigest } from './eip712.ts';
import type { JobReceiptStruct, JobResultStruct, ReceiptPair } from './messages.ts';
import { isSignatureForm, recoverAddress } from './signature.ts';
import { type Address, type Hex32, sha256Hex } from './values.ts';

/** EIP-712 digest of a result: what a receipt names as resultHash (§1). */
export const resultHash = (domain: Domain, result: JobResultStruct): Hex32 =>
  `0x${Buffer.from(structDigest(domain, 'JobResult', result)).toString('hex')}`;

/** A root's keys that may sign receipts, and the time in which they may (§7). */
export interface ReceiptAuthority {
  readonly rootVersion: number;
  readonly keys: readonly Address[];
  readonly issuedAt: number;
  /** The successor's issuedAt, or undefined for the newest root. */
  readonly succeededAt?: number | undefined;
}

export interface ReceiptCheck {
  readonly name: 'result' | 'receipt' | 'joined' | 'time' | 'output';
  readonly ok: boolean;
  readonly text: string;
}

const HOUR = 3_600_000;

/**
 * Checks a result and its receipt offline, against the keys of the root that the receipt names. `output` is compared with
 * the signed outputHash when it is given. Every check is reported, in this order, so that a person sees which one failed.
 */
export const verifyReceipt = (
  domain: Domain,
  pair: ReceiptPair,
  authorities: readonly ReceiptAuthority[],
  output?: string,
): readonly ReceiptCheck[] => {
  const { result, receipt } = pair;
  const hash = structDigest(domain, 'JobResult', result);
  const node = recoverAddress(hash, pair.resultSig);
  const authority = authorities.find((a) => a.rootVersion === receipt.rootVersion);
  const receiptSigner = isSignatureForm(pair.sig)
    ? recoverAddress(structDigest(domain, 'JobReceipt', receipt), pair.sig)
    : undefined;
  const known = receiptSigner !== undefined && authority?.keys.includes(receiptSigner) === true;
  const joined = joins(receipt, result, `0x${Buffer.from(hash).toString('hex')}`);
  const inTime =
    authority !== undefined &&
    receipt.receivedAt >= authority.issuedAt &&
    (authority.succeededAt === undefined || receipt.receivedAt <= authority.succeededAt + HOUR);
  const checks: ReceiptCheck[] = [
    {
      name: 'result',
      ok: node === result.node,
      text: node === result.node ? `signed by ${result.node}` : `is not signed by ${result.node}`,
    },
    {
      name: 'receipt',
      ok: known,
      text: known
        ? `${receipt.verdict}, signed by ${receiptSigner} (online key of root v${receipt.rootVersion})`
        : authority
          ? `is not signed by an online key of root v${receipt.rootVersion}`
          : `names root v${receipt.rootVersion}, which is not at hand`,
    },
    { name: 'joined', ok: joined, text: joined ? 'receipt names this result' : 'receipt names another result' },
    {
      name: 'time',
      ok: inTime,
      text: inTime ? 'received while the root was in force' : 'received out of its root’s time',
    },
  ];
  if (output !== undefined) {
    const same = sha256Hex(output) === result.outputHash;
    checks.push({
      name: 'output',
      ok: same,
      text: same ? `${result.outputHash} matches` : 'differs from what was signed',
    });
  }
  return checks;
};

const joins = (receipt: JobReceiptStruct, result: JobResultStruct, hash: Hex32): boolean =>
  receipt.resultHash === hash &&
  receipt.jobId === result.jobId &&
  receipt.attempt === result.attempt &&
  receipt.node === result.node;
