import type { ConfigSource } from '../config/index.ts';
import {
  FileStateStore,
  type HeldAnswers,
  MemoryStateStore,
  memorySource,
  openRoot,
  type TrustedRoot,
  walkRoots,
} from '../config/index.ts';
import { CodedError } from '../lib/errors.ts';
import { readNamedFile, UsageError } from './program.ts';

/** Where the roots come from by which something is verified offline. */
export interface RootFlags {
  /** Root files: trust starts at the lowest version, the others must follow from it. */
  readonly root?: readonly string[] | undefined;
  /** A state folder whose roots were verified when they were written. */
  readonly state?: string | undefined;
}

/**
 * Verified roots of one network, oldest first. Nothing is written.
 * @param online asks the network for roots after those at hand
 * @throws UsageError, or CodedError with a refusal's code
 */
export const verifiedRoots = async (flags: RootFlags, online?: ConfigSource): Promise<readonly TrustedRoot[]> => {
  const given = await Promise.all(
    (flags.root ?? []).map(async (path) => openRoot(await readNamedFile(path, 'the root'), path)),
  );
  given.sort((a, b) => a.version - b.version);
  const store = new MemoryStateStore();
  if (flags.state !== undefined)
    for (const [n, answer] of await new FileStateStore(flags.state).loadRoots()) store.roots.set(n, answer);
  const pinnedRoot = given[0]?.answer ?? lowest(store.roots);
  if (pinnedRoot === undefined)
    throw new UsageError(
      flags.state === undefined
        ? 'say which roots to trust: --root FILE (the network’s pinned root) or --state DIR (a node’s state folder)'
        : `${flags.state} holds no roots/<n>.json: give the pinned root with --root FILE`,
    );
  const held: HeldAnswers = {
    config: '',
    snapshots: new Map(),
    roots: new Map(given.slice(1).map((r) => [r.version, r.answer])),
  };
  const files = memorySource(held);
  const source: ConfigSource = online
    ? { ...files, root: async (n, signal) => (await files.root(n)) ?? (await online.root(n, signal)) }
    : files;
  const outcome = await walkRoots({ pinnedRoot, store, source });
  if (outcome.kind === 'refused')
    throw new CodedError(outcome.code, `the roots do not hold: ${outcome.code}: ${outcome.message}`);
  return outcome.roots;
};

const lowest = (roots: ReadonlyMap<number, string>): string | undefined => {
  const [first] = [...roots].sort(([a], [b]) => a - b);
  return first?.[1];
};
