import { gpuLabels, isGpuResource } from './accelerators.ts';
import { carryOver } from './groups.ts';
import type { GpuOffer, NodeFacts, PodUse } from './offers.ts';

interface Machine {
  readonly facts: NodeFacts;
  /** For telling a real change from a heartbeat. */
  readonly text: string;
  offers: readonly GpuOffer[];
  /** Where its offers begin in the list. */
  at: number;
}

/**
 * All GPU offers of a cluster, kept up to date change by change: free = allocatable minus the requests of live pods. The
 * list that `offers` gives is the same array until something that matters has changed, so that what is derived from it can
 * be kept beside it (groups.ts).
 */
export class GpuInventory {
  /** Extended resources that count as GPUs because somebody asks for them. */
  readonly #asked = new Set<string>();
  readonly #machines = new Map<string, Machine>();
  readonly #pods = new Map<string, PodUse>();
  /** By machine, by resource; kept for machines that are not known (yet), too. */
  readonly #used = new Map<string, Map<string, number>>();
  /** undefined when machines came or went, so that it must be put in order again. */
  #list: readonly GpuOffer[] | undefined;
  /** Machines whose free GPUs have changed since the list was made. */
  readonly #moved = new Set<Machine>();

  /** Counts a resource of any name from now on: one that a node asks for is a GPU to it. */
  include(resourceName: string): void {
    if (isGpuResource(resourceName) || this.#asked.has(resourceName)) return;
    this.#asked.add(resourceName);
    for (const machine of this.#machines.values()) this.#count(machine);
    this.#list = undefined;
  }

  setNode(facts: NodeFacts): void {
    const text = JSON.stringify(facts);
    const known = this.#machines.get(facts.name);
    if (known?.text === text) return;
    const machine: Machine = { facts, text, offers: [], at: 0 };
    this.#machines.set(facts.name, machine);
    this.#count(machine);
    this.#list = undefined;
  }

  removeNode(name: string): void {
    if (this.#machines.delete(name)) this.#list = undefined;
  }

  /** @param key `namespace/name` */
  setPod(key: string, pod: PodUse): void {
    const before = this.#pods.get(key);
    this.#pods.set(key, pod);
    if (before !== undefined && sameUse(before, pod)) return;
    if (before !== undefined) this.#add(before, -1);
    this.#add(pod, 1);
  }

  removePod(key: string): void {
    const before = this.#pods.get(key);
    if (before === undefined) return;
    this.#pods.delete(key);
    this.#add(before, -1);
  }

  /** By name of the Kubernetes node. */
  offers(): readonly GpuOffer[] {
    if (this.#list === undefined) {
      const list: GpuOffer[] = [];
      for (const machine of [...this.#machines.values()].sort((a, b) => (a.facts.name < b.facts.name ? -1 : 1))) {
        machine.at = list.length;
        list.push(...machine.offers);
      }
      this.#list = list;
    } else if (this.#moved.size > 0) {
      const before = this.#list;
      const list = [...before];
      const changes: [GpuOffer, GpuOffer][] = [];
      for (const { at, offers } of this.#moved)
        for (const [i, offer] of offers.entries()) {
          changes.push([before[at + i] ?? offer, offer]);
          list[at + i] = offer;
        }
      carryOver(before, list, changes);
      this.#list = list;
    }
    this.#moved.clear();
    return this.#list;
  }

  #add({ nodeName, finished, requests }: PodUse, sign: 1 | -1): void {
    if (finished || nodeName === undefined) return;
    const entries = Object.entries(requests);
    if (entries.length === 0) return;
    const used = this.#used.get(nodeName) ?? new Map<string, number>();
    this.#used.set(nodeName, used);
    for (const [name, count] of entries) {
      const now = (used.get(name) ?? 0) + sign * count;
      if (now === 0) used.delete(name);
      else used.set(name, now);
    }
    if (used.size === 0) this.#used.delete(nodeName);
    const machine = this.#machines.get(nodeName);
    if (machine === undefined || machine.offers.length === 0) return;
    machine.offers = machine.offers.map((o) => ({ ...o, free: freeOf(o.total, used.get(o.resourceName)) }));
    this.#moved.add(machine);
  }

  #count(machine: Machine): void {
    const { facts } = machine;
    const used = this.#used.get(facts.name);
    machine.offers = Object.entries(facts.allocatable).flatMap(([resourceName, amount]) => {
      if (!isGpuResource(resourceName) && !this.#asked.has(resourceName)) return [];
      const total = Number.parseInt(amount, 10);
      if (!(total > 0)) return [];
      const free = freeOf(total, used?.get(resourceName));
      return [{ node: facts, resourceName, total, free, ...gpuLabels(facts.labels, resourceName) }];
    });
  }
}

const freeOf = (total: number, used = 0): number => Math.max(0, total - used);

const sameUse = (a: PodUse, b: PodUse): boolean => {
  if (a.nodeName !== b.nodeName || a.finished !== b.finished) return false;
  const [left, right] = [Object.entries(a.requests), Object.entries(b.requests)];
  return left.length === right.length && left.every(([name, count]) => b.requests[name] === count);
};

/**
 * The offers of one state of a cluster, for those who look once.
 * @param asked names of resources that count besides those known to be GPUs
 */
export const gpuOffers = (
  nodes: Iterable<NodeFacts>,
  pods: Iterable<PodUse>,
  asked: readonly string[] = [],
): readonly GpuOffer[] => {
  const inventory = new GpuInventory();
  for (const name of asked) inventory.include(name);
  let n = 0;
  for (const pod of pods) inventory.setPod(String(n++), pod);
  for (const node of nodes) inventory.setNode(node);
  return inventory.offers();
};
