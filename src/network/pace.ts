/** How long one node takes for one sort of job, as measured lately. */
interface Sample {
  readonly ms: number;
  readonly at: number;
}

/** Weight of the newest measurement, of one node and of all together. */
const OWN = 0.3;
const ALL = 0.02;
/** A node that was not measured for so long is half as far from the others as it was. */
const HALF_LIFE_MS = 60_000;
const [FASTEST, SLOWEST] = [1 / 4, 8];

/**
 * Recent latency of nodes relative to all that do the same sort of work. Slowness is forgotten by and by, so a node that
 * was slow is tried again, and what it does then counts. Pure: time is given.
 */
export class Pace {
  readonly #typical = new Map<string, number>();
  readonly #nodes = new Map<string, Map<string, Sample>>();

  measured(node: string, sort: string, ms: number, now: number): void {
    const typical = this.#typical.get(sort);
    this.#typical.set(sort, typical === undefined ? ms : typical + ALL * (ms - typical));
    const samples = this.#nodes.get(node) ?? new Map<string, Sample>();
    this.#nodes.set(node, samples);
    const before = samples.get(sort);
    // the old one counts as far as it is not forgotten
    const old = before === undefined ? ms : before.ms * this.#share(before, now) + ms * (1 - this.#share(before, now));
    samples.set(sort, { ms: old + OWN * (ms - old), at: now });
  }

  /** 1 for a typical or unknown node, 2 for one that takes twice as long, between ¼ and 8. */
  factor(node: string, sort: string, now: number): number {
    const sample = this.#nodes.get(node)?.get(sort);
    const typical = this.#typical.get(sort) ?? 0;
    if (sample === undefined || typical <= 0) return 1;
    const ratio = Math.min(SLOWEST, Math.max(FASTEST, sample.ms / typical));
    return 1 + (ratio - 1) * this.#share(sample, now);
  }

  #share(sample: Sample, now: number): number {
    return 2 ** (-Math.max(0, now - sample.at) / HALF_LIFE_MS);
  }
}
