import { migResource } from './accelerators.ts';
import type { FitLimits, OfferKind } from './obstacles.ts';
import type { GpuOffer } from './offers.ts';
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

/** What a group is counted from. */
interface Counted extends Omit<OfferGroup, 'mostFree' | 'free'> {
  free: number;
  /** How many of its nodes have so many free. */
  readonly frees: Map<number, number>;
}

/** The offers of one resource on the nodes of one selection. */
interface Selected {
  readonly resourceName: string;
  readonly selection: Selection;
  readonly counted: ReadonlyMap<string, Counted>;
  readonly groups: readonly OfferGroup[];
}

interface Named {
  readonly list: readonly GpuOffer[];
  /** Where a node's offer stands in it. */
  readonly at: ReadonlyMap<string, number>;
}

interface Grouping {
  readonly byResource: ReadonlyMap<string, Named>;
  readonly selected: Map<string, Selected>;
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
  const named = groupingOf(offers).byResource.get(own.resourceName);
  const at = named?.list[named.at.get(own.node) ?? -1];
  return at !== undefined && keyOf(at) === key ? Math.min(at.total, at.free + own.count) : 0;
};

/** All offers of one resource. */
export const offersOf = (offers: readonly GpuOffer[], resourceName: string): readonly GpuOffer[] =>
  groupingOf(offers).byResource.get(resourceName)?.list ?? [];

/** Offers of one resource on selected nodes, grouped; computed once per list and selection. */
export const groupsOf = (
  offers: readonly GpuOffer[],
  resourceName: string,
  { nodeSelector = {}, affinity = [] }: Selection,
): readonly OfferGroup[] => {
  const { selected } = groupingOf(offers);
  const key = JSON.stringify([resourceName, nodeSelector, affinity]);
  const known = selected.get(key);
  if (known) return known.groups;
  const selection = { nodeSelector, affinity };
  const counted = count(offersOf(offers, resourceName).filter((o) => notSelected(o.node, selection) === undefined));
  const groups = shown(counted);
  if (selected.size >= MAX_SELECTIONS) selected.clear();
  selected.set(key, { resourceName, selection, counted, groups });
  return groups;
};

/**
 * Gives the list `to` the groupings of `from`, which differs only in what is free: pairs of the same offer before and
 * after. A scale-up changes one pod between two decisions; grouping a thousand nodes again for each is what this saves.
 */
export const carryOver = (
  from: readonly GpuOffer[],
  to: readonly GpuOffer[],
  changes: readonly (readonly [GpuOffer, GpuOffer])[],
): void => {
  const old = groupings.get(from);
  if (old === undefined || changes.length > Math.max(64, to.length / 4)) return;
  const byResource = new Map(old.byResource);
  for (const resourceName of new Set(changes.map(([, after]) => after.resourceName))) {
    const named = old.byResource.get(resourceName);
    if (named === undefined) return;
    const list = [...named.list];
    for (const [, after] of changes)
      if (after.resourceName === resourceName) list[named.at.get(after.node.name) ?? -1] = after;
    byResource.set(resourceName, { ...named, list });
  }
  const selected = new Map<string, Selected>();
  for (const [key, s] of old.selected) {
    const mine = changes.filter(
      ([before, after]) =>
        before.free !== after.free &&
        after.resourceName === s.resourceName &&
        notSelected(after.node, s.selection) === undefined,
    );
    selected.set(key, mine.length === 0 ? s : recount(s, mine));
  }
  groupings.set(to, { byResource, selected });
};

const recount = (s: Selected, changes: readonly (readonly [GpuOffer, GpuOffer])[]): Selected => {
  const counted = new Map([...s.counted].map(([key, g]) => [key, { ...g, frees: new Map(g.frees) }]));
  for (const [before, after] of changes) {
    const g = counted.get(keyOf(after));
    if (g === undefined) continue;
    g.free += after.free - before.free;
    addTo(g.frees, before.free, -1);
    addTo(g.frees, after.free, 1);
  }
  return { ...s, counted, groups: shown(counted) };
};

const groupingOf = (offers: readonly GpuOffer[]): Grouping => {
  const known = groupings.get(offers);
  if (known) return known;
  const lists = new Map<string, GpuOffer[]>();
  for (const offer of offers) {
    const list = lists.get(offer.resourceName);
    if (list) list.push(offer);
    else lists.set(offer.resourceName, [offer]);
  }
  const byResource = new Map(
    [...lists].map(([name, list]): [string, Named] => [
      name,
      { list, at: new Map(list.map((o, i) => [o.node.name, i])) },
    ]),
  );
  const made = { byResource, selected: new Map<string, Selected>() };
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

const count = (offers: readonly GpuOffer[]): Map<string, Counted> => {
  const groups = new Map<string, { -readonly [K in keyof Counted]: Counted[K] }>();
  for (const o of offers) {
    const key = keyOf(o);
    const g = groups.get(key);
    if (g === undefined)
      groups.set(key, { key, kind: o, nodes: 1, total: o.total, free: o.free, frees: new Map([[o.free, 1]]) });
    else {
      g.nodes += 1;
      g.total += o.total;
      g.free += o.free;
      addTo(g.frees, o.free, 1);
    }
  }
  return groups;
};

const addTo = (counts: Map<number, number>, value: number, n: 1 | -1): void => {
  const now = (counts.get(value) ?? 0) + n;
  if (now === 0) counts.delete(value);
  else counts.set(value, now);
};

const shown = (counted: ReadonlyMap<string, Counted>): OfferGroup[] =>
  [...counted.values()].map(({ frees, ...group }) => ({ ...group, mostFree: Math.max(...frees.keys()) }));
