import { freeForOwn, groupsOf, type OfferGroup, offersOf, resourceOf } from './groups.ts';
import {
  type FitLimits,
  type GpuNeed,
  isHard,
  notMeant,
  type Obstacle,
  type OfferKind,
  obstaclesOf,
  obstacleText,
  wantedCount,
  wantedMiB,
} from './obstacles.ts';
import type { GpuOffer } from './offers.ts';
import { grouped } from './quantity.ts';
import { notSelected } from './select.ts';

export type FitReason =
  | 'FitFound'
  | 'FitUnknown'
  | 'NoSpareGPU'
  | 'NoGPUNodes'
  | 'NoNodeSelected'
  | 'NoMatchingProduct'
  | 'NoMatchingMIGProfile'
  | 'TaintNotTolerated'
  | 'InsufficientGPUMemory'
  | 'InsufficientGPUs'
  | 'InsufficientDisk'
  | 'ComputeCapabilityTooLow'
  | 'DriverTooOld'
  | 'GPUProblem'
  | 'NodeNotReady'
  | 'NodeCordoned';

/**
 * now = a GPU is free; later = one fits and is in use, cordoned, broken or not there yet; never = what is there, and matches,
 * can never hold it. Only never withholds a pod (with `fit: Require` later does too).
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
  readonly nodes: number;
  readonly total: number;
  /** Of nodes that take pods and can hold the model. */
  readonly free: number;
  /** Some of it can hold the model, now or later. */
  readonly fits: boolean;
  readonly memoryMiB?: number;
  /** MiB short of the need; absent when the memory is enough or unknown. */
  readonly missingMiB?: number;
  /** What keeps it from holding the model now, in a few words; absent where something is free. */
  readonly why?: string;
}

/** One Kubernetes node against the need, for people who ask about each. */
export interface NodeView {
  readonly node: string;
  readonly gpu: string;
  readonly total: number;
  readonly free: number;
  /** None = it would hold the model now. */
  readonly obstacles: readonly Obstacle[];
  readonly text: string;
}

interface Judged {
  readonly group: OfferGroup;
  readonly notMeant: Obstacle | undefined;
  readonly obstacles: readonly Obstacle[];
  /** The most that is free on one node, the pod's own share included. */
  readonly mostFree: number;
}

/** Judges one need against all offers and says why. Total: any input gives a verdict. */
export const planFit = (need: GpuNeed, limits: FitLimits, offers: readonly GpuOffer[]): FitVerdict => {
  const resourceName = resourceOf(limits);
  const count = wantedCount(need, limits);
  const needs = `${need.model} (needs ${count === 1 ? '' : `${count} GPUs, each `}${grouped(wantedMiB(need, limits))} MiB)`;
  const judged = groupsOf(offers, resourceName, limits).map((group) => judge(group, need, limits, offers));
  const meant = judged.filter((j) => j.notMeant === undefined);
  const pools = poolsOf(meant.length > 0 ? meant : judged, count);
  const explained = pools.map((p) => `${p.name} ${p.why ?? `${p.free} of ${p.total} free`}`).join('; ');
  const verdict = (kind: FitVerdict['kind'], reason: FitReason, message: string, gpu?: OfferKind): FitVerdict => ({
    kind,
    reason,
    message: bounded(message),
    pools,
    ...(gpu === undefined ? {} : { gpu: brief(gpu) }),
  });
  const later = (reason: FitReason, message: string, gpu?: OfferKind): FitVerdict =>
    verdict('later', reason, message, gpu);

  if (judged.length === 0) return later(...absent(needs, resourceName, limits, offers));
  if (meant.length === 0) {
    const first = judged.find((j) => j.notMeant?.kind === 'taint') ?? judged[0];
    return first?.notMeant?.kind === 'taint'
      ? later('TaintNotTolerated', `no node may be used for ${needs}: ${explained}`)
      : later(
          'NoMatchingProduct',
          `no node has the product ${limits.product} for ${needs}; there are ${names(judged)}`,
        );
  }
  const fitting = meant.filter((j) => !j.obstacles.some(isHard));
  if (fitting.length === 0)
    return verdict('never', reasonOf(nearest(meant)?.obstacles[0]), `no GPU fits ${needs}: ${explained}`);
  const open = fitting.filter((j) => j.obstacles.length === 0);
  const free = open.find((j) => j.mostFree >= count)?.group.kind;
  if (free) {
    const memory = free.memoryMiB === undefined ? 'memory not labelled' : `${grouped(free.memoryMiB)} MiB each`;
    return verdict('now', 'FitFound', `${needs} fits ${kindName(free)}, ${memory}`, free);
  }
  if (open.length === 0) {
    const [first] = fitting;
    return later(reasonOf(first?.obstacles[0]), `no GPU can be used for ${needs}: ${explained}`, first?.group.kind);
  }
  return later('NoSpareGPU', `no GPU is free for ${needs}: ${explained}`, open[0]?.group.kind);
};

