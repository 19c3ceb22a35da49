import { migResource } from './accelerators.ts';
import type { GpuOffer } from './inventory.ts';
import type { FitLimits, OfferKind } from './obstacles.ts';
import { notSelected, type Selection } from './select.ts';

/** Offers that differ in nothing but the node's name and what is free: judged once. */
export interface OfferGroup {
  readonly key: string;
  /** Of any member: stands for all. */
  readonly kind: OfferKind;
  readonly nodes: number;
  readonly total: number;
  readonly free: number;
  /** The most that is free on one node. */
  readonly mostFree: number;
}

interface Grouping {
  readonly byResource: Map<string, readonly GpuOffer[]>;
  readonly selected: Map<string, readonly OfferGroup[]>;
}

/** A fleet has few selectors; whoever has more pays for grouping again. */
const MAX_SELECTIONS = 256;

/** Groupings live as long as the list of offers: one list is one state of the cluster. */
const groupings = new WeakMap<readonly GpuOffer[], Grouping>();

/** The resource that a node with these limits asks for. */
export const resourceOf = (limits: Pick<FitLimits, 'resourceName' | 'migProfile'>): string =>
  limits.migProfile === undefined ? limits.resourceName : migResource(limits.migProfile);

/** What would be free for the pod that holds GPUs itself, on its own node; 0 where that is not of the group. */
export const freeForOwn = ({ key }: OfferGroup, own: FitLimits['own'], offers: readonly GpuOffer[]): number => {
  if (own === undefined) return 0;
  const at = offersOf(offers, own.resourceName).find((o) => o.node.name === own.node);
  return at !== undefined && keyOf(at) === key ? Math.min(at.total, at.free + own.count) : 0;
};

/** All offers of one resource. */
export const offersOf = (offers: readonly GpuOffer[], resourceName: string): readonly GpuOffer[] =>
  groupingOf(offers).byResource.get(resourceName) ?? [];

/** Offers of one resource on selected nodes, grouped; computed once per list and selection. */
export const groupsOf = (
  offers: readonly GpuOffer[],
  resourceName: string,
  selection: Selection,
): readonly OfferGroup[] => {
  const { selected } = groupingOf(offers);
  const key = JSON.stringify([resourceName, selection.nodeSelector ?? {}, selection.affinity ?? []]);
  const known = selected.get(key);
  if (known) return known;
  const groups = group(offersOf(offers, resourceName).filter((o) => notSelected(o.node, selection) === undefined));
  if (selected.size >= MAX_SELECTIONS) selected.clear();
  selected.set(key, groups);
  return groups;
};

const groupingOf = (offers: readonly GpuOffer[]): Grouping => {
  const known = groupings.get(offers);
  if (known) return known;
  const byResource = new Map<string, GpuOffer[]>();
  for (const offer of offers) {
    const list = byResource.get(offer.resourceName);
    if (list) list.push(offer);
    else byResource.set(offer.resourceName, [offer]);
  }
  const made = { byResource, selected: new Map() };
  groupings.set(offers, made);
  return made;
};

/** Keys live as long as the facts of their node. */
const keys = new WeakMap<OfferKind['node'], Map<string, string>>();

const keyOf = (o: OfferKind): string => {
  const known = keys.get(o.node) ?? new Map<string, string>();
  const key = known.get(o.resourceName) ?? makeKey(o);
  known.set(o.resourceName, key);
  keys.set(o.node, known);
  return key;
};

/** Everything that a judgement rests on, but labels that selectors ask for and what is in use. */
const makeKey = (o: OfferKind): string =>
  JSON.stringify([
    o.resourceName,
    o.product,
    o.memoryMiB,
    o.migProfile,
    o.computeCapability,
    o.driver,
    o.shares,
    o.total,
    o.node.cordoned,
    o.node.problem,
    o.node.diskMiB,
    o.node.taints,
  ]);

const group = (offers: readonly GpuOffer[]): OfferGroup[] => {
  const groups = new Map<string, { -readonly [K in keyof OfferGroup]: OfferGroup[K] }>();
  for (const o of offers) {
    const key = keyOf(o);
    const g = groups.get(key);
    if (g === undefined) groups.set(key, { key, kind: o, nodes: 1, total: o.total, free: o.free, mostFree: o.free });
    else {
      g.nodes += 1;
      g.total += o.total;
      g.free += o.free;
      g.mostFree = Math.max(g.mostFree, o.free);
    }
  }
  return [...groups.values()];
};
