import { assertNever } from '../lib/index.ts';
import type { GpuOffer } from './offers.ts';
import { grouped } from './quantity.ts';
import { type Selection, type Toleration, untolerated } from './select.ts';

/** What a model needs of the cluster. */
export interface GpuNeed {
  /** `name:version`, for the words. */
  readonly model: string;
  readonly gpus: number;
  /** Of each GPU. */
  readonly gpuMemoryMiB: number;
  /** The least one, for example 8.0. */
  readonly computeCapability?: string;
  /** The least version, for example 570. */
  readonly driver?: string;
  /** For the model's files. */
  readonly diskMiB?: number;
}

/** How a node narrows the choice. */
export interface FitLimits extends Selection {
  readonly resourceName: string;
  /** GPUs of one pod; the model's own number when left out. */
  readonly count?: number;
  readonly product?: string;
  readonly minMemoryMiB?: number;
  readonly migProfile?: string;
  readonly tolerations?: readonly Toleration[];
  /** Where the model's files go: the Kubernetes node's own disk, or a volume of that many MiB. Not looked at when left out. */
  readonly disk?: 'node' | { readonly volumeMiB: number };
  /** GPUs that the pod itself holds already: they count as free for it. */
  readonly own?: { readonly node: string; readonly resourceName: string; readonly count: number };
}

/** One reason why an offer does not hold a model. */
export type Obstacle =
  | { readonly kind: 'selector'; readonly lacks: string }
  | { readonly kind: 'product'; readonly has: string; readonly wanted: string }
  | { readonly kind: 'taint'; readonly taint: string }
  | { readonly kind: 'memory'; readonly hasMiB: number; readonly missingMiB: number }
  | { readonly kind: 'count'; readonly has: number; readonly wanted: number }
  | { readonly kind: 'shares'; readonly wanted: number }
  | { readonly kind: 'capability'; readonly has: string; readonly wanted: string }
  | { readonly kind: 'disk'; readonly hasMiB: number; readonly missingMiB: number }
  | { readonly kind: 'driver'; readonly has: string; readonly wanted: string }
  | { readonly kind: 'problem'; readonly condition: string }
  | { readonly kind: 'notReady'; readonly taint: string }
  | { readonly kind: 'cordoned' }
  | { readonly kind: 'inUse'; readonly free: number; readonly total: number; readonly wanted: number };

/** Those that no waiting removes: the machine itself can never hold the model. */
const HARD: ReadonlySet<Obstacle['kind']> = new Set(['memory', 'count', 'shares', 'capability', 'disk']);
export const isHard = (o: Obstacle): boolean => HARD.has(o.kind);

/** The words for one obstacle, the same in conditions, events and the plugin; the subject stands before them. */
export const obstacleText = (o: Obstacle): string => {
  switch (o.kind) {
    case 'selector':
      return `lacks ${o.lacks}`;
    case 'product':
      return `is ${o.has}, ${o.wanted} is wanted`;
    case 'taint':
      return `has the taint ${o.taint}, which is not tolerated`;
    case 'memory':
      return `has ${grouped(o.hasMiB)} MiB, ${grouped(o.missingMiB)} short`;
    case 'count':
      return `has ${o.has} per node, ${o.wanted} needed`;
    case 'shares':
      return `is shared, and ${o.wanted} shares are no ${o.wanted} GPUs`;
    case 'capability':
      return `has compute capability ${o.has}, ${o.wanted} needed`;
    case 'disk':
      return `has ${grouped(o.hasMiB)} MiB of disk, ${grouped(o.missingMiB)} short`;
    case 'driver':
      return `has driver ${o.has}, ${o.wanted} needed`;
    case 'problem':
      return `has a GPU problem (condition ${o.condition})`;
    case 'notReady':
      return `is not ready (${o.taint})`;
    case 'cordoned':
      return 'is cordoned';
    case 'inUse':
      return o.free === 0 ? `all ${o.total} in use` : `${o.free} of ${o.total} free, ${o.wanted} needed at once`;
    default:
      return assertNever(o);
  }
};

/** Dotted numbers: `8.0` < `8.9`, `535.104` < `570`. */
export const olderThan = (has: string, least: string): boolean => {
  const [a, b] = [has, least].map((v) => v.split('.').map((n) => Number.parseInt(n, 10) || 0));
  for (let i = 0; i < Math.max(a?.length ?? 0, b?.length ?? 0); i++) {
    const difference = (a?.[i] ?? 0) - (b?.[i] ?? 0);
    if (difference !== 0) return difference < 0;
  }
  return false;
};

export const wantedCount = (need: GpuNeed, limits: FitLimits): number => limits.count ?? Math.max(1, need.gpus);
export const wantedMiB = (need: GpuNeed, limits: FitLimits): number =>
  Math.max(need.gpuMemoryMiB, limits.minMemoryMiB ?? 0);

/** What an offer is, whichever node it is of: all that a judgement but those of labels and use rests on. */
export type OfferKind = Omit<GpuOffer, 'free'>;

/** Whether an offer of this kind is meant at all: product and taints of purpose. The selector is judged before. */
export const notMeant = (o: OfferKind, limits: FitLimits): Obstacle | undefined => {
  if (limits.product !== undefined && o.product !== undefined && o.product !== limits.product)
    return { kind: 'product', has: o.product, wanted: limits.product };
  const kept = untolerated(o.node, limits.tolerations ?? []);
  return kept === undefined || kept.state ? undefined : { kind: 'taint', taint: kept.taint };
};

/** Everything but use that keeps an offer from holding the model; hard ones first. A label that is missing is no obstacle. */
export const obstaclesOf = (o: OfferKind, need: GpuNeed, limits: FitLimits): Obstacle[] => {
  const found: Obstacle[] = [];
  const [memory, count] = [wantedMiB(need, limits), wantedCount(need, limits)];
  if (o.memoryMiB !== undefined && o.memoryMiB < memory)
    found.push({ kind: 'memory', hasMiB: o.memoryMiB, missingMiB: memory - o.memoryMiB });
  if (o.total < count) found.push({ kind: 'count', has: o.total, wanted: count });
  else if (o.shares !== undefined && count > 1) found.push({ kind: 'shares', wanted: count });
  if (
    need.computeCapability !== undefined &&
    o.computeCapability !== undefined &&
    olderThan(o.computeCapability, need.computeCapability)
  )
    found.push({ kind: 'capability', has: o.computeCapability, wanted: need.computeCapability });
  const disk = limits.disk === 'node' ? o.node.diskMiB : limits.disk?.volumeMiB;
  if (need.diskMiB !== undefined && disk !== undefined && disk < need.diskMiB)
    found.push({ kind: 'disk', hasMiB: disk, missingMiB: need.diskMiB - disk });
  if (need.driver !== undefined && o.driver !== undefined && olderThan(o.driver, need.driver))
    found.push({ kind: 'driver', has: o.driver, wanted: need.driver });
  if (o.node.problem !== undefined) found.push({ kind: 'problem', condition: o.node.problem });
  const kept = untolerated(o.node, limits.tolerations ?? []);
  if (kept?.state === true) found.push({ kind: 'notReady', taint: kept.taint });
  if (o.node.cordoned) found.push({ kind: 'cordoned' });
  return found;
};
