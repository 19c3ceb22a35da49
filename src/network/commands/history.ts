import { readFile } from 'node:fs/promises';
import { parse } from 'yaml';
import { domainOfRoot, signersOf, type TrustedRoot } from '../../config/index.ts';
import { checksumAddress } from '../../protocol/index.ts';
import type { Publication } from '../publications.ts';
import { diffDocuments } from './diff.ts';
import { findPublication, readHistory, readPublication, readRoots } from './folder.ts';
import type { Io } from './io.ts';

/** Prints every root and every configuration of the folder: digest, signers, dates, what a rollback brought back. */
export const showHistory = async (dir: string, io: Io): Promise<void> => {
  const roots = await readRoots(dir);
  for (const root of roots) {
    const { epoch, issuedAt, expiresAt, roles } = root.document;
    io.out(`root v${root.version}  epoch ${epoch}  ${day(issuedAt)} … ${day(expiresAt)}`);
    for (const [name, role] of Object.entries(roles))
      if (role) io.out(`  ${name}: ${role.threshold} of ${role.keys.map(checksumAddress).join(' ')}`);
    io.out(`  signed by ${signersOf({ root: root.answer }).map(named).join(' ')}`);
  }
  const history = await readHistory(dir);
  for (const publication of history) show(publication, roots, history, io);
  const next = await readPublication(dir, 'next');
  if (next) {
    io.out('waits for signatures (publication/next.json):');
    show(next, roots, history, io);
  }
};

const show = (
  { snapshot, snapshotSignatures }: Publication,
  roots: readonly [TrustedRoot, ...TrustedRoot[]],
  history: readonly Publication[],
  io: Io,
): void => {
  const domain = domainOfRoot(roots[0].document);
  const signers = signersOf({ snapshot, domain, entries: snapshotSignatures }).map(named);
  const back = history.find((p) => p.snapshot.digest === snapshot.rollbackOf)?.snapshot;
  io.out(
    `configuration v${snapshot.version}  epoch ${snapshot.epoch}  ${snapshot.digest}  ${day(snapshot.issuedAt)} … ${day(snapshot.expiresAt)}  root v${snapshot.rootVersion}`,
  );
  if (snapshot.rollbackOf !== null)
    io.out(`  rollback to ${back ? `v${back.version} (epoch ${back.epoch})` : snapshot.rollbackOf}`);
  io.out(`  signed by ${signers.join(' ') || 'nobody yet'}`);
};

/** Prints what changes from A to B: each `current`, `next`, a version, or a file (draft or publication). */
export const showDiff = async (dir: string, a: string, b: string, io: Io): Promise<void> => {
  const lines = diffDocuments(await contentOf(dir, a), await contentOf(dir, b));
  for (const line of lines) io.out(line);
  if (lines.length === 0) io.out('no difference');
};

const contentOf = async (dir: string, word: string): Promise<unknown> => {
  const publication = await findPublication(dir, word);
  if (publication) return JSON.parse(publication.document) as unknown;
  const value = parse(await readFile(word, 'utf8')) as { document?: unknown } | null;
  return typeof value?.document === 'string' ? (JSON.parse(value.document) as unknown) : value;
};

const day = (ms: number): string => new Date(ms).toISOString().replace(/\.\d+Z$/, 'Z');
const named = (address: string): string => checksumAddress(address as `0x${string}`);
