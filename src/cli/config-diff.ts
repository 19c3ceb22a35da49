import { readFile } from 'node:fs/promises';
import { gunzipSync } from 'node:zlib';
import { Command } from 'commander';
import type { ResultityNetwork, ResultityNode } from '../api/index.ts';
import { httpSource, MAX_SNAPSHOT_BYTES } from '../config/index.ts';
import { CodedError, errorText } from '../lib/index.ts';
import { type Sha256, sha256Hex, zSha256 } from '../protocol/index.ts';
import { type Cluster, type ClusterFlags, clusterOptions, withCluster } from './cluster.ts';
import { dispatcherFor } from './http.ts';
import { KIND } from './kinds.ts';
import { type Io, UsageError } from './program.ts';
import { ageText, tableLines } from './table.ts';

interface DiffFlags extends ClusterFlags {
  readonly network?: string;
  readonly from?: string;
  readonly to?: string;
  readonly ca?: string;
}

/** `config diff|history`: what changes with a configuration, and which node is at which. */
export const configViewCommands = (io: Io): Command[] => [
  clusterOptions(
    new Command('diff')
      .description('what differs between the configuration a node applies and the one its network wants')
      .argument('[node]', 'a ResultityNode; without it, say --from'),
  )
    .option('--network <name>', 'the ResultityNetwork (default: the node’s, or the only one)')
    .option('--from <digest|file>', 'the older snapshot (default: what the node applies)')
    .option('--to <digest|file>', 'the newer snapshot (default: what the operator verified last)')
    .option('--ca <file>', 'CA bundle (PEM) for the network’s TLS certificate')
    .action((name: string | undefined, flags: DiffFlags) =>
      withCluster(io, flags, (cluster) => diff(cluster, name, flags)),
    ),
  clusterOptions(
    new Command('history').description(
      'roots, the snapshot in force, which node applies which, and what was told of it',
    ),
  )
    .option('--network <name>', 'the ResultityNetwork (default: the only one)')
    .action((flags: ClusterFlags & { network?: string }) =>
      withCluster(io, flags, (cluster) => history(cluster, flags.network)),
    ),
];

const networkOf = async (c: Cluster, name: string | undefined): Promise<ResultityNetwork> => {
  if (name !== undefined) return c.get(KIND.network, name);
  const all = await c.list(KIND.network);
  const [only] = all;
  if (only !== undefined && all.length === 1) return only;
  throw new UsageError(
    all.length === 0
      ? `there is no ResultityNetwork in namespace ${c.namespace}; name another with -n`
      : `say which with --network: ${all.map((n) => n.metadata.name).join(', ')}`,
  );
};

const diff = async (c: Cluster, name: string | undefined, flags: DiffFlags): Promise<void> => {
  const node: ResultityNode | undefined = name === undefined ? undefined : await c.get(KIND.node, name);
  const network = await networkOf(c, flags.network ?? node?.spec.networkRef.name);
  const from = flags.from ?? node?.status?.agent?.config?.applied;
  const to = flags.to ?? network.status?.digest;
  if (from === undefined)
    throw new UsageError(
      node === undefined
        ? 'name a node, or the older snapshot with --from'
        : `${name} has applied no configuration yet`,
    );
  if (to === undefined)
    throw new CodedError(
      'no_config',
      `the ResultityNetwork ${network.metadata.name} has no verified configuration yet`,
    );
  if (from === to) return c.io.out(`no difference: ${name ?? 'both'} is at ${short(to)}`);
  const [older, newer] = [await snapshot(c, network, from, flags.ca), await snapshot(c, network, to, flags.ca)];
  const lines = differences(older, newer);
  c.io.out(`--- ${short(from)} version ${String((older as { version?: unknown }).version ?? '?')}`);
  c.io.out(`+++ ${short(to)} version ${String((newer as { version?: unknown }).version ?? '?')}`);
  for (const line of lines) c.io.out(line);
};

const short = (digest: string): string => (digest.startsWith('sha256:') ? digest.slice(7, 19) : digest);

