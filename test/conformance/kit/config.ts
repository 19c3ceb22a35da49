import { digestOf, FORMS, hash32, isInteger, isObject, type Json, list, object } from './bytes.ts';
import { canonical, parseJson } from './json.ts';
import { type Domain, type Key, signerOf } from './sign.ts';

/** A root whose own form was read; who signed it is judged by checkRoot. */
export interface Root extends Domain {
  readonly environment: string;
  readonly version: number;
  readonly epoch: number;
  readonly expiresAt: number;
  readonly roles: Json;
  readonly documentHash: string;
  readonly signatures: unknown[];
}
interface Role {
  readonly threshold: number;
  readonly keys: readonly string[];
}

/** Model digest = sha256(RFC 8785 of the files sorted by the UTF-8 bytes of path). */
export const modelDigestOf = (files: readonly { path: string; sha256: string; size: number }[]): string => {
  const sorted = [...files].sort((a, b) => Buffer.compare(Buffer.from(a.path), Buffer.from(b.path)));
  return digestOf(canonical(sorted.map(({ path, sha256, size }) => ({ path, sha256, size }))));
};

/** Reads the answer of `GET /v1/roots/<n>`. */
export const readRoot = (answer: string): Root => {
  const { document, signatures } = object(parseJson(answer));
  if (typeof document !== 'string') throw new Error('a root without document');
  const root = object(parseJson(document));
  for (const field of ['chainId', 'version', 'epoch', 'issuedAt', 'expiresAt'])
    if (!isInteger(root[field])) throw new Error(`root.${field} is no integer`);
  if (typeof root.network !== 'string' || !/^[a-z0-9][a-z0-9.-]{0,62}$/.test(root.network))
    throw new Error('root.network has another form');
  return { ...(root as unknown as Root), documentHash: hash32(document), signatures: list(signatures) };
};

export const roleOf = (root: Root, name: string): Role => object(root.roles[name]) as unknown as Role;
/** The keys that sign frames and receipts: those of `online`, by default those of `ticket`. */
export const onlineKeys = (root: Root): readonly string[] =>
  roleOf(root, isObject(root.roles.online) ? 'online' : 'ticket').keys;

/** How many distinct keys of the role signed; malformed and foreign entries do not count. */
const countSigners = (domain: Domain, role: Role, struct: string, message: Json, signatures: unknown[]): number => {
  const counted = new Set<string>();
  for (const entry of signatures.slice(0, 32).map(object)) {
    const signer = signerOf(domain, struct, message, entry.sig);
    if (signer !== undefined && signer === entry.signer && role.keys.includes(signer)) counted.add(signer);
  }
  return counted.size;
};
const demand = (holds: boolean, what: string): void => {
  if (!holds) throw new Error(what);
};

/** Throws unless `root` follows from `before`, or from itself when it is the pinned one. */
export const checkRoot = (root: Root, before?: Root): void => {
  const message = { ...root } as unknown as Json;
  for (const by of before ? [before, root] : [root]) {
    const role = roleOf(by, 'root');
    demand(countSigners(root, role, 'Root', message, root.signatures) >= role.threshold, 'root: threshold not met');
  }
  if (!before) return;
  demand(root.version === before.version + 1, 'root: version is not the next');
  demand(root.epoch >= before.epoch, 'root: epoch fell');
  demand(
    root.network === before.network && root.chainId === before.chainId && root.environment === before.environment,
    'root: network, chainId or environment changed',
  );
};

/** Throws with what is wrong with the answer of `GET /v1/config`; returns the snapshot's fields. */
export const checkPublication = (root: Root, answer: Json, now: number): Json => {
  const [snapshot, ticket] = [object(answer.snapshot), object(answer.ticket)];
  const [config, tickets] = [roleOf(root, 'config'), roleOf(root, 'ticket')];
  const signed = (role: Role, struct: string, message: Json, signatures: unknown): boolean =>
    countSigners(root, role, struct, message, list(signatures)) >= role.threshold;
  demand(signed(config, 'ConfigSnapshot', snapshot, answer.snapshotSignatures), 'snapshot: threshold not met');
  demand(signed(tickets, 'ConfigTicket', ticket, answer.ticketSignatures), 'ticket: threshold not met');
  for (const field of ['network', 'epoch', 'version', 'digest'])
    demand(snapshot[field] === ticket[field], `ticket and snapshot differ in ${field}`);
  demand(snapshot.network === root.network, 'snapshot of another network');
  demand(FORMS.digest.test(String(snapshot.digest)), 'form of digest');
  const [issued, expires] = [Number(ticket.issuedAt), Number(ticket.expiresAt)];
  demand(expires - issued <= 3_600_000, 'a ticket of more than one hour');
  demand(issued <= now + 60_000 && now < expires + 60_000, 'the ticket is not fresh');
  demand(Number(snapshot.expiresAt) > now, 'the snapshot is expired');
  demand(root.expiresAt > now, 'the root is expired');
  demand(snapshot.epoch === root.epoch, 'epoch is not that of the root');
  demand(Number(snapshot.rootVersion) <= root.version, 'the snapshot names a root that is withheld');
  return snapshot;
};

/** Throws unless the bytes are those that the snapshot names; returns the document. */
export const checkBytes = (snapshot: Json, bytes: string, root: Root): Json => {
  demand(Buffer.byteLength(bytes) === snapshot.size, 'size of the bytes');
  demand(digestOf(bytes) === snapshot.digest, 'digest of the bytes');
  const document = object(parseJson(bytes));
  demand(canonical(document) === bytes, 'the bytes are not their own RFC 8785 form');
  for (const field of ['network', 'epoch', 'version'])
    demand(document[field] === snapshot[field], `document and snapshot differ in ${field}`);
  demand(document.environment === root.environment, 'document of another environment');
  demand(document.schema === 1, 'schema is not 1');
  return document;
};

/** Answer of `GET /v1/roots/<n>` for a document, signed by `keys`. */
export const writeRoot = (document: Json, keys: readonly Key[]): string => {
  const text = JSON.stringify(document);
  const domain = document as unknown as Domain;
  const message = { ...document, documentHash: hash32(text) };
  const signatures = keys.map((key) => ({ signer: key.address, sig: key.sign(domain, 'Root', message) }));
  return JSON.stringify({ document: text, signatures });
};

/** Answer of `GET /v1/config` and the bytes it names. */
export const writePublication = (
  domain: Domain,
  document: Json,
  facts: { rootVersion: number; now: number },
  config: readonly Key[],
  ticketKey: Key,
): { answer: Json; bytes: string; digest: string } => {
  const bytes = canonical(document);
  const digest = digestOf(bytes);
  const { network, epoch, version } = document;
  const about = { network, epoch, version, digest };
  const size = Buffer.byteLength(bytes);
  const { now, rootVersion } = facts;
  const snapshot = { ...about, size, issuedAt: now, expiresAt: now + 86_400_000, rootVersion, rollbackOf: null };
  const ticket = { ...about, issuedAt: now, expiresAt: now + 3_000_000 };
  const by = (key: Key, struct: string, message: Json) => ({
    signer: key.address,
    sig: key.sign(domain, struct, message),
  });
  const snapshotSignatures = config.map((key) => by(key, 'ConfigSnapshot', snapshot));
  const ticketSignatures = [by(ticketKey, 'ConfigTicket', ticket)];
  return { answer: { snapshot, snapshotSignatures, ticket, ticketSignatures }, bytes, digest };
};
