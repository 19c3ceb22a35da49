import { mkdir, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import {
  domainOfRoot,
  makeRoot,
  parseRootDocument,
  type Role,
  type RootDocument,
  signersOf,
  signRoot,
  stepRoot,
  type TrustedRoot,
} from '../../config/index.ts';
import { CodedError } from '../../lib/errors.ts';
import { writeDurably } from '../../lib/fs.ts';
import type { Secret } from '../../lib/secret.ts';
import { type Address, checksumAddress, parseStrictJson } from '../../protocol/index.ts';
import { keyFiles, newestRoot, type RoleName, readIfThere, readPublication, readRoots } from './folder.ts';
import type { Io } from './io.ts';
import { encryptKey, newKey, openKey } from './keystore.ts';
import { Remote } from './remote.ts';

/** One change of a role's keys; `from` alone removes, `to` alone adds, both replace. */
export interface KeyChange {
  readonly role: RoleName;
  readonly from?: Address | undefined;
  /** An address, or `new` for a key that is made here. */
  readonly to?: Address | 'new' | undefined;
}

export interface RootChange {
  readonly dir: string;
  readonly keys: readonly KeyChange[];
  readonly thresholds: readonly { readonly role: RoleName; readonly threshold: number }[];
  readonly days: number;
  readonly raiseEpoch: boolean;
  readonly signWith: readonly string[];
  readonly scryptN: number;
}

const DAY = 86_400_000;
const waitingPath = (dir: string): string => join(dir, 'roots', 'next.json');

/**
 * Drafts root N+1 from N as roots/next.json and signs it with the keys at hand.
 * @throws CodedError `exists` while another draft waits, `bad_usage`, `bad_root`
 */
export const changeRoot = async (change: RootChange, password: () => Promise<Secret>, io: Io): Promise<void> => {
  const { dir } = change;
  const root = await newestRoot(dir);
  if ((await readIfThere(waitingPath(dir))) !== undefined)
    throw new CodedError(
      'exists',
      `${waitingPath(dir)} waits for signatures: sign it with "root sign", or remove it to begin anew`,
    );
  const before = root.document;
  const issuedAt = io.now();
  const roles: { [name in RoleName]?: Role | undefined } = { ...before.roles };
  for (const key of change.keys) roles[key.role] = await changed(roles[key.role], key, change, password, io);
  for (const { role, threshold } of change.thresholds) {
    const held = roles[role];
    if (!held) throw new CodedError('bad_usage', `root v${root.version} has no role ${role}: add a key first`);
    roles[role] = { ...held, threshold };
  }
  const document: RootDocument = {
    ...before,
    version: before.version + 1,
    epoch: before.epoch + (change.raiseEpoch ? 1 : 0),
    issuedAt,
    expiresAt: issuedAt + change.days * DAY,
    roles: roles as RootDocument['roles'],
  };
  const answer = makeRoot(document);
  await mkdir(join(dir, 'roots'), { recursive: true });
  await writeDurably(waitingPath(dir), answer);
  await signNext({ dir, signWith: change.signWith }, password, io);
};

const changed = async (
  held: Role | undefined,
  { role, from, to }: KeyChange,
  { dir, scryptN }: RootChange,
  password: () => Promise<Secret>,
  io: Io,
): Promise<Role> => {
  const keys = [...(held?.keys ?? [])];
  if (from !== undefined && !keys.includes(from))
    throw new CodedError('bad_usage', `${checksumAddress(from)} is no ${role} key`);
  const added = to === 'new' ? await makeKey(dir, role, scryptN, password, io) : to;
  if (added !== undefined && keys.includes(added))
    throw new CodedError('bad_usage', `${checksumAddress(added)} is a ${role} key already`);
  const kept = from === undefined ? keys : keys.filter((k) => k !== from);
  return { threshold: held?.threshold ?? 1, keys: added === undefined ? kept : [...kept, added] };
};

/** Keys of the service (ticket, online) are bare, as it opens them unattended; the others are encrypted. */
const makeKey = async (
  dir: string,
  role: RoleName,
  scryptN: number,
  password: () => Promise<Secret>,
  io: Io,
): Promise<Address> => {
  const key = newKey();
  const bare = role === 'ticket' || role === 'online';
  await mkdir(join(dir, 'keys'), { recursive: true, mode: 0o700 });
  const taken = new Set(await readdir(join(dir, 'keys')));
  const name = (n: number): string => `${role}-${n}.${bare ? 'key' : 'json'}`;
  let n = 1;
  while (taken.has(name(n))) n++;
  const path = join(dir, 'keys', name(n));
  const text = bare ? `${key.privateKey.reveal()}\n` : await encryptKey(key, await password(), scryptN);
  await writeDurably(path, text, 0o600);
  io.out(`new ${role} key ${checksumAddress(key.signer.address)} in ${path}`);
  return key.signer.address;
};

/**
 * Adds signatures to the root that waits, and finishes it once the thresholds of N and of N+1 are met: roots/<n>.json.
 * @throws CodedError `threshold_not_met` when nothing was added and signers are missing
 */
export const signNext = async (
  { dir, signWith }: { readonly dir: string; readonly signWith: readonly string[] },
  password: () => Promise<Secret>,
  io: Io,
): Promise<void> => {
  const root = await newestRoot(dir);
  const path = waitingPath(dir);
  let answer = await readIfThere(path);
  if (answer === undefined) throw new CodedError('bad_usage', `no root waits in ${path}: make one with "root rotate"`);
  const document = documentOf(answer);
  if (document.version !== root.version + 1)
    throw new CodedError('bad_root', `${path} is root v${document.version}, the newest is v${root.version}: remove it`);
  const before = signersOf({ root: answer }).length;
  const members = [...root.document.roles.root.keys, ...document.roles.root.keys];
  for (const file of await keyFiles(dir, 'root', signWith)) {
    const signer = await openKey(file, password);
    if (members.includes(signer.address)) answer = signRoot(answer, signer);
    else if (signWith.length > 0)
      throw new CodedError(
        'wrong_key',
        `${file} is a root key neither of v${root.version} nor of v${document.version}`,
      );
  }
  await writeDurably(path, answer);
  const signers = signersOf({ root: answer });
  const lines = [
    ...missing(`root v${root.version}`, root.document.roles.root, signers),
    ...missing(`root v${document.version}`, document.roles.root, signers),
  ];
  io.out(`root v${document.version} (epoch ${document.epoch}), signed by ${signers.map(named).join(' ') || 'nobody'}`);
  if (lines.length > 0) {
    if (signers.length === before)
      throw new CodedError('threshold_not_met', `root v${document.version} is not finished: ${lines.join('; ')}`);
    for (const line of lines) io.out(`not finished: ${line}`);
    return io.out(`kept in ${path}: the next signer runs root sign --dir … --sign-with KEYSTORE`);
  }
  await finish(dir, root, answer, io);
};

/** Written when every node would take the step, and not before. */
const finish = async (dir: string, root: TrustedRoot, answer: string, io: Io): Promise<void> => {
  const next = stepRoot(root, answer);
  if (next.document.expiresAt <= io.now())
    throw new CodedError('root_expired', `root v${next.version} has expired while it waited: remove roots/next.json`);
  const path = join(dir, 'roots', `${next.version}.json`);
  await writeDurably(path, answer);
  await rm(waitingPath(dir));
  io.out(`${path} is finished: give it to the service with root send --dir … --to https://…`);
  const current = await readPublication(dir, 'current');
  if (!current) return;
  const { config } = next.document.roles;
  const entries = current.snapshotSignatures;
  const signers = signersOf({ snapshot: current.snapshot, domain: domainOfRoot(next.document), entries });
  const count = config.keys.filter((key) => signers.includes(key)).length;
  if (current.snapshot.epoch !== next.document.epoch)
    io.out(`publish again: v${current.snapshot.version} is of epoch ${current.snapshot.epoch}; versions begin at 1`);
  else if (count < config.threshold)
    io.out(
      `publish again: v${current.snapshot.version} has ${count} of ${config.threshold} signatures under root v${next.version}`,
    );
};

/** Gives the service every root after the pinned one; those that it has change nothing. */
export const sendRoots = async (
  { dir, to, ca }: { readonly dir: string; readonly to: string; readonly ca?: string | undefined },
  io: Io,
): Promise<void> => {
  const roots = (await readRoots(dir)).slice(1);
  if (roots.length === 0) throw new CodedError('bad_usage', `${dir} holds no root after the pinned one`);
  const remote = await Remote.open(to, ca);
  try {
    for (const { version, answer } of roots) {
      const { publishAnew } = JSON.parse(await remote.need('POST', '/v1/admin/roots', answer)) as {
        publishAnew?: unknown;
      };
      io.out(`root v${version} is at ${to}${publishAnew ? `; publish again: ${String(publishAnew)}` : ''}`);
    }
  } finally {
    await remote.close();
  }
};

/** The document of a root that may lack signatures. */
const documentOf = (answer: string): RootDocument =>
  parseRootDocument(String((parseStrictJson(answer) as { document?: unknown }).document), 'the root that waits');

/** Who may still sign for a role that is below its threshold. */
const missing = (what: string, role: Role, signers: readonly string[]): string[] => {
  const absent = role.keys.filter((key) => !signers.includes(key));
  const short = role.threshold - (new Set(role.keys).size - new Set(absent).size);
  return short > 0 ? [`${what} needs ${short} more of ${[...new Set(absent)].map(named).join(' ')}`] : [];
};

const named = (address: string): string => checksumAddress(address as Address);
