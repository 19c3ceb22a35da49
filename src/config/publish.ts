import { z } from 'zod';
import { CodedError } from '../lib/errors.ts';
import {
  canonicalJson,
  type Domain,
  parseStrictJson,
  type Refusal,
  type Sha256,
  type Signer,
  type SnapshotStruct,
  sha256Hex,
  signStruct,
  structDigest,
  type TicketStruct,
  ZERO_32,
} from '../protocol/index.ts';
import { parseSnapshotDocument } from './document.ts';
import { readEvidence, type SignatureEntry } from './evidence.ts';
import type { FailedModel } from './model-entry.ts';
import { domainOfRoot, openRoot, parseRootDocument, type RootDocument, type TrustedRoot } from './root.ts';
import { memorySource } from './source.ts';
import { MemoryStateStore } from './store.ts';
import { type UpdateOutcome, updateConfig } from './update.ts';
import { MAX_TICKET_MS } from './verify.ts';

/** The signing side of docs/protocol.md §7, without disks or clocks: what resultity-network and tests make. */

/** An unsigned root in the form of `GET /v1/roots/<n>`. @throws CodedError<Refusal> `bad_root` */
export const makeRoot = (document: RootDocument): string => {
  const text = canonicalJson(document);
  parseRootDocument(text, 'the new root');
  return JSON.stringify({ document: text, signatures: [] });
};

const zAnswer = z.object({ document: z.string(), signatures: z.array(z.unknown()) });

/** Adds one signature, in place of an earlier one by the same key. Keys sign one after another, in any order. */
export const signRoot = (answer: string, signer: Signer): string => {
  const { document: text, signatures } = zAnswer.parse(parseStrictJson(answer));
  const document = parseRootDocument(text, 'the root');
  const sig = signStruct(signer, domainOfRoot(document), 'Root', {
    network: document.network,
    version: document.version,
    epoch: document.epoch,
    documentHash: sha256Hex(text),
  });
  return JSON.stringify({ document: text, signatures: withEntry(signatures, { signer: signer.address, sig }) });
};

const withEntry = (entries: readonly unknown[], entry: SignatureEntry): unknown[] => [
  ...entries.filter((e) => (e as Partial<SignatureEntry> | null)?.signer !== entry.signer),
  entry,
];

export interface MadeSnapshot {
  /** What is served and hashed: RFC 8785 of the document. */
  readonly bytes: Uint8Array;
  /** What the config keys sign. */
  readonly snapshot: SnapshotStruct;
  /** Models that every verifier will show as Failed; a publisher should stop here. */
  readonly failedModels: readonly FailedModel[];
}

/**
 * Snapshot bytes and the struct to sign. Network, epoch and version are the document's.
 * @throws CodedError<Refusal> `bad_schema`, `too_large`, … for a document that no verifier would accept
 */
export const makeSnapshot = (
  document: unknown,
  terms: {
    readonly issuedAt: number;
    readonly expiresAt: number;
    readonly rootVersion: number;
    readonly rollbackOf?: Sha256 | null;
  },
): MadeSnapshot => {
  const bytes = Buffer.from(canonicalJson(document), 'utf8');
  const { network, epoch, version, failedModels } = parseSnapshotDocument(bytes);
  return {
    bytes,
    failedModels,
    snapshot: {
      network,
      epoch,
      version,
      digest: sha256Hex(bytes),
      size: bytes.length,
      issuedAt: terms.issuedAt,
      expiresAt: terms.expiresAt,
      rootVersion: terms.rootVersion,
      rollbackOf: terms.rollbackOf ?? null,
    },
  };
};

const snapshotMessage = (s: SnapshotStruct) => ({ ...s, rollbackOf: s.rollbackOf ?? ZERO_32 });

/** One config key's signature over a snapshot. */
export const signSnapshot = (domain: Domain, snapshot: SnapshotStruct, signer: Signer): SignatureEntry => ({
  signer: signer.address,
  sig: signStruct(signer, domain, 'ConfigSnapshot', snapshotMessage(snapshot)),
});

/** The ticket that says that a snapshot is still the current one. @param lifetimeMs at most 1 h, the default */
export const makeTicket = (snapshot: SnapshotStruct, issuedAt: number, lifetimeMs = MAX_TICKET_MS): TicketStruct => {
  const { network, epoch, version, digest } = snapshot;
  return { network, epoch, version, digest, issuedAt, expiresAt: issuedAt + Math.min(lifetimeMs, MAX_TICKET_MS) };
};

/** One ticket key's signature over a ticket. */
export const signTicket = (domain: Domain, ticket: TicketStruct, signer: Signer): SignatureEntry => ({
  signer: signer.address,
  sig: signStruct(signer, domain, 'ConfigTicket', ticket),
});

/** The text of `GET /v1/config`. */
export const configAnswer = (parts: {
  readonly snapshot: SnapshotStruct;
  readonly snapshotSignatures: readonly SignatureEntry[];
  readonly ticket: TicketStruct;
  readonly ticketSignatures: readonly SignatureEntry[];
}): string => JSON.stringify(parts);

/** Which of the role's keys have signed a root or a snapshot so far: for signing one after another. */
export const signersOf = (
  what:
    | { readonly root: string }
    | { readonly snapshot: SnapshotStruct; readonly domain: Domain; readonly entries: readonly unknown[] },
): readonly string[] => {
  if ('snapshot' in what)
    return [
      ...readEvidence(structDigest(what.domain, 'ConfigSnapshot', snapshotMessage(what.snapshot)), what.entries)
        .signers,
    ];
  const { document: text, signatures } = zAnswer.parse(parseStrictJson(what.root));
  const d = parseRootDocument(text, 'the root');
  const { network, version, epoch } = d;
  const digest = structDigest(domainOfRoot(d), 'Root', { network, version, epoch, documentHash: sha256Hex(text) });
  return [...readEvidence(digest, signatures).signers];
};

/**
 * What a fresh node that pins the first root would make of a publication: the same checks, with nothing kept.
 * `floor` is the last published place, so that a publisher cannot go back by mistake.
 */
export const verifyPublication = async (publication: {
  /** Answers of `GET /v1/roots/<n>` from the pinned one to the newest. */
  readonly roots: readonly string[];
  readonly answer: string | Uint8Array;
  readonly bytes: Uint8Array;
  readonly now: number;
  readonly floor?: { readonly epoch: number; readonly version: number } | undefined;
}): Promise<UpdateOutcome> => {
  const [pinnedRoot, ...later] = publication.roots;
  if (pinnedRoot === undefined) throw new CodedError<Refusal>('bad_root', 'a publication needs its root');
  const first: TrustedRoot = openRoot(pinnedRoot);
  return updateConfig({
    pinnedRoot,
    store: new MemoryStateStore(),
    source: memorySource({
      config: publication.answer,
      snapshots: new Map([[sha256Hex(publication.bytes), publication.bytes]]),
      roots: new Map(later.map((text, i) => [first.version + 1 + i, text])),
    }),
    now: publication.now,
    minimumFloor: publication.floor,
  });
};
