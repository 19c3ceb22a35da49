import { mkdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { parse } from 'yaml';
import {
  compareVersions,
  domainOfRoot,
  makeSnapshot,
  parseSnapshotDocument,
  type SignatureEntry,
  signersOf,
  signSnapshot,
  type TrustedRoot,
} from '../../config/index.ts';
import { CodedError } from '../../lib/errors.ts';
import { writeDurably } from '../../lib/fs.ts';
import type { Secret } from '../../lib/secret.ts';
import { parseStrictJson, type Sha256 } from '../../protocol/index.ts';
import type { Publication } from '../publications.ts';
import { showPlan } from './dry-run.ts';
import { findPublication, historyName, keyFiles, newestRoot, readPublication } from './folder.ts';
import type { Io } from './io.ts';
import { openKey } from './keystore.ts';
import { Remote } from './remote.ts';
import { allNodes, published } from './service-view.ts';
import { tryModels } from './try-models.ts';

export interface PublishOptions {
  readonly dir: string;
  /** The draft, YAML or JSON. Without it and `rollbackTo`, the publication that waits for signatures is signed and sent. */
  readonly snapshot?: string | undefined;
  /** The version whose content comes back: VERSION or EPOCH,VERSION. */
  readonly rollbackTo?: string | undefined;
  /** Key files; all of keys/config-*.json when none is named. */
  readonly signWith: readonly string[];
  readonly to?: string | undefined;
  readonly ca?: string | undefined;
  readonly days: number;
  readonly rollbackOf?: Sha256 | undefined;
  readonly dryRun: boolean;
  /** Nodes whose change the dry run shows. */
  readonly nodes: readonly string[];
  /** File with an API key that has admin: the dry run shows all nodes. */
  readonly tokenFile?: string | undefined;
  /** Engines against which each active model's test runs first. */
  readonly try: readonly string[];
}

const DAY = 86_400_000;

/**
 * Makes, signs and uploads a configuration. Signers may follow one another: each run adds signatures to
 * publication/next.json, and what has enough is kept as publication/current.json and in publication/history, and uploaded.
 */
export const publish = async (options: PublishOptions, password: () => Promise<Secret>, io: Io): Promise<void> => {
  const { dir } = options;
  const root = await newestRoot(dir);
  const domain = domainOfRoot(root.document);
  const remote = options.to === undefined ? undefined : await Remote.open(options.to, options.ca);
  try {
    const draft = await draftOf(options, root, remote, io);
    const document = parseSnapshotDocument(Buffer.from(draft.document));
    if (options.try.length > 0) await tryModels(document, options.try, io);
    const { config } = root.document.roles;
    const entries = [...(draft.snapshotSignatures as SignatureEntry[])];
    const has = (): readonly string[] =>
      signersOf({ snapshot: draft.snapshot, domain, entries }).filter((a) => config.keys.includes(a as `0x${string}`));
    const { version, epoch, digest, size } = draft.snapshot;
    const place = `configuration v${version} (epoch ${epoch}) ${digest}, ${size} bytes`;
    if (options.dryRun) {
      io.out(`${place}, ${has().length} of ${config.threshold} signatures`);
      const { to, tokenFile, ca, nodes } = options;
      const asked = to !== undefined && tokenFile !== undefined ? await allNodes(to, tokenFile, ca) : nodes;
      await showPlan(draft, await readPublication(dir, 'current'), remote, asked, io);
      return io.out('dry run: nothing was signed, written or sent');
    }
    for (const path of await keyFiles(dir, 'config', options.signWith)) {
      if (has().length >= config.threshold) break;
      const signer = await openKey(path, password);
      if (!config.keys.includes(signer.address)) {
        // keys of earlier roots may lie about; one that was named is a mistake
        if (options.signWith.length === 0) continue;
        throw new CodedError('wrong_key', `${path} is no config key of root v${root.version}`);
      }
      if (!has().includes(signer.address)) entries.push(signSnapshot(domain, draft.snapshot, signer));
    }
    const publication: Publication = { ...draft, snapshotSignatures: entries };
    io.out(`${place}, ${has().length} of ${config.threshold} signatures`);
    const path = await keep(dir, publication, has().length >= config.threshold);
    if (path.endsWith('next.json'))
      return io.out(`kept in ${path}: the next signer runs publish --dir … --sign-with KEYSTORE without --snapshot`);
    if (!remote) return io.out(`kept in ${path}: send it with publish --dir … --to https://…`);
    await remote.need('POST', '/v1/admin/publications', JSON.stringify(publication));
    io.out(`published at ${options.to}`);
  } finally {
    await remote?.close();
  }
};

const draftOf = async (
  options: PublishOptions,
  root: TrustedRoot,
  remote: Remote | undefined,
  io: Io,
): Promise<Publication> => {
  const { dir } = options;
  if (options.snapshot !== undefined) {
    const content = parse(await readFile(options.snapshot, 'utf8')) as Record<string, unknown>;
    return make(content, options.rollbackOf ?? null, options, root, await lastVersion(dir, root, remote), io);
  }
  if (options.rollbackTo === undefined) return waiting(dir);
  const old = await findPublication(dir, options.rollbackTo);
  if (!old) throw new CodedError('bad_usage', `--to "${options.rollbackTo}": write VERSION or EPOCH,VERSION`);
  const { version: _v, epoch: _e, ...content } = parseStrictJson(old.document) as Record<string, unknown>;
  return make(content, old.snapshot.digest, options, root, await lastVersion(dir, root, remote), io);
};

/** Fills what the draft leaves open, and refuses what any node would refuse. */
const make = (
  content: Record<string, unknown>,
  rollbackOf: Sha256 | null,
  { days }: PublishOptions,
  root: TrustedRoot,
  last: number,
  io: Io,
): Publication => {
  const { network, environment, epoch } = root.document;
  const now = io.now();
  const made = makeSnapshot(
    { schema: 1, network, environment, epoch, version: last + 1, ...content },
    { issuedAt: now, expiresAt: now + days * DAY, rootVersion: root.version, rollbackOf },
  );
  const [failed] = made.failedModels;
  if (failed) throw new CodedError('bad_model', `model ${failed.ref}: ${failed.reason}`);
  return { snapshot: made.snapshot, snapshotSignatures: [], document: Buffer.from(made.bytes).toString() };
};

/** @returns the file, `next.json` while signatures are missing */
const keep = async (dir: string, publication: Publication, complete: boolean): Promise<string> => {
  const folder = join(dir, 'publication');
  await mkdir(join(folder, 'history'), { recursive: true });
  const text = JSON.stringify(publication);
  const path = join(folder, complete ? 'current.json' : 'next.json');
  if (complete) await writeDurably(join(folder, `${historyName(publication.snapshot)}.json`), text);
  await writeDurably(path, text);
  // what waited is complete now
  if (complete) await rm(join(folder, 'next.json'), { force: true });
  return path;
};

/** The highest version of this epoch that was published, here or there. */
const lastVersion = async (dir: string, root: TrustedRoot, remote: Remote | undefined): Promise<number> => {
  const known = [(await readPublication(dir, 'current'))?.snapshot, remote && (await published(remote))]
    .map((p) => p && { epoch: p.epoch, version: p.version })
    .filter((p) => p !== undefined)
    .sort(compareVersions)
    .at(-1);
  return known && known.epoch === root.document.epoch ? known.version : 0;
};

const waiting = async (dir: string): Promise<Publication> => {
  const found = (await readPublication(dir, 'next')) ?? (await readPublication(dir, 'current'));
  if (!found) throw new CodedError('bad_usage', `nothing waits in ${dir}/publication: give --snapshot FILE`);
  return found;
};