/** By digest: out of the operator's ConfigMap, else from the network. The bytes are hashed, so it does not matter from where they come. */
const snapshot = async (
  c: Cluster,
  network: ResultityNetwork,
  wanted: string,
  ca: string | undefined,
): Promise<unknown> => {
  const digest = zSha256.safeParse(wanted);
  if (!digest.success)
    return parsed(
      await readFile(wanted).catch((error: unknown) => {
        throw new UsageError(
          `${wanted} is neither a digest (sha256:…) nor a file that can be read (${errorText(error)})`,
        );
      }),
      wanted,
    );
  const kept = await keptSnapshot(c, network, digest.data);
  const bytes = kept ?? (await fetched(network, digest.data, ca));
  if (sha256Hex(bytes) !== digest.data)
    throw new CodedError('digest_mismatch', `what was given for ${short(wanted)} has another digest`);
  return parsed(bytes, wanted);
};

const keptSnapshot = async (c: Cluster, network: ResultityNetwork, digest: Sha256): Promise<Uint8Array | undefined> => {
  const name = network.status?.configMapName;
  const map = name === undefined ? undefined : await c.find(KIND.configMap, name);
  const packed = map?.binaryData?.[`snapshot-${digest.replace(':', '-')}.gz`];
  return packed === undefined
    ? undefined
    : gunzipSync(Buffer.from(packed, 'base64'), { maxOutputLength: MAX_SNAPSHOT_BYTES });
};

const fetched = async (network: ResultityNetwork, digest: Sha256, ca: string | undefined): Promise<Uint8Array> => {
  const dispatcher = await dispatcherFor(ca);
  try {
    return await httpSource({ endpoint: network.spec.endpoint, dispatcher }).snapshot(digest);
  } catch (error) {
    throw new CodedError(
      'unreachable',
      `the snapshot ${short(digest)} is not in the cluster and ${network.spec.endpoint} does not give it (${errorText(error)}); give a file with --from or --to, or --ca`,
    );
  } finally {
    await dispatcher.destroy();
  }
};

const parsed = (bytes: Uint8Array, what: string): unknown => {
  try {
    return JSON.parse(Buffer.from(bytes).toString());
  } catch {
    throw new CodedError('bad_json', `${what} is no snapshot: not JSON`);
  }
};

/** Lines `+ path: value`, `- path: value` and `~ path: old → new`, by path. Lists of named things are compared by name. Pure. */
export const differences = (older: unknown, newer: unknown): string[] => {
  const [a, b] = [flat(older), flat(newer)];
  const [came, went] = [entriesOnlyIn(b, a), entriesOnlyIn(a, b)];
  const lines = [...new Set([...a.keys(), ...b.keys()])].flatMap((path): [string, string][] => {
    const [was, is] = [a.get(path), b.get(path)];
    if (was === is || came.has(entryOf(path)) || went.has(entryOf(path))) return [];
    if (was === undefined) return [[path, `+ ${path}: ${is}`]];
    return [[path, is === undefined ? `- ${path}: ${was}` : `~ ${path}: ${was} → ${is}`]];
  });
  for (const [sign, whole, all] of [['+', came, b] as const, ['-', went, a] as const])
    for (const entry of whole) lines.push([entry, `${sign} ${entry}: ${summary(entry, all)}`]);
  return lines.sort(([x], [y]) => (x < y ? -1 : 1)).map(([, line]) => line);
};

/** `models[a:v1].files[x].size` → `models[a:v1]`: the outermost entry of a list that a path lies in. */
const entryOf = (path: string): string => /^[^[]*\[[^\]]*\]/.exec(path)?.[0] ?? '';

/** Entries of lists of which the other side has nothing: told in one line each. */
const entriesOnlyIn = (one: ReadonlyMap<string, string>, other: ReadonlyMap<string, string>): Set<string> => {
  const there = new Set([...other.keys()].map(entryOf));
  return new Set([...one.keys()].map(entryOf).filter((entry) => entry !== '' && !there.has(entry)));
};

