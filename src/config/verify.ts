import { CodedError } from '../lib/errors.ts';
import {
  type Address,
  type ConfigAnswer,
  parseStrictJson,
  type Refusal,
  type SnapshotStruct,
  sha256Hex,
  structDigest,
  type TicketStruct,
  ZERO_32,
  zConfigAnswer,
} from '../protocol/index.ts';
import { issueText, MAX_SNAPSHOT_BYTES, readSnapshotDocument, type SnapshotDocument } from './document.ts';
import { readEvidence, requireThreshold } from './evidence.ts';
import { compareVersions, type Floor } from './floor.ts';
import type { JudgeOptions } from './model-rules.ts';
import { domainOfRoot, type TrustedRoot } from './root.ts';
import { MAX_CONFIG_ANSWER_BYTES } from './source.ts';

/** A ticket is good this long before its start and after its end, for clocks that differ. */
export const TICKET_TOLERANCE_MS = 60_000;
export const MAX_TICKET_MS = 3_600_000;

const refuse = (code: Refusal, message: string): never => {
  throw new CodedError<Refusal>(code, message);
};

/** The form of `GET /v1/config`. @throws CodedError<Refusal> `too_large`, `bad_json`, `bad_schema` */
export const readConfigAnswer = (bytes: Uint8Array): ConfigAnswer => {
  if (bytes.length > MAX_CONFIG_ANSWER_BYTES)
    refuse('too_large', `the answer of /v1/config has more than ${MAX_CONFIG_ANSWER_BYTES} bytes`);
  const parsed = zConfigAnswer.safeParse(parseStrictJson(bytes));
  if (!parsed.success) return refuse('bad_schema', `the answer of /v1/config: ${issueText(parsed.error)}`);
  return parsed.data;
};

/**
 * Both signatures under one root, and that both speak of the same snapshot of this network.
 * @returns the config keys that signed
 * @throws CodedError<Refusal> `threshold_not_met`, `bad_signature`, `ticket_mismatch`, `wrong_network`
 */
export const checkSignatures = (answer: ConfigAnswer, root: TrustedRoot): readonly Address[] => {
  const { snapshot, ticket } = answer;
  const domain = domainOfRoot(root.document);
  const { config, ticket: ticketRole } = root.document.roles;
  const hashed = { ...snapshot, rollbackOf: snapshot.rollbackOf ?? ZERO_32 };
  const signers = requireThreshold(
    readEvidence(structDigest(domain, 'ConfigSnapshot', hashed), answer.snapshotSignatures),
    config,
    'the snapshot',
  );
  requireThreshold(
    readEvidence(structDigest(domain, 'ConfigTicket', ticket), answer.ticketSignatures),
    ticketRole,
    'the ticket',
  );
  for (const field of ['network', 'epoch', 'version', 'digest'] as const)
    if (ticket[field] !== snapshot[field]) refuse('ticket_mismatch', `ticket and snapshot name another ${field}`);
  if (snapshot.network !== root.document.network)
    refuse('wrong_network', `the snapshot is of network ${snapshot.network}, the root of ${root.document.network}`);
  return signers;
};

/** True when the ticket is good at `at` (server time once it is known). */
export const isFresh = (ticket: TicketStruct, at: number): boolean =>
  ticket.issuedAt <= ticket.expiresAt &&
  ticket.expiresAt - ticket.issuedAt <= MAX_TICKET_MS &&
  ticket.issuedAt <= at + TICKET_TOLERANCE_MS &&
  at < ticket.expiresAt + TICKET_TOLERANCE_MS;

/** When an update is judged: its own start time, and the server's where a welcome gave it. */
export interface Times {
  readonly now: number;
  readonly serverNow?: number | undefined;
}

