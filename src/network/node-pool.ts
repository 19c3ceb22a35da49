import type { Address } from '../protocol/index.ts';
import type { DispatchJob, DispatchNode } from './dispatch-types.ts';
import { Pace } from './pace.ts';
import { Roster } from './roster.ts';

interface Member {
  view: DispatchNode;
  /** Offers not yet ended. */
  readonly open: Set<string>;
  /** Slow or silent lately: taken only when nobody else can. */
  penalty: { until: number; strikes: number };
}

/** Random draws before all nodes with room are looked at: enough to find two that may serve when most may. */
const DRAWS = 8;
const PENALTY_MS = 30_000;

/**
 * The nodes and what each has open. `pick` is power of two choices: of two random eligible nodes the one wins that would be
 * done first, by what it has open and how slow it was lately; penalised ones come last. Pure but for the injected random.
 */
export class NodePool {
  readonly #random: () => number;
  readonly #members = new Map<Address, Member>();
  /** By model: who takes offers of it, and who of them has room now. */
  readonly #takers = new Map<string, Roster<Member>>();
  readonly #roomy = new Map<string, Roster<Member>>();
  readonly #pace = new Pace();

  constructor(random: () => number) {
    this.#random = random;
  }

  set(view: DispatchNode): void {
    const member = this.#members.get(view.node);
    if (!member) {
      const made = { view, open: new Set<string>(), penalty: { until: 0, strikes: 0 } };
      this.#members.set(view.node, made);
      this.#list(made);
      return;
    }
    for (const model of member.view.models.keys())
      if (!view.models.has(model)) {
        this.#takers.get(model)?.remove(member);
        this.#roomy.get(model)?.remove(member);
      }
    member.view = view;
    this.#list(member);
  }

  open(node: Address, jobId: string): void {
    const member = this.#members.get(node);
    member?.open.add(jobId);
    if (member) this.#list(member);
  }
  close(node: Address, jobId: string): void {
    const member = this.#members.get(node);
    member?.open.delete(jobId);
    if (member) this.#list(member);
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
    return this.#takers.get(job.model)?.all.some(({ view }) => serves(view, job)) ?? false;
  }

  /** The node to offer to, or undefined when none has room. */
  pick(job: DispatchJob, avoid: ReadonlyMap<Address, number>, now: number): Address | undefined {
    const roomy = this.#roomy.get(job.model);
    if (!roomy || roomy.size === 0) return undefined;
    const may = (m: Member): boolean => serves(m.view, job) && (avoid.get(m.view.node) ?? 0) <= now;
    const inFavour = (m: Member): boolean => m.penalty.until <= now;
    const found: Member[] = [];
    for (let i = 0; i < DRAWS && found.length < 2 && roomy.size > DRAWS; i++) {
      const member = roomy.draw(this.#random());
      if (member && may(member) && inFavour(member) && !found.includes(member)) found.push(member);
    }
    if (found.length === 0) {
      const all = roomy.all.filter(may);
      const favoured = all.filter(inFavour);
      const pool = favoured.length > 0 ? favoured : all;
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

  #list(member: Member): void {
    const { view, open } = member;
    for (const model of view.models.keys()) {
      listed(this.#takers, model, member, view.offers);
      listed(this.#roomy, model, member, view.offers && open.size < view.capacity);
    }
  }
}

const listed = (rosters: Map<string, Roster<Member>>, model: string, member: Member, belongs: boolean): void => {
  const roster = rosters.get(model);
  if (!belongs) roster?.remove(member);
  else if (roster) roster.add(member);
  else {
    const made = new Roster<Member>();
    made.add(member);
    rosters.set(model, made);
  }
};

const serves = (view: DispatchNode, job: DispatchJob): boolean =>
  view.offers &&
  view.models.get(job.model) === job.modelDigest &&
  (job.subcloud === undefined ? !view.isolated : view.subclouds.includes(job.subcloud));

/** What takes about as long for each token. */
const sortOf = (job: DispatchJob): string => `${job.kind} ${job.model}`;