/** Each node that offers the wanted resource, or any GPU where none does. Nodes that would hold the model come first. */
export const viewNodes = (need: GpuNeed, limits: FitLimits, offers: readonly GpuOffer[]): NodeView[] => {
  const named = offersOf(offers, resourceOf(limits));
  const count = wantedCount(need, limits);
  return named
    .map((o) => {
      const lacks = notSelected(o.node, limits);
      const other = notMeant(o, limits);
      const free = o.free + ownShare(limits, o.node.name, o.resourceName);
      const obstacles: Obstacle[] = [
        ...(lacks === undefined ? [] : [{ kind: 'selector', lacks } as const]),
        ...(other === undefined ? [] : [other]),
        ...obstaclesOf(o, need, limits),
        ...(free < count && o.total >= count ? [{ kind: 'inUse', free, total: o.total, wanted: count } as const] : []),
      ];
      const text = obstacles.length === 0 ? `${free} of ${o.total} free` : obstacles.map(obstacleText).join('; ');
      return { node: o.node.name, gpu: kindName(o), total: o.total, free, obstacles, text };
    })
    .sort((a, b) => a.obstacles.length - b.obstacles.length || (a.node < b.node ? -1 : 1));
};

const judge = (group: OfferGroup, need: GpuNeed, limits: FitLimits, offers: readonly GpuOffer[]): Judged => ({
  group,
  notMeant: notMeant(group.kind, limits),
  obstacles: obstaclesOf(group.kind, need, limits),
  mostFree: Math.max(group.mostFree, freeForOwn(group, limits.own, offers)),
});

const ownShare = ({ own }: FitLimits, node: string, resourceName: string): number =>
  own !== undefined && own.node === node && own.resourceName === resourceName ? own.count : 0;

/** Nothing was selected: because nobody offers it, or because the selector excludes those who do. */
const absent = (
  needs: string,
  resourceName: string,
  limits: FitLimits,
  offers: readonly GpuOffer[],
): [FitReason, string] => {
  const named = offersOf(offers, resourceName);
  const [first] = named;
  if (first !== undefined)
    return [
      'NoNodeSelected',
      `no node that offers ${resourceName} is selected for ${needs}: all ${named.length} lack ${notSelected(first.node, limits)}`,
    ];
  const { migProfile } = limits;
  if (migProfile === undefined)
    return ['NoGPUNodes', `no node offers ${resourceName} for ${needs}; an autoscaler may add one`];
  const whole = offers.find((o) => o.product?.endsWith(`-MIG-${migProfile}`));
  const offered = [...new Set(offers.flatMap((o) => o.migProfile ?? []))].sort();
  const instead =
    whole !== undefined
      ? `${whole.product} offers it as ${whole.resourceName} (MIG strategy single): write that as gpu.product and leave migProfile out`
      : offered.length > 0
        ? `there are ${offered.join(', ')}`
        : 'no node is cut into slices';
  return ['NoMatchingMIGProfile', `no node offers the MIG profile ${migProfile} for ${needs}; ${instead}`];
};

