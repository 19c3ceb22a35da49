import { mkdir, readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { Agent, request } from 'undici';
import { parse } from 'yaml';
import {
  compareVersions,
  domainOfRoot,
  makeSnapshot,
  openRoot,
  readConfigAnswer,
  type SignatureEntry,
  signersOf,
  signSnapshot,
  stepRoot,
  type TrustedRoot,
} from '../../config/index.ts';
import { CodedError } from '../../lib/errors.ts';
import { writeDurably } from '../../lib/fs.ts';
import type { Secret } from '../../lib/secret.ts';
import { parseStrictJson, type Sha256 } from '../../protocol/index.ts';
import { type Publication, zPublication } from '../publications.ts';
import type { Io } from './io.ts';
import { openKey } from './keystore.ts';

export interface PublishOptions {
  readonly dir: string;
  /** The draft, YAML or JSON. Without it, the publication that waits for signatures is signed and sent. */
  readonly snapshot?: string | undefined;
  /** Key files; all of keys/config-*.json when none is named. */
  readonly signWith: readonly string[];
  readonly to?: string | undefined;
  readonly ca?: string | undefined;
  readonly days: number;
  readonly rollbackOf?: Sha256 | undefined;
  readonly dryRun: boolean;
}

const DAY = 86_400_000;

/**
 * Makes, signs and uploads a configuration. Signers may follow one another: each run adds signatures to
 * publication/next.json, and what has enough is kept as publication/current.json and uploaded.
 */
export const publish = async (options: PublishOptions, password: () => Promise<Secret>, io: Io): Promise<void> => {
  const root = await newestRoot(options.dir);
  const domain = domainOfRoot(root.document);
  const remote = options.to === undefined ? undefined : new Remote(options.to, await caOf(options));
  try {
    const draft =
      options.snapshot === undefined
        ? await waiting(options.dir)
        : await make(options, root, await lastVersion(options.dir, root, remote), io);
    const { config } = root.document.roles;
    const entries = [...(draft.snapshotSignatures as SignatureEntry[])];
    const has = (): readonly string[] =>
      signersOf({ snapshot: draft.snapshot, domain, entries }).filter((a) => config.keys.includes(a as `0x${string}`));
    for (const path of await keyFiles(options)) {
      if (has().length >= config.threshold) break;
      const signer = await openKey(path, password);
      if (!config.keys.includes(signer.address))
        throw new CodedError('wrong_key', `${path} is no config key of root v${root.version}`);
      if (!has().includes(signer.address)) entries.push(signSnapshot(domain, draft.snapshot, signer));
    }
    const publication: Publication = { ...draft, snapshotSignatures: entries };
    const { version, epoch, digest, size } = draft.snapshot;
    io.out(
      `configuration v${version} (epoch ${epoch}) ${digest}, ${size} bytes, ${has().length} of ${config.threshold} signatures`,
    );
    if (options.dryRun) return io.out('dry run: nothing was written or sent');
    const complete = has().length >= config.threshold;
    const path = join(options.dir, 'publication', complete ? 'current.json' : 'next.json');
    await mkdir(join(options.dir, 'publication'), { recursive: true });
    await writeDurably(path, JSON.stringify(publication));
    if (!complete)
      return io.out(`kept in ${path}: the next signer runs publish --dir … --sign-with KEYSTORE without --snapshot`);
    // what waited is complete now
    await rm(join(options.dir, 'publication', 'next.json'), { force: true });
    if (!remote) return io.out(`kept in ${path}: send it with publish --dir … --to https://…`);
    await remote.upload(publication);
    io.out(`published at ${options.to}`);
  } finally {
    await remote?.close();
  }
};

/** Fills what the draft leaves open, and refuses what any node would refuse. */
const make = async (options: PublishOptions, root: TrustedRoot, last: number, io: Io): Promise<Publication> => {
  const text = await readFile(options.snapshot as string, 'utf8');
  const { network, environment, epoch } = root.document;
  const document: Record<string, unknown> = {
    schema: 1,
    network,
    environment,
    epoch,
    version: last + 1,
    ...(parse(text) as Record<string, unknown>),
  };
  const now = io.now();
  const made = makeSnapshot(document, {
    issuedAt: now,
    expiresAt: now + options.days * DAY,
    rootVersion: root.version,
    rollbackOf: options.rollbackOf ?? null,
  });
  const [failed] = made.failedModels;
  if (failed) throw new CodedError('bad_model', `model ${failed.ref}: ${failed.reason}`);
  return { snapshot: made.snapshot, snapshotSignatures: [], document: Buffer.from(made.bytes).toString() };
};

/** The highest version of this epoch that was published, here or there. */
const lastVersion = async (dir: string, root: TrustedRoot, remote: Remote | undefined): Promise<number> => {
  const known = [await readPublication(join(dir, 'publication/current.json')), await remote?.current()]
    .map((p) => p && { epoch: p.epoch, version: p.version })
    .filter((p) => p !== undefined)
    .sort(compareVersions)
    .at(-1);
  return known && known.epoch === root.document.epoch ? known.version : 0;
};

const readPublication = async (path: string): Promise<Publication['snapshot'] | undefined> => {
  const text = await readFile(path, 'utf8').catch(() => undefined);
  return text === undefined ? undefined : zPublication.parse(parseStrictJson(text)).snapshot;
};

const waiting = async (dir: string): Promise<Publication> => {
  for (const name of ['next.json', 'current.json']) {
    const text = await readFile(join(dir, 'publication', name), 'utf8').catch(() => undefined);
    if (text !== undefined) return zPublication.parse(parseStrictJson(text));
  }
  throw new CodedError('bad_usage', `nothing waits in ${dir}/publication: give --snapshot FILE`);
};

const newestRoot = async (dir: string): Promise<TrustedRoot> => {
  const read = (n: number): Promise<string | undefined> =>
    readFile(join(dir, 'roots', `${n}.json`), 'utf8').catch(() => undefined);
  const first = await read(1);
  if (first === undefined)
    throw new CodedError('bad_usage', `${dir} has no roots/1.json: make a network with resultity-network init`);
  let root = openRoot(first);
  for (let next = await read(2); next !== undefined; next = await read(root.version + 1)) root = stepRoot(root, next);
  return root;
};

const keyFiles = async ({ dir, signWith }: PublishOptions): Promise<readonly string[]> => {
  if (signWith.length > 0) return signWith;
  const names = await readdir(join(dir, 'keys')).catch(() => []);
  return names
    .filter((n) => /^config-.*\.json$/.test(n))
    .sort()
    .map((n) => join(dir, 'keys', n));
};

const caOf = async ({ ca }: PublishOptions): Promise<string | undefined> =>
  ca === undefined ? undefined : readFile(ca, 'utf8');

/** The service that is published to. */
class Remote {
  readonly #base: string;
  readonly #agent: Agent;
  constructor(base: string, ca: string | undefined) {
    this.#base = base.replace(/\/$/, '');
    this.#agent = new Agent({
      connect: { ...(ca === undefined ? {} : { ca }), timeout: 10_000 },
      headersTimeout: 30_000,
    });
  }

  async current(): Promise<Publication['snapshot'] | undefined> {
    const { status, text } = await this.#call('GET', '/v1/config');
    if (status === 503 || status === 404) return undefined;
    if (status !== 200) throw new CodedError('unreachable', `GET /v1/config answered ${status}: ${text.slice(0, 200)}`);
    return readConfigAnswer(Buffer.from(text)).snapshot;
  }
  async upload(publication: Publication): Promise<void> {
    const { status, text } = await this.#call('POST', '/v1/admin/publications', JSON.stringify(publication));
    if (status !== 200) throw new CodedError('refused', `the service answered ${status}: ${messageOf(text)}`);
  }
  close(): Promise<void> {
    return this.#agent.close();
  }

  async #call(method: 'GET' | 'POST', path: string, body?: string): Promise<{ status: number; text: string }> {
    try {
      const answer = await request(this.#base + path, {
        method,
        dispatcher: this.#agent,
        ...(body === undefined ? {} : { body, headers: { 'content-type': 'application/json' } }),
      });
      return { status: answer.statusCode, text: await answer.body.text() };
    } catch (error) {
      throw new CodedError('unreachable', `${this.#base} cannot be reached`, { cause: error });
    }
  }
}

const messageOf = (text: string): string => {
  try {
    return (JSON.parse(text) as { error: { message: string } }).error.message;
  } catch {
    return text.slice(0, 200);
  }
};
