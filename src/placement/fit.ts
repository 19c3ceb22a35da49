import type { GpuOffer, NodeFacts } from './inventory.ts';

/** What a model needs of the cluster. */
export interface GpuNeed {
  /** `name:version`, for the words. */
  readonly model: string;
  readonly gpus: number;
  /** Of each GPU. */
  readonly gpuMemoryMiB: number;
  /** The least one, for example 8.0. */
  readonly computeCapability?: string;
}

/** How a node narrows the choice. */
export interface FitLimits {
  readonly resourceName: string;
  /** GPUs of one pod; the model's own number when left out. */
  readonly count?: number;
  readonly product?: string;
  readonly minMemoryMiB?: number;
  readonly migProfile?: string;
  readonly nodeSelector?: Readonly<Record<string, string>>;
  readonly tolerations?: readonly Toleration[];
}

export interface Toleration {
  readonly key?: string;
  readonly operator?: string;
  readonly value?: string;
  readonly effect?: string;
}

export type FitReason =
  | 'FitFound'
  | 'FitUnknown'
  | 'NoSpareGPU'
  | 'NoGPUNodes'
  | 'NoMatchingProduct'
  | 'NoMatchingMIGProfile'
  | 'InsufficientGPUMemory'
  | 'InsufficientGPUs'
  | 'NodeCordoned';

/**
 * now = a GPU is free; later = one fits and is in use, cordoned or not there yet; never = what is there, and matches, can
 * never hold it. Only never withholds a pod (with `fit: Require` later does too).
 */
export interface FitVerdict {
  readonly kind: 'now' | 'later' | 'never';
  readonly reason: FitReason;
  /** ≤ 256 characters, without names that change from run to run. */
  readonly message: string;
  readonly pools: readonly PoolView[];
  /** What the pod would get, as far as it is known. */
  readonly gpu?: { readonly product?: string; readonly memoryMiB?: number; readonly migProfile?: string };
}

/** One kind of GPU in the cluster against the need. */
export interface PoolView {
  readonly name: string;
  readonly total: number;
  readonly free: number;
  readonly fits: boolean;
  readonly memoryMiB?: number;
  /** MiB short of the need; absent when the memory is enough or unknown. */
  readonly missingMiB?: number;
  /** Why it does not fit, in a few words. */
  readonly why?: string;
}

/** 71680 → `71 680`. */
const mib = (n: number): string => `${String(n).replace(/\B(?=(\d{3})+$)/g, ' ')}`;

/** Judges one need against all offers and says why. Total: any input gives a verdict. */
export const planFit = (need: GpuNeed, limits: FitLimits, offers: readonly GpuOffer[]): FitVerdict => {
  const count = limits.count ?? Math.max(1, need.gpus);
  const wanted = Math.max(need.gpuMemoryMiB, limits.minMemoryMiB ?? 0);
  const resourceName = limits.migProfile === undefined ? limits.resourceName : `nvidia.com/mig-${limits.migProfile}`;
  const needs = `${need.model} (needs ${count === 1 ? '' : `${count} GPUs, each `}${mib(wanted)} MiB)`;

  const named = offers.filter(
    (o) => o.resourceName === resourceName || (limits.migProfile !== undefined && single(o, limits)),
  );
  const selected = named.filter((o) => selects(o.node, limits));
  const all = selected.filter(
    (o) => limits.product === undefined || o.product === undefined || o.product === limits.product,
  );
  const pools = poolsOf(all, wanted, count, need.computeCapability);
  const verdict = (kind: FitVerdict['kind'], reason: FitReason, message: string, gpu?: GpuOffer): FitVerdict => ({
    kind,
    reason,
    message: message.length > 256 ? `${message.slice(0, 255)}…` : message,
    pools,
    ...(gpu === undefined ? {} : { gpu: brief(gpu) }),
  });

  if (selected.length === 0) {
    if (limits.migProfile !== undefined && named.length === 0 && offers.length > 0)
      return verdict(
        'later',
        'NoMatchingMIGProfile',
        `no node offers the MIG profile ${limits.migProfile} for ${needs}`,
      );
    const where =
      named.length > 0 ? `; ${named.length} node(s) offer it, but nodeSelector or taints rule them out` : '';
    return verdict('later', 'NoGPUNodes', `no node that may be used offers ${resourceName} for ${needs}${where}`);
  }
  if (all.length === 0)
    return verdict(
      'later',
      'NoMatchingProduct',
      `no node has the product ${limits.product} for ${needs}; there are ${products(selected)}`,
    );

  const fitting = all.filter((o) => misfit(o, wanted, count, need.computeCapability) === undefined);
  const explained = pools.map(explain).join('; ');
  if (fitting.length === 0) {
    const byCount = all.every((o) => o.total < count && !short(o, wanted));
    return verdict(
      'never',
      byCount ? 'InsufficientGPUs' : 'InsufficientGPUMemory',
      `no GPU fits ${needs}: ${explained}`,
    );
  }
  const open = fitting.filter((o) => !o.node.cordoned);
  const free = open.find((o) => o.free >= count);
  if (free) {
    const memory = free.memoryMiB === undefined ? 'memory not labelled' : `${mib(free.memoryMiB)} MiB each`;
    return verdict('now', 'FitFound', `${needs} fits ${name(free)}, ${memory}`, free);
  }
  if (open.length === 0)
    return verdict(
      'later',
      'NodeCordoned',
      `${needs} fits, but every node that fits is cordoned: ${explained}`,
      fitting[0],
    );
  return verdict('later', 'NoSpareGPU', `no GPU is free for ${needs}: ${explained}`, open[0]);
};