const REASONS: Readonly<Record<Obstacle['kind'], FitReason>> = {
  selector: 'NoNodeSelected',
  product: 'NoMatchingProduct',
  taint: 'TaintNotTolerated',
  memory: 'InsufficientGPUMemory',
  count: 'InsufficientGPUs',
  shares: 'InsufficientGPUs',
  capability: 'ComputeCapabilityTooLow',
  disk: 'InsufficientDisk',
  driver: 'DriverTooOld',
  problem: 'GPUProblem',
  notReady: 'NodeNotReady',
  cordoned: 'NodeCordoned',
  inUse: 'NoSpareGPU',
};
const reasonOf = (o: Obstacle | undefined): FitReason => (o === undefined ? 'NoSpareGPU' : REASONS[o.kind]);

const short = (j: Judged): number =>
  j.obstacles.reduce((most, o) => Math.max(most, o.kind === 'memory' ? o.missingMiB : 0), 0);

/** The group that lacks the least explains best. */
const nearest = (judged: readonly Judged[]): Judged | undefined =>
  judged.toSorted(
    (a, b) => a.obstacles.filter(isHard).length - b.obstacles.filter(isHard).length || short(a) - short(b),
  )[0];

/** `NVIDIA-A100 3g.40gb`, or the resource where the product is not labelled. */
export const kindName = (o: OfferKind): string =>
  `${o.product ?? (o.migProfile === undefined ? o.resourceName : 'MIG')}${o.migProfile === undefined ? '' : ` ${o.migProfile}`}`;

const names = (judged: readonly Judged[]): string =>
  [...new Set(judged.map((j) => kindName(j.group.kind)))].sort().join(', ');

const brief = (o: OfferKind): NonNullable<FitVerdict['gpu']> => ({
  ...(o.product === undefined ? {} : { product: o.product }),
  ...(o.memoryMiB === undefined ? {} : { memoryMiB: o.memoryMiB }),
  ...(o.migProfile === undefined ? {} : { migProfile: o.migProfile }),
});

/** By characters, as conditions are. */
const bounded = (message: string): string => {
  if (message.length <= 256) return message;
  const characters = Array.from(message);
  return characters.length <= 256 ? message : `${characters.slice(0, 255).join('')}…`;
};

/** Groups of one kind of GPU taken together, explained by the one that lacks the least. */
const poolsOf = (judged: readonly Judged[], count: number): PoolView[] => {
  const byName = new Map<string, Judged[]>();
  for (const j of judged) {
    const name = kindName(j.group.kind);
    const list = byName.get(name);
    if (list) list.push(j);
    else byName.set(name, [j]);
  }
  return [...byName]
    .map(([name, all]): PoolView => {
      const fitting = all.filter((j) => j.notMeant === undefined && !j.obstacles.some(isHard));
      const open = fitting.filter((j) => j.obstacles.length === 0);
      const best = open[0] ?? fitting[0] ?? nearest(all);
      const sum = (list: readonly Judged[], of: 'total' | 'free' | 'nodes'): number =>
        list.reduce((n, j) => n + j.group[of], 0);
      const memory = best?.group.kind.memoryMiB;
      const missing = best === undefined ? 0 : short(best);
      const first = best?.notMeant ?? best?.obstacles[0];
      const mostFree = Math.max(0, ...open.map((j) => j.mostFree));
      const total = sum(open.length > 0 ? open : all, 'total');
      const why =
        first !== undefined
          ? obstacleText(first)
          : mostFree < count
            ? obstacleText({ kind: 'inUse', free: mostFree, total, wanted: count })
            : undefined;
      return {
        name,
        nodes: sum(all, 'nodes'),
        total: sum(all, 'total'),
        free: sum(open, 'free'),
        fits: fitting.length > 0,
        ...(memory === undefined ? {} : { memoryMiB: memory }),
        ...(missing === 0 ? {} : { missingMiB: missing }),
        ...(why === undefined ? {} : { why }),
      };
    })
    .sort((a, b) => (a.name < b.name ? -1 : 1));
};
