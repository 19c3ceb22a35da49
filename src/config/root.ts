import { z } from 'zod';
import { CodedError } from '../lib/errors.ts';
import {
  type Address,
  type Domain,
  domainOf,
  parseStrictJson,
  type ReceiptAuthority,
  type Refusal,
  sha256Hex,
  structDigest,
  zAddress,
  zNetworkName,
  zUint,
} from '../protocol/index.ts';
import { issueText } from './document.ts';
import { type Evidence, type Role, readEvidence, requireThreshold } from './evidence.ts';

/** The answer of `GET /v1/roots/<n>` above this is refused before it is parsed. */
export const MAX_ROOT_BYTES = 65_536;

const zRole = z.object({ threshold: zUint.min(1), keys: z.array(zAddress) });
const zRoot = z.object({
  network: zNetworkName,
  chainId: zUint,
  environment: z.enum(['testnet', 'mainnet']),
  version: zUint.min(1),
  epoch: zUint,
  issuedAt: zUint,
  expiresAt: zUint,
  roles: z.object({ root: zRole, config: zRole, ticket: zRole, online: zRole.optional() }),
});
/** Who may sign what in a network, from one version to the next (docs/protocol.md §7). */
export type RootDocument = z.infer<typeof zRoot>;

const zAnswer = z.object({ document: z.string(), signatures: z.array(z.unknown()) });

/** A root whose chain to the pinned one was checked. */
export interface TrustedRoot {
  readonly document: RootDocument;
  /** `GET /v1/roots/<n>` as received. */
  readonly answer: string;
  readonly version: number;
}

const refuse = (code: Refusal, message: string): never => {
  throw new CodedError<Refusal>(code, message);
};

/** A root that was read but not judged. */
interface ReadRoot extends TrustedRoot {
  readonly evidence: Evidence;
}

/** @throws CodedError<Refusal> `too_large`, `bad_json`, `bad_root` */
const readRoot = (answer: string, what: string): ReadRoot => {
  if (Buffer.byteLength(answer) > MAX_ROOT_BYTES) refuse('too_large', `${what} has more than ${MAX_ROOT_BYTES} bytes`);
  const outer = zAnswer.safeParse(parseStrictJson(answer));
  if (!outer.success) return refuse('bad_root', `${what}: ${issueText(outer.error)}`);
  const document = parseRootDocument(outer.data.document, what);
  const digest = structDigest(domainOfRoot(document), 'Root', {
    network: document.network,
    version: document.version,
    epoch: document.epoch,
    documentHash: sha256Hex(outer.data.document),
  });
  return { document, answer, version: document.version, evidence: readEvidence(digest, outer.data.signatures) };
};

/** The text inside a root's answer. @throws CodedError<Refusal> `bad_json`, `bad_root` */
export const parseRootDocument = (text: string, what: string): RootDocument => {
  const parsed = zRoot.safeParse(parseStrictJson(text));
  if (!parsed.success) return refuse('bad_root', `the document of ${what}: ${issueText(parsed.error)}`);
  for (const [name, role] of Object.entries(parsed.data.roles))
    if (role && role.threshold > new Set(role.keys).size)
      refuse('bad_root', `${what}: role ${name} has a threshold above its number of keys`);
  return parsed.data;
};

const trusted = ({ document, answer, version }: ReadRoot): TrustedRoot => ({ document, answer, version });

/**
 * Reads a root from which trust may start: pinned by a person or kept from an earlier run. Its own signatures must reach
 * its own threshold. @throws CodedError<Refusal>
 */
export const openRoot = (answer: string, what = 'the pinned root'): TrustedRoot => {
  const root = readRoot(answer, what);
  requireThreshold(root.evidence, root.document.roles.root, what);
  return trusted(root);
};

/**
 * One step of the chain: the answer for `previous.version + 1`, signed by the thresholds of both.
 * @throws CodedError<Refusal> `root_gap` for another version, `wrong_network`, `wrong_environment`, `bad_root`, …
 */
export const stepRoot = (previous: TrustedRoot, answer: string): TrustedRoot => {
  const expected = previous.version + 1;
  const what = `root v${expected}`;
  const next = readRoot(answer, what);
  const { document } = next;
  const before = previous.document;
  if (document.network !== before.network || document.chainId !== before.chainId)
    refuse('wrong_network', `${what} is of another network or chain than root v${previous.version}`);
  if (document.environment !== before.environment)
    refuse('wrong_environment', `${what} is of another environment than root v${previous.version}`);
  if (next.version !== expected) refuse('root_gap', `${what} was asked for, v${next.version} was given`);
  requireThreshold(next.evidence, before.roles.root, `${what}, by the keys of root v${previous.version},`);
  requireThreshold(next.evidence, document.roles.root, `${what}, by its own keys,`);
  if (document.epoch < before.epoch)
    refuse('bad_root', `${what} lowers the epoch from ${before.epoch} to ${document.epoch}`);
  return trusted(next);
};

/** The EIP-712 domain of a root's network. */
export const domainOfRoot = (document: RootDocument): Domain => domainOf(document.network, document.chainId);

/** The role that signs net frames and receipts: `online`, or the ticket keys where there is none. */
export const onlineRole = (root: TrustedRoot): Role => root.document.roles.online ?? root.document.roles.ticket;

/** Keys that may sign frames of the network and receipts. */
export const onlineKeys = (root: TrustedRoot): readonly Address[] => onlineRole(root).keys;

/** What a receipt's check needs of verified roots: keys, and the time in which each was in force. */
export const receiptAuthorities = (roots: readonly TrustedRoot[]): readonly ReceiptAuthority[] =>
  roots.map((root) => ({
    rootVersion: root.version,
    keys: onlineKeys(root),
    issuedAt: root.document.issuedAt,
    succeededAt: roots.find((r) => r.version === root.version + 1)?.document.issuedAt,
  }));
