import { z } from 'zod';
import {
  type Address,
  type Domain,
  type ReceiptAuthority,
  resultHash,
  VERDICTS,
  type Verdict,
  verifyReceipt,
  zJobReceipt,
  zJobResultStruct,
  zSignatureText,
  zUint,
} from '../protocol/index.ts';
import type { LedgerFile, RawReceipt } from './ledger-file.ts';

const zEntry = z.object({
  resultHash: z.string(),
  result: zJobResultStruct,
  resultSig: zSignatureText,
  receipt: zJobReceipt,
  tokens: z.object({
    promptClaimed: zUint,
    completionClaimed: zUint,
    completionCounted: zUint.nullable(),
    promptBilled: zUint,
    completionBilled: zUint,
  }),
});
type Entry = z.infer<typeof zEntry>;

/** What an offer must agree with; it is not signed, but a result signs all of it. */
const zOffer = z.object({
  node: z.string(),
  model: z.string(),
  modelDigest: z.string(),
  configDigest: z.string(),
  requestHash: z.string(),
});

/** One thing that is wrong with one entry, `entry` counted from 1 in the order of writing. */
export interface LedgerFault {
  readonly entry: number;
  readonly jobId: string;
  readonly text: string;
}

export interface LedgerReport {
  readonly entries: number;
  readonly jobs: number;
  readonly nodes: number;
  readonly verdicts: Readonly<Record<Verdict, number>>;
  readonly claimed: number;
  readonly billed: number;
  /** Entries with at least one fault. */
  readonly wrong: number;
  /** The first ones, in order. */
  readonly faults: readonly LedgerFault[];
}

const FAULTS_KEPT = 100;

/**
 * Checks a whole ledger against the network's roots: every signature of result and receipt, that each receipt is joined to
 * its result and was given while its root was in force, at most one `accepted` a job, and that no more is billed than was
 * claimed and counted. What is not there any more cannot be seen from what is left: a removed entry is found only by the
 * node or the caller who holds its receipt.
 */
export const checkLedger = (
  file: LedgerFile,
  domain: Domain,
  authorities: readonly ReceiptAuthority[],
): LedgerReport => {
  const verdicts = Object.fromEntries(VERDICTS.map((v) => [v, 0])) as Record<Verdict, number>;
  const jobs = new Set<string>();
  const nodes = new Set<Address>();
  const accepted = new Map<string, number>();
  const seen = new Set<string>();
  const faults: LedgerFault[] = [];
  let [entries, claimed, billed, wrong] = [0, 0, 0, 0];
  for (const raw of file.receipts()) {
    entries++;
    const found: string[] = [];
    const entry = readEntry(raw);
    if (!entry) found.push('the entry is no ledger entry');
    else {
      const { result, tokens } = entry;
      const { jobId, verdict } = entry.receipt.receipt;
      found.push(...judgeEntry(raw, entry, file, domain, authorities));
      if (seen.has(raw.hash)) found.push('the same result stands here twice');
      seen.add(raw.hash);
      if (verdict === 'accepted') {
        const before = accepted.get(jobId);
        if (before !== undefined) found.push(`a second accepted result of this job; entry ${before} is the first`);
        else accepted.set(jobId, entries);
      }
      jobs.add(jobId);
      nodes.add(result.node);
      verdicts[verdict]++;
      claimed += tokens.promptClaimed + tokens.completionClaimed;
      billed += tokens.promptBilled + tokens.completionBilled;
    }
    if (found.length > 0) wrong++;
    for (const text of found) if (faults.length < FAULTS_KEPT) faults.push({ entry: entries, jobId: raw.job, text });
  }
  return { entries, jobs: jobs.size, nodes: nodes.size, verdicts, claimed, billed, wrong, faults };
};

const readEntry = ({ row }: RawReceipt): Entry | undefined => {
  try {
    return zEntry.safeParse(JSON.parse(row)).data;
  } catch {
    return undefined;
  }
};

const judgeEntry = (
  raw: RawReceipt,
  entry: Entry,
  file: LedgerFile,
  domain: Domain,
  authorities: readonly ReceiptAuthority[],
): string[] => {
  const { result, resultSig, receipt, tokens } = entry;
  const faults = verifyReceipt(domain, { result, resultSig, ...receipt }, authorities)
    .filter((check) => !check.ok)
    .map((check) => `${check.name}: ${check.text}`);
  const hash = resultHash(domain, result);
  if (raw.hash !== hash || entry.resultHash !== hash) faults.push('it is filed under another result hash');
  if (raw.job !== receipt.receipt.jobId || raw.verdict !== receipt.receipt.verdict)
    faults.push('its columns differ from what is signed');
  const { verdict } = receipt.receipt;
  if (tokens.promptClaimed !== result.promptTokens || tokens.completionClaimed !== result.completionTokens)
    faults.push('the claimed tokens differ from the signed ones');
  if (verdict !== 'accepted' && tokens.promptBilled + tokens.completionBilled > 0)
    faults.push(`a ${verdict} result is billed`);
  const cap = Math.min(result.completionTokens, tokens.completionCounted ?? result.completionTokens);
  if (tokens.promptBilled > result.promptTokens || tokens.completionBilled > cap)
    faults.push('more tokens are billed than were claimed and counted');
  if (verdict === 'accepted' && !answersOffer(entry, file.attempt(result.jobId, result.attempt)))
    faults.push('accepted without an offer that it answers');
  return faults;
};

const answersOffer = ({ result }: Entry, text: string | undefined): boolean => {
  if (text === undefined) return false;
  try {
    const offer = zOffer.safeParse(JSON.parse(text)).data;
    return (
      offer !== undefined &&
      offer.node === result.node &&
      offer.model === result.model &&
      offer.modelDigest === result.modelDigest &&
      offer.configDigest === result.configDigest &&
      offer.requestHash === result.requestHash
    );
  } catch {
    return false;
  }
};
