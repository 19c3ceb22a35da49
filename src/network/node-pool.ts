import type { Address } from '../protocol/index.ts';
import type { DispatchJob, DispatchNode } from './dispatch-types.ts';
import { Pace } from './pace.ts';

interface Member {
  view: DispatchNode;
  /** Offers not yet ended. */
  readonly open: Set<string>;
  /** Slow or silent lately: taken only when nobody else can. */
  penalty: { until: number; strikes: number };
}

/** Random picks before the whole list is searched: enough to find two free nodes when most are. */
const PICKS = 8;
const PENALTY_MS = 30_000;

/**
 * The nodes and what each has open. `pick` is power of two choices: of two random eligible nodes the one wins that would be
 * done first, by what it has open and how slow it was lately; penalised ones come last. Pure but for the injected random.
 */
export class NodePool {
  readonly #random: () => number;
  readonly #members = new Map<Address, Member>();
  readonly #byModel = new Map<string, Address[]>();
  readonly #pace = new Pace();

  constructor(random: () => number) {
    this.#random = random;
  }

  set(view: DispatchNode): void {
    const member = this.#members.get(view.node);
    if (member) {
      const before = member.view;
      member.view = view;
      for (const model of before.models.keys()) if (!view.models.has(model)) this.#unlist(model, view.node);
      for (const model of view.models.keys()) if (!before.models.has(model)) this.#list(model, view.node);
    } else {
      this.#members.set(view.node, { view, open: new Set(), penalty: { until: 0, strikes: 0 } });
      for (const model of view.models.keys()) this.#list(model, view.node);
    }
  }

  open(node: Address, jobId: string): void {
    this.#members.get(node)?.open.add(jobId);
  }
  close(node: Address, jobId: string): void {
    this.#members.get(node)?.open.delete(jobId);
  }
  openOn(node: Address): readonly string[] {
    return [...(this.#members.get(node)?.open ?? [])];
  }

  /** A job of this sort took `ms` for each token of its answer. */
  measured(node: Address, job: DispatchJob, ms: number, now: number): void {
    this.#pace.measured(node, sortOf(job), ms, now);
  }

  /** Passes a node over for a while that grows with repetition and heals with time. */
  penalise(node: Address, now: number): void {
    const member = this.#members.get(node);
    if (!member) return;
    const strikes = now > member.penalty.until + 10 * PENALTY_MS ? 1 : Math.min(member.penalty.strikes + 1, 6);
    member.penalty = { strikes, until: now + PENALTY_MS * 2 ** (strikes - 1) };
  }

  /** True when some node could serve this job now or once it is less busy. */
  canServe(job: DispatchJob): boolean {
    return (this.#byModel.get(job.model) ?? []).some((id) => {
      const member = this.#members.get(id);
      return member !== undefined && serves(member.view, job);
    });
  }

  /** The node to offer to, or undefined when none has room. */
  pick(job: DispatchJob, avoid: ReadonlyMap<Address, number>, now: number): Address | undefined {
    const list = this.#byModel.get(job.model);
    if (!list || list.length === 0) return undefined;
    const free = (id: Address, penalised: boolean): Member | undefined => {
      const m = this.#members.get(id);
      return m &&
        serves(m.view, job) &&
        m.open.size < m.view.capacity &&
        (avoid.get(id) ?? 0) <= now &&
        (penalised || m.penalty.until <= now)
        ? m
        : undefined;
    };
    const found: Member[] = [];
    const at = (): Address => list[Math.min(list.length - 1, Math.floor(this.#random() * list.length))] as Address;
    for (let i = 0; i < PICKS && found.length < 2 && list.length > PICKS; i++) {
      const member = free(at(), false);
      if (member && !found.includes(member)) found.push(member);
    }
    if (found.length < 2) {
      const all = list.map((id) => free(id, false)).filter((m) => m !== undefined);
      const pool = all.length > 0 ? all : list.map((id) => free(id, true)).filter((m) => m !== undefined);
      found.length = 0;
      for (let i = 0; i < 2 && pool.length > 0; i++)
        found.push(...pool.splice(Math.min(pool.length - 1, Math.floor(this.#random() * pool.length)), 1));
    }
    const [a, b] = found;
    if (!a) return undefined;
    const sort = sortOf(job);
    const wait = ({ view, open }: Member): number =>
      ((open.size + 1) / Math.max(1, view.slots)) * this.#pace.factor(view.node, sort, now);
    return (b && wait(b) < wait(a) ? b : a).view.node;
  }

  #list(model: string, node: Address): void {
    const list = this.#byModel.get(model);
    if (list) list.push(node);
    else this.#byModel.set(model, [node]);
  }
  #unlist(model: string, node: Address): void {
    const list = this.#byModel.get(model) ?? [];
    const at = list.indexOf(node);
    if (at >= 0) list.splice(at, 1);
    if (list.length === 0) this.#byModel.delete(model);
  }
}

const serves = (view: DispatchNode, job: DispatchJob): boolean =>
  view.offers &&
  view.models.get(job.model) === job.modelDigest &&
  (job.subcloud === undefined ? !view.isolated : view.subclouds.includes(job.subcloud));

/** What takes about as long for each token. */
const sortOf = (job: DispatchJob): string => `${job.kind} ${job.model}`;
