import type { TrackedJob } from './dispatch-types.ts';

/** Higher priority first, then the earlier deadline, then who came first. */
const before = (a: TrackedJob, b: TrackedJob): boolean =>
  a.job.priority !== b.job.priority
    ? a.job.priority > b.job.priority
    : a.job.deadline !== b.job.deadline
      ? a.job.deadline < b.job.deadline
      : a.arrived < b.arrived;

/** Jobs that wait, kept in order by binary insertion. */
export class JobQueue {
  readonly #jobs: TrackedJob[] = [];

  get size(): number {
    return this.#jobs.length;
  }
  add(t: TrackedJob): void {
    let low = 0;
    let high = this.#jobs.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (before(t, this.#jobs[middle] as TrackedJob)) high = middle;
      else low = middle + 1;
    }
    this.#jobs.splice(low, 0, t);
  }
  remove(t: TrackedJob): void {
    const at = this.#jobs.indexOf(t);
    if (at >= 0) this.#jobs.splice(at, 1);
  }
  /** A copy in order: the queue may change while it is walked. */
  inOrder(): readonly TrackedJob[] {
    return this.#jobs.slice();
  }
}
