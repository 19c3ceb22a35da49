import type { DispatchJob, TrackedJob } from './dispatch-types.ts';

/** Higher priority first, then the earlier deadline, then who came first. */
const before = (a: TrackedJob, b: TrackedJob): boolean =>
  a.job.priority !== b.job.priority
    ? a.job.priority > b.job.priority
    : a.job.deadline !== b.job.deadline
      ? a.job.deadline < b.job.deadline
      : a.arrived < b.arrived;

/** Jobs that the same nodes may serve: when nobody has room for one, nobody has for the next. */
const alike = ({ model, modelDigest, subcloud }: DispatchJob): string => `${model} ${modelDigest} ${subcloud ?? ''}`;

/** What came of a job that was next: off the queue; nobody has room for any alike; nobody has for this one. */
export type Placing = 'placed' | 'full' | 'passed';

/** Jobs that wait, each group of alike ones in order, so that a long queue of a busy model costs nothing when nothing is free. */
export class JobQueue {
  readonly #groups = new Map<string, TrackedJob[]>();
  #size = 0;

  get size(): number {
    return this.#size;
  }
  add(t: TrackedJob): void {
    const key = alike(t.job);
    const jobs = this.#groups.get(key);
    this.#size++;
    if (!jobs) {
      this.#groups.set(key, [t]);
      return;
    }
    let low = 0;
    let high = jobs.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (before(t, jobs[middle] as TrackedJob)) high = middle;
      else low = middle + 1;
    }
    jobs.splice(low, 0, t);
  }
  remove(t: TrackedJob): void {
    const key = alike(t.job);
    const jobs = this.#groups.get(key);
    const at = jobs?.indexOf(t) ?? -1;
    if (!jobs || at < 0) return;
    jobs.splice(at, 1);
    this.#size--;
    if (jobs.length === 0) this.#groups.delete(key);
  }
  /** Takes all off, in no order. */
  clear(): readonly TrackedJob[] {
    const all = [...this.#groups.values()].flat();
    this.#groups.clear();
    this.#size = 0;
    return all;
  }
  /** Shows `place` one job after the other in the order of all, until none is left that somebody may have room for. */
  serve(place: (t: TrackedJob) => Placing): void {
    if (this.#size === 0) return;
    const open = [...this.#groups].map(([key, jobs]) => ({ key, jobs, at: 0 }));
    const next = ({ jobs, at }: (typeof open)[number]): TrackedJob => jobs[at] as TrackedJob;
    while (open.length > 0) {
      const first = open.reduce((a, b) => (before(next(b), next(a)) ? b : a));
      const placing = place(next(first));
      if (placing === 'placed') {
        first.jobs.splice(first.at, 1);
        this.#size--;
        if (first.jobs.length === 0) this.#groups.delete(first.key);
      } else first.at++;
      if (placing === 'full' || first.at >= first.jobs.length) open.splice(open.indexOf(first), 1);
    }
  }
}