/** The fields of an entry that are no lists and no objects, or the entry itself. */
const summary = (entry: string, all: ReadonlyMap<string, string>): string =>
  all.get(entry) ??
  [...all]
    .filter(([path]) => path.startsWith(`${entry}.`) && /^[^.[]+$/.test(path.slice(entry.length + 1)))
    .map(([path, value]) => `${path.slice(entry.length + 1)} ${value}`)
    .join(', ');

const MAX_TEXT = 120;

const flat = (value: unknown, path = '', into = new Map<string, string>()): Map<string, string> => {
  if (typeof value !== 'object' || value === null) {
    const text = JSON.stringify(value) ?? 'null';
    into.set(path, text.length > MAX_TEXT ? `${text.slice(0, MAX_TEXT)}…` : text);
    return into;
  }
  const entries: [string, unknown][] = Array.isArray(value)
    ? value.map((v, i) => [`[${nameOf(v) ?? i}]`, v])
    : Object.entries(value);
  for (const [key, v] of entries)
    flat(v, key.startsWith('[') || path === '' ? `${path}${key}` : `${path}.${key}`, into);
  return into;
};

/** What an entry of a list is called: a model, a runtime, a subcloud, a file. */
const nameOf = (value: unknown): string | undefined => {
  if (typeof value === 'string') return value.slice(0, MAX_TEXT);
  if (typeof value !== 'object' || value === null) return undefined;
  const { name, version, accelerator, id, path } = value as Record<string, unknown>;
  if (typeof name === 'string') return typeof version === 'string' ? `${name}:${version}` : name;
  if (typeof accelerator === 'string') return `${accelerator} ${String(version)}`;
  return typeof id === 'string' ? id : typeof path === 'string' ? path : undefined;
};

const history = async (c: Cluster, name: string | undefined): Promise<void> => {
  const network = await networkOf(c, name);
  const { io } = c;
  const { status, metadata } = network;
  const map = status?.configMapName === undefined ? undefined : await c.find(KIND.configMap, status.configMapName);
  const roots = Object.keys(map?.data ?? {}).flatMap((key) => /^root-(\d+)\.json$/.exec(key)?.[1] ?? []);
  io.out(
    `network ${metadata.name}   roots ${roots.length === 0 ? 'none kept' : roots.map((n) => `v${n}`).join(' → ')}`,
  );
  io.out(
    status?.digest === undefined
      ? 'no configuration is verified yet'
      : `in force: epoch ${status.epoch ?? '?'} version ${status.version ?? '?'} ${short(status.digest)}${status.expiresAt === undefined ? '' : `, until ${status.expiresAt}`}`,
  );
  if (status?.held !== undefined)
    io.out(
      `held: ${status.held.reason}${status.held.digest === undefined ? '' : `, ${short(status.held.digest)} waits`}`,
    );
  const nodes = (await c.list(KIND.node)).filter((n) => n.spec.networkRef.name === metadata.name);
  const rows = nodes.map(({ metadata: m, status: s }) => {
    const config = s?.agent?.config;
    const floor = s?.agent?.floor;
    return [
      m.name ?? '',
      config?.applied === undefined ? '-' : short(config.applied),
      config?.pending === undefined ? '-' : short(config.pending),
      floor === undefined ? '-' : `${floor.epoch},${floor.version}`,
      s?.config?.heldAt === undefined ? '-' : short(s.config.heldAt),
    ];
  });
  if (rows.length > 0)
    for (const line of tableLines(io, ['NODE', 'APPLIED', 'PENDING', 'FLOOR', 'HELD AT'], rows)) io.out(line);
  const names = new Set([metadata.name, ...nodes.map((n) => n.metadata.name)]);
  const told = ((await c.listIfAllowed(KIND.event)) ?? []).filter(
    (e) => names.has(e.regarding?.name) && /^(Config|Digest|RolledBack|Root|Signature)/.test(e.reason ?? ''),
  );
  for (const e of told.sort((a, b) => timeOf(a) - timeOf(b)).slice(-20))
    io.out(
      `${ageText(io.now() - timeOf(e))} ago  ${e.regarding?.kind} ${e.regarding?.name}  ${e.reason}: ${e.note ?? ''}`,
    );
};

const timeOf = (e: { readonly eventTime?: string; readonly series?: { readonly lastObservedTime?: string } }): number =>
  Date.parse(e.series?.lastObservedTime ?? e.eventTime ?? '') || 0;
