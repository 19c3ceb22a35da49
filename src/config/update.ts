import { CodedError, isCoded } from '../lib/errors.ts';
import {
  type Address,
  type ConfigAnswer,
  type Domain,
  decodeUtf8,
  REFUSALS,
  type Refusal,
  type Sha256,
  type SnapshotStruct,
  type TicketStruct,
} from '../protocol/index.ts';
import type { Environment, SnapshotDocument } from './document.ts';
import { compareVersions, type Floor, raiseFloor } from './floor.ts';
import type { JudgeOptions } from './model-rules.ts';
import { domainOfRoot, MAX_ROOT_BYTES, openRoot, stepRoot, type TrustedRoot } from './root.ts';
import type { ConfigSource } from './source.ts';
import type { StateStore } from './store.ts';
import {
  checkDocument,
  checkOrder,
  checkSignatures,
  checkSize,
  checkTimes,
  isFresh,
  readConfigAnswer,
} from './verify.ts';

/** Steps of the chain in one update; the next goes on. */
export const MAX_ROOT_STEPS = 256;

/** From where trust starts. */
export interface TrustOptions {
  /** Text of the pinned root, in the form of `GET /v1/roots/<n>`. */
  readonly pinnedRoot: string;
  /** What the owner expects; undefined takes the pinned root's. */
  readonly network?: string | undefined;
  readonly environment?: Environment | undefined;
  readonly store: StateStore;
}

export interface WalkOptions extends TrustOptions {
  readonly source: ConfigSource;
  readonly signal?: AbortSignal | undefined;
}

export interface UpdateOptions extends WalkOptions, JudgeOptions {
  /** The update's start time by the local clock, ms. */
  readonly now: number;
  /** The same by server time, once a welcome gave it. */
  readonly serverNow?: number | undefined;
  /** A floor that the operator or the network's status vouches for; never written down. */
  readonly minimumFloor?: { readonly epoch: number; readonly version: number } | undefined;
}

/** A configuration that every check let through, and that is durable. */
export interface AcceptedConfig {
  /** Every verified root at hand, oldest first. */
  readonly roots: readonly TrustedRoot[];
  /** The newest of them. */
  readonly root: TrustedRoot;
  readonly domain: Domain;
  readonly document: SnapshotDocument;
  readonly bytes: Uint8Array;
  readonly digest: Sha256;
  readonly epoch: number;
  readonly version: number;
  readonly snapshot: SnapshotStruct;
  readonly ticket: TicketStruct;
  /** issuedAt of its last fresh ticket: staleness counts from here. */
  readonly ticketIssuedAt: number;
  /** The ticket was good at the call's time; always after an update. */
  readonly fresh: boolean;
  /** Config keys that signed the snapshot. */
  readonly signers: readonly Address[];
}

export interface Refused {
  readonly kind: 'refused';
  readonly code: Refusal;
  readonly message: string;
  /** What was verified before the refusal; durable. */
  readonly roots: readonly TrustedRoot[];
}
export type UpdateOutcome =
  | { readonly kind: 'accepted'; readonly config: AcceptedConfig; readonly changed: boolean }
  | Refused;
export type WalkOutcome =
  | {
      readonly kind: 'walked';
      readonly roots: readonly TrustedRoot[];
      readonly root: TrustedRoot;
      readonly domain: Domain;
    }
  | Refused;

/**
 * Fetches, verifies and makes durable, in the order of docs/protocol.md §7. Whatever is refused leaves the floor where it
 * was. @throws only the signal's reason, or what is a fault of ours
 */
export const updateConfig = async (options: UpdateOptions): Promise<UpdateOutcome> => {
  const roots: TrustedRoot[] = [];
  return refusable(roots, async () => {
    const { root, floor } = await walk(options, roots);
    const received = await options.source.config(options.signal);
    const answer = readConfigAnswer(received);
    const signers = checkSignatures(answer, root);
    checkTimes(answer, root, options);
    checkOrder(answer.snapshot, root, floor, options.minimumFloor);
    checkSize(answer.snapshot);
    const { digest } = answer.snapshot;
    const held = await options.store.loadSnapshot(digest);
    const bytes = held ?? (await options.source.snapshot(digest, options.signal));
    const document = await checkDocument(bytes, answer.snapshot, root, options);
    const changed = floor.digest !== digest || compareVersions(answer.snapshot, floor) !== 0;
    // the floor last: a crash before it leaves the old floor, and evidence that is verified again when it is read
    if (held === undefined) await options.store.saveSnapshot(digest, bytes);
    if (changed || (await isNewerTicket(options.store, answer))) await options.store.saveEvidence(decodeUtf8(received));
    if (changed)
      await options.store.saveFloor(raiseFloor(floor, { ...place(answer.snapshot), rootVersion: root.version }));
    return { kind: 'accepted', changed, config: accepted(roots, root, answer, document, bytes, signers, true) };
  });
};

