import { TIERS } from '../protocol/index.ts';
import type { Environment, SnapshotDocument, Subcloud } from './document.ts';
import type { ModelEntry } from './model-entry.ts';
import { higherVersion } from './versions.ts';

/**
 * Restrict: what both the applied and the newly accepted document allow. It holds from the moment of acceptance until the
 * new one is applied: epoch, version and everything that only extends stay the applied one's.
 */
export const intersect = (applied: SnapshotDocument, next: SnapshotDocument): SnapshotDocument => ({
  ...applied,
  models: applied.models.map((m) => restrictModel(m, next)),
  runtimes: applied.runtimes.filter((r) => next.runtimes.some((n) => n.image === r.image && n.engine === r.engine)),
  agent: { ...applied.agent, minVersion: higherVersion(applied.agent.minVersion, next.agent.minVersion) },
  jobs: {
    maxOutputTokens: Math.min(applied.jobs.maxOutputTokens, next.jobs.maxOutputTokens),
    maxQueue: Math.min(applied.jobs.maxQueue, next.jobs.maxQueue),
    timeouts: {
      firstTokenMs: Math.min(applied.jobs.timeouts.firstTokenMs, next.jobs.timeouts.firstTokenMs),
      gapMs: Math.min(applied.jobs.timeouts.gapMs, next.jobs.timeouts.gapMs),
      totalMs: Math.min(applied.jobs.timeouts.totalMs, next.jobs.timeouts.totalMs),
    },
  },
  isolation: {
    minTier:
      TIERS.indexOf(next.isolation.minTier) > TIERS.indexOf(applied.isolation.minTier)
        ? next.isolation.minTier
        : applied.isolation.minTier,
  },
  participation: {
    testnet: applied.participation.testnet && next.participation.testnet,
    mainnet: applied.participation.mainnet && next.participation.mainnet,
  },
  subclouds: applied.subclouds.flatMap((s) => restrictSubcloud(s, next.subclouds)),
  maxStalenessSeconds: Math.min(applied.maxStalenessSeconds, next.maxStalenessSeconds),
  trustedSources: applied.trustedSources.filter((host) => next.trustedSources.includes(host)),
});

/** A model that is gone, failed or has another digest stops; its files stay until the new document is applied. */
const restrictModel = (model: ModelEntry, next: SnapshotDocument): ModelEntry => {
  const other = next.models.find((m) => m.ref === model.ref);
  if (other === undefined || other.digest !== model.digest)
    return { ...model, state: model.state === 'archived' ? 'archived' : 'inactive' };
  return {
    ...model,
    state: stricterState(model.state, other.state),
    tasks: model.tasks.filter((t) => other.tasks.includes(t)),
    ...listed('subclouds', both(model.subclouds, other.subclouds)),
  };
};

const STRICTNESS = ['active', 'inactive', 'archived'] as const;
const stricterState = (a: ModelEntry['state'], b: ModelEntry['state']): ModelEntry['state'] =>
  STRICTNESS.indexOf(a) >= STRICTNESS.indexOf(b) ? a : b;

/** Intersection of two lists of which an absent one stands for everything. */
const both = <T>(a: readonly T[] | undefined, b: readonly T[] | undefined): T[] | undefined => {
  if (a === undefined) return b === undefined ? undefined : [...b];
  return b === undefined ? [...a] : a.filter((x) => b.includes(x));
};

const listed = <K extends string>(key: K, list: string[] | undefined): Partial<Record<K, string[]>> =>
  list === undefined ? {} : ({ [key]: list } as Record<K, string[]>);

const ACCESS = ['open', 'semi-open', 'closed'] as const;
const restrictSubcloud = (subcloud: Subcloud, all: readonly Subcloud[]): Subcloud[] => {
  const other = all.find((s) => s.id === subcloud.id);
  if (other === undefined) return [];
  const mine = subcloud.filters.labels ?? {};
  const theirs = other.filters.labels ?? {};
  // two values for one label: nobody meets both
  if (Object.entries(theirs).some(([k, v]) => mine[k] !== undefined && mine[k] !== v)) return [];
  const labels = { ...mine, ...theirs };
  const memory = Math.max(subcloud.filters.minGpuMemoryMiB ?? 0, other.filters.minGpuMemoryMiB ?? 0);
  return [
    {
      ...subcloud,
      access: ACCESS[Math.max(ACCESS.indexOf(subcloud.access), ACCESS.indexOf(other.access))] ?? 'closed',
      filters: {
        ...(Object.keys(labels).length > 0 ? { labels } : {}),
        ...(memory > 0 ? { minGpuMemoryMiB: memory } : {}),
      },
      ...listed('nodes', both(subcloud.nodes, other.nodes)),
      ...listed('owners', both(subcloud.owners, other.owners)),
      isolate: subcloud.isolate === true || other.isolate === true,
    },
  ];
};

/** True when nodes of this environment may take offers. */
export const participates = (document: SnapshotDocument, environment: Environment): boolean =>
  document.participation[environment];

/** Whether a node in these subclouds serves the model: one that names subclouds is for nodes in one of them. */
export const servedIn = (model: Pick<ModelEntry, 'subclouds'>, ids: readonly string[]): boolean =>
  model.subclouds === undefined || model.subclouds.some((id) => ids.includes(id));

/** Who a node is when subclouds are judged. */
export interface SubcloudMember {
  readonly node: string;
  /** Wallet or email of a proved owner. */
  readonly owner?: string | undefined;
  readonly labels: Readonly<Record<string, string>>;
  readonly gpuMemoryMiB: number;
  readonly join: readonly string[];
  readonly leave: readonly string[];
}

/** Ids of the subclouds that a node is in; `global` false when one of them takes it out of the global pool. */
export const subcloudsOf = (
  document: SnapshotDocument,
  member: SubcloudMember,
): { readonly ids: readonly string[]; readonly global: boolean } => {
  const joined = document.subclouds.filter((s) => isMember(s, member));
  return { ids: joined.map((s) => s.id), global: !joined.some((s) => s.isolate === true) };
};

const isMember = (s: Subcloud, m: SubcloudMember): boolean => {
  const meets =
    m.gpuMemoryMiB >= (s.filters.minGpuMemoryMiB ?? 0) &&
    Object.entries(s.filters.labels ?? {}).every(([k, v]) => m.labels[k] === v);
  if (!meets) return false;
  switch (s.access) {
    case 'open':
      return !m.leave.includes(s.id);
    case 'semi-open':
      return m.join.includes(s.id) && !m.leave.includes(s.id);
    default:
      return s.nodes?.includes(m.node) === true || (m.owner !== undefined && s.owners?.includes(m.owner) === true);
  }
};