/** @throws CodedError<Refusal> `config_stale`, `root_expired`, `snapshot_expired` */
export const checkTimes = ({ snapshot, ticket }: ConfigAnswer, root: TrustedRoot, { now, serverNow }: Times): void => {
  if (!isFresh(ticket, serverNow ?? now))
    refuse(
      'config_stale',
      `the ticket is not fresh: it holds from ${iso(ticket.issuedAt)} to ${iso(ticket.expiresAt)}`,
    );
  const latest = Math.max(now, serverNow ?? now);
  if (root.document.expiresAt <= latest)
    refuse('root_expired', `root v${root.version}, the newest, expired at ${iso(root.document.expiresAt)}`);
  if (snapshot.expiresAt <= latest) refuse('snapshot_expired', `the snapshot expired at ${iso(snapshot.expiresAt)}`);
};

const iso = (ms: number): string => {
  const date = new Date(ms);
  return Number.isNaN(date.getTime()) ? String(ms) : date.toISOString();
};

/**
 * Epoch, root version and floor. `minimum` is a floor without a digest that somebody else vouches for (the operator, the
 * network's status): what equals it is accepted.
 * @throws CodedError<Refusal> `wrong_epoch`, `root_withheld`, `rollback`, `same_version_other_digest`
 */
export const checkOrder = (
  snapshot: SnapshotStruct,
  root: TrustedRoot,
  floor: Floor,
  minimum?: { readonly epoch: number; readonly version: number },
): void => {
  const at = `epoch ${snapshot.epoch} version ${snapshot.version}`;
  if (snapshot.epoch !== root.document.epoch)
    refuse(
      'wrong_epoch',
      `the snapshot is of epoch ${snapshot.epoch}, root v${root.version} of ${root.document.epoch}`,
    );
  if (snapshot.rootVersion > root.version)
    refuse(
      'root_withheld',
      `the snapshot names root v${snapshot.rootVersion}, the newest that is served is v${root.version}`,
    );
  const order = compareVersions(snapshot, floor);
  if (order < 0) refuse('rollback', `${at} is below the floor, epoch ${floor.epoch} version ${floor.version}`);
  if (order === 0 && floor.digest !== snapshot.digest)
    refuse(
      'same_version_other_digest',
      floor.digest === null
        ? `${at} equals a floor that only accepts what is above it`
        : `${at} was accepted before as ${floor.digest}, now it is ${snapshot.digest}`,
    );
  if (minimum && compareVersions(snapshot, minimum) < 0)
    refuse(
      'rollback',
      `${at} is below epoch ${minimum.epoch} version ${minimum.version}, which was already seen elsewhere`,
    );
};

/** Caps the signed size before anything is fetched. @throws CodedError<Refusal> `too_large` */
export const checkSize = (snapshot: SnapshotStruct): void => {
  if (snapshot.size > MAX_SNAPSHOT_BYTES)
    refuse('too_large', `the snapshot has ${snapshot.size} bytes, at most ${MAX_SNAPSHOT_BYTES} are allowed`);
};

/**
 * Bytes and document against what was signed.
 * @throws CodedError<Refusal> `too_large`, `digest_mismatch`, `bad_json`, `not_canonical`, `bad_schema`,
 *   `document_mismatch`, `wrong_environment`
 */
export const checkDocument = async (
  bytes: Uint8Array,
  snapshot: SnapshotStruct,
  root: TrustedRoot,
  options: JudgeOptions = {},
): Promise<SnapshotDocument> => {
  if (bytes.length > MAX_SNAPSHOT_BYTES) refuse('too_large', `the snapshot has more than ${MAX_SNAPSHOT_BYTES} bytes`);
  if (bytes.length !== snapshot.size)
    refuse('digest_mismatch', `the snapshot has ${bytes.length} bytes, ${snapshot.size} were signed`);
  const digest = sha256Hex(bytes);
  if (digest !== snapshot.digest)
    refuse('digest_mismatch', `the snapshot's bytes are ${digest}, not ${snapshot.digest}`);
  const document = await readSnapshotDocument(bytes, options);
  for (const field of ['network', 'epoch', 'version'] as const)
    if (document[field] !== snapshot[field])
      refuse('document_mismatch', `the document names another ${field} than its signatures`);
  if (document.environment !== root.document.environment)
    refuse(
      'wrong_environment',
      `the document is for ${document.environment}, the root for ${root.document.environment}`,
    );
  return document;
};