/** Only the roots: before each hello, and when a challenge names a newer one. Durable when it resolves. */
export const walkRoots = async (options: WalkOptions): Promise<WalkOutcome> => {
  const roots: TrustedRoot[] = [];
  return refusable(roots, async () => {
    const { root } = await walk(options, roots);
    return { kind: 'walked', roots, root, domain: domainOfRoot(root.document) };
  });
};

const refusable = async <T>(roots: readonly TrustedRoot[], body: () => Promise<T>): Promise<T | Refused> => {
  try {
    return await body();
  } catch (error) {
    if (!isCoded(error, ...REFUSALS)) throw error;
    return { kind: 'refused', code: error.code, message: error.message, roots };
  }
};

/** Floor file, pinned root, chain. Fills `roots` as they are verified. */
const walk = async (options: WalkOptions, roots: TrustedRoot[]): Promise<{ root: TrustedRoot; floor: Floor }> => {
  const { store, source, signal } = options;
  const { floor, stored, pinned, start } = await openTrust(options, roots);
  let root = start;
  // the pinned root counts as accepted too, and receipts may name it
  if (!roots.some((r) => r.version === pinned.version && stored.get(r.version) === r.answer))
    await store.saveRoot(pinned.version, pinned.answer);
  for (let step = 0; step < MAX_ROOT_STEPS; step++) {
    const bytes = await source.root(root.version + 1, signal);
    if (bytes === undefined) break;
    if (bytes.length > MAX_ROOT_BYTES)
      throw new CodedError<Refusal>('too_large', `root v${root.version + 1} has more than ${MAX_ROOT_BYTES} bytes`);
    root = stepRoot(root, decodeUtf8(bytes));
    if (stored.get(root.version) !== root.answer) await store.saveRoot(root.version, root.answer);
    const kept = roots.findIndex((r) => r.version === root.version);
    if (kept === -1) roots.push(root);
    else roots[kept] = root;
  }
  if (floor && root.version < floor.rootVersion)
    throw new CodedError<Refusal>(
      'root_rollback',
      `the walk ends at root v${root.version}, below v${floor.rootVersion}, which was accepted before`,
    );
  const { network, chainId, environment } = root.document;
  const base: Floor = floor ?? {
    network,
    chainId,
    environment,
    epoch: 0,
    version: 0,
    digest: null,
    rootVersion: 0,
    accepted: [],
  };
  const raised = { ...base, rootVersion: root.version };
  if (floor?.rootVersion !== root.version) await store.saveFloor(raised);
  return { root, floor: raised };
};

interface Trust {
  readonly floor: Floor | undefined;
  readonly stored: ReadonlyMap<number, string>;
  readonly pinned: TrustedRoot;
  /** Where the walk starts: the newest stored root, or the pinned one where that is newer or the file does not hold. */
  readonly start: TrustedRoot;
}

const openTrust = async (options: TrustOptions, roots: TrustedRoot[]): Promise<Trust> => {
  const { store } = options;
  const floor = await store.loadFloor();
  const pinned = openRoot(options.pinnedRoot);
  const { document } = pinned;
  if (options.network !== undefined && options.network !== document.network)
    throw new CodedError<Refusal>('wrong_network', `the pinned root is of ${document.network}, not ${options.network}`);
  if (options.environment !== undefined && options.environment !== document.environment)
    throw new CodedError<Refusal>(
      'wrong_environment',
      `the pinned root is for ${document.environment}, not ${options.environment}`,
    );
  if (floor && !sameNetwork(floor, document))
    throw new CodedError<Refusal>(
      'floor_of_another_network',
      `the state folder belongs to ${floor.network} (${floor.environment}), the pinned root to ${document.network} (${document.environment})`,
    );
  const stored = await store.loadRoots();
  const highest = Math.max(0, ...stored.keys());
  const kept = (n: number): TrustedRoot | undefined => reopen(n, stored.get(n) ?? '', pinned);
  const newestKept = highest > pinned.version ? kept(highest) : undefined;
  const start = newestKept ?? pinned;
  for (const n of [...stored.keys()].sort((a, b) => a - b)) {
    const root = n === start.version ? undefined : n < start.version ? kept(n) : undefined;
    if (root) roots.push(root);
  }
  if (start !== pinned && !roots.some((r) => r.version === pinned.version)) roots.push(pinned);
  // of two texts of one version the one in the folder stays, as it was the one that was accepted
  roots.push((start === pinned && kept(pinned.version)) || start);
  roots.sort((a, b) => a.version - b.version);
  return { floor, stored, pinned, start: newest(roots) };
};