const brief = (o: GpuOffer): NonNullable<FitVerdict['gpu']> => ({
  ...(o.product === undefined ? {} : { product: o.product }),
  ...(o.memoryMiB === undefined ? {} : { memoryMiB: o.memoryMiB }),
  ...(o.migProfile === undefined ? {} : { migProfile: o.migProfile }),
});

/** MIG strategy `single`: the slices are called nvidia.com/gpu and the product carries the profile. */
const single = (o: GpuOffer, limits: FitLimits): boolean =>
  o.resourceName === 'nvidia.com/gpu' && o.product?.endsWith(`MIG-${limits.migProfile}`) === true;

const short = (o: GpuOffer, wanted: number): boolean => o.memoryMiB !== undefined && o.memoryMiB < wanted;

const olderThan = (has: string, least: string): boolean => {
  const [a = 0, b = 0] = has.split('.').map(Number);
  const [c = 0, d = 0] = least.split('.').map(Number);
  return a < c || (a === c && b < d);
};

/** Why this offer can never hold it; undefined = it can, as far as is known. */
const misfit = (o: GpuOffer, wanted: number, count: number, capability: string | undefined): string | undefined => {
  if (o.memoryMiB !== undefined && o.memoryMiB < wanted)
    return `has ${mib(o.memoryMiB)} MiB, ${mib(wanted - o.memoryMiB)} short`;
  if (o.total < count) return `has ${o.total} per node, ${count} needed`;
  if (capability !== undefined && o.computeCapability !== undefined && olderThan(o.computeCapability, capability))
    return `has compute capability ${o.computeCapability}, ${capability} needed`;
  return undefined;
};

const name = (o: GpuOffer): string =>
  o.migProfile === undefined ? (o.product ?? o.resourceName) : `${o.product ?? 'MIG'} ${o.migProfile}`;

const products = (offers: readonly GpuOffer[]): string => [...new Set(offers.map(name))].sort().join(', ');

const poolsOf = (
  offers: readonly GpuOffer[],
  wanted: number,
  count: number,
  capability: string | undefined,
): PoolView[] => {
  const pools = new Map<string, PoolView>();
  for (const o of offers) {
    const old = pools.get(name(o));
    const why = misfit(o, wanted, count, capability);
    const missing = o.memoryMiB !== undefined && o.memoryMiB < wanted ? wanted - o.memoryMiB : undefined;
    pools.set(name(o), {
      name: name(o),
      total: (old?.total ?? 0) + o.total,
      free: (old?.free ?? 0) + (o.node.cordoned ? 0 : o.free),
      fits: (old?.fits ?? false) || why === undefined,
      ...(o.memoryMiB === undefined ? {} : { memoryMiB: o.memoryMiB }),
      ...(missing === undefined ? {} : { missingMiB: missing }),
      ...(why === undefined ? {} : { why }),
    });
  }
  return [...pools.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
};

const explain = (p: PoolView): string => {
  if (!p.fits) return `${p.name} ${p.why ?? 'does not fit'}`;
  return p.free === 0 ? `${p.name} all ${p.total} in use` : `${p.name} ${p.free} of ${p.total} free`;
};

const selects = (node: NodeFacts, limits: FitLimits): boolean =>
  Object.entries(limits.nodeSelector ?? {}).every(([key, value]) => node.labels[key] === value) &&
  node.taints.every(
    (taint) =>
      taint.effect === 'PreferNoSchedule' || transient(taint.key) || tolerated(taint, limits.tolerations ?? []),
  );

/** Taints that say how a node is now, not what it is for: cordoned, not ready, under pressure. */
const transient = (key: string): boolean =>
  key.startsWith('node.kubernetes.io/') || key.startsWith('node.cloudprovider.kubernetes.io/');

const tolerated = (taint: NodeFacts['taints'][number], tolerations: readonly Toleration[]): boolean =>
  tolerations.some(
    (t) =>
      (t.effect === undefined || t.effect === '' || t.effect === taint.effect) &&
      (t.key === undefined || t.key === ''
        ? t.operator === 'Exists'
        : t.key === taint.key && (t.operator === 'Exists' || (t.value ?? '') === (taint.value ?? ''))),
  );