const sameNetwork = (
  a: { readonly network: string; readonly chainId: number; readonly environment: string },
  b: { readonly network: string; readonly chainId: number; readonly environment: string },
): boolean => a.network === b.network && a.chainId === b.chainId && a.environment === b.environment;

/** A root from the state folder, when it still holds on its own. */
const reopen = (n: number, answer: string, pinned: TrustedRoot): TrustedRoot | undefined => {
  try {
    const root = openRoot(answer, `root v${n} of the state folder`);
    return root.version === n && sameNetwork(root.document, pinned.document) ? root : undefined;
  } catch {
    return undefined;
  }
};

const newest = (roots: readonly TrustedRoot[]): TrustedRoot => {
  const last = roots.at(-1);
  if (last === undefined) throw new CodedError<Refusal>('bad_root', 'there is no root to start from');
  return last;
};

const place = (s: SnapshotStruct): Pick<SnapshotStruct, 'epoch' | 'version' | 'digest'> => ({
  epoch: s.epoch,
  version: s.version,
  digest: s.digest,
});

const accepted = (
  roots: readonly TrustedRoot[],
  root: TrustedRoot,
  answer: ConfigAnswer,
  document: SnapshotDocument,
  bytes: Uint8Array,
  signers: readonly Address[],
  fresh: boolean,
): AcceptedConfig => ({
  roots,
  root,
  domain: domainOfRoot(root.document),
  document,
  bytes,
  ...place(answer.snapshot),
  snapshot: answer.snapshot,
  ticket: answer.ticket,
  ticketIssuedAt: answer.ticket.issuedAt,
  fresh,
  signers,
});

const storedAnswer = async (store: StateStore): Promise<ConfigAnswer | undefined> => {
  const text = await store.loadEvidence();
  if (text === undefined) return undefined;
  try {
    return readConfigAnswer(Buffer.from(text));
  } catch {
    return undefined;
  }
};

const isNewerTicket = async (store: StateStore, answer: ConfigAnswer): Promise<boolean> => {
  const before = await storedAnswer(store);
  return (
    before === undefined ||
    before.snapshot.digest !== answer.snapshot.digest ||
    before.ticket.issuedAt < answer.ticket.issuedAt
  );
};

/**
 * The last accepted configuration from disk, verified again under the root that it was accepted with; undefined when there
 * is none or it does not hold. Freshness and expiry are told (`fresh`, `snapshot.expiresAt`), not judged: what is applied
 * goes on while the network is away. Finishes an update whose process died before the floor was written.
 * @throws CodedError<Refusal> `floor_missing`, `floor_unreadable`, `floor_of_another_network`, `bad_root`, … of the pinned root
 */
export const loadAccepted = async (
  options: TrustOptions & JudgeOptions & { readonly now: number },
): Promise<AcceptedConfig | undefined> => {
  const { store } = options;
  const roots: TrustedRoot[] = [];
  const { floor } = await openTrust(options, roots);
  const answer = await storedAnswer(store);
  if (floor === undefined || answer === undefined) return undefined;
  const bytes = await store.loadSnapshot(answer.snapshot.digest);
  if (bytes === undefined) return undefined;
  for (const root of [...roots].reverse()) {
    try {
      const signers = checkSignatures(answer, root);
      checkOrder(answer.snapshot, root, floor);
      const document = await checkDocument(bytes, answer.snapshot, root, options);
      if (compareVersions(answer.snapshot, floor) > 0)
        await store.saveFloor(raiseFloor(floor, { ...place(answer.snapshot), rootVersion: root.version }));
      const config = accepted(roots, root, answer, document, bytes, signers, isFresh(answer.ticket, options.now));
      return { ...config, root: newest(roots) };
    } catch (error) {
      if (!isCoded(error, ...REFUSALS) || error.code === 'state_unwritable') throw error;
    }
  }
  return undefined;
};
