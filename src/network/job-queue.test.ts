import { expect } from 'chai';
import fc from 'fast-check';
import type { TrackedJob } from './dispatch-types.ts';
import { JobQueue } from './job-queue.ts';
import { Roster } from './roster.ts';

const tracked = (jobId: string, model: string, priority: number, deadline: number, arrived: number): TrackedJob => ({
  job: { jobId, kind: 'completions', model, modelDigest: `sha256:${'a'.repeat(64)}`, priority, deadline },
  arrived,
  phase: { kind: 'queued', since: arrived },
  attempt: 0,
  offeredAt: arrived,
  losses: 0,
  seen: false,
  avoid: new Map(),
});

describe('the queue of jobs', () => {
  const any = fc.record({
    model: fc.constantFrom('a', 'b', 'c'),
    priority: fc.nat(2),
    deadline: fc.nat(3),
  });
  const room = fc.record({ a: fc.nat(4), b: fc.nat(4), c: fc.nat(4), together: fc.nat(8) });

  it('serves groups as one queue in order would, each until nobody has room for it', () => {
    fc.assert(
      fc.property(fc.array(any, { maxLength: 30 }), room, (jobs, has) => {
        const all = jobs.map((j, i) => tracked(`${i}`, j.model, j.priority, j.deadline, i));
        const queue = new JobQueue();
        for (const t of all) queue.add(t);
        const rooms = () => {
          const left: Record<string, number> = { ...has };
          return (t: TrackedJob): boolean => {
            if ((left[t.job.model] ?? 0) === 0 || left.together === 0) return false;
            left[t.job.model] = (left[t.job.model] ?? 0) - 1;
            left.together = (left.together ?? 0) - 1;
            return true;
          };
        };
        const fits = rooms();
        const served: string[] = [];
        queue.serve((t) => {
          if (!fits(t)) return 'full';
          served.push(t.job.jobId);
          return 'placed';
        });
        const fitsToo = rooms();
        const order = [...all].sort(
          (x, y) => y.job.priority - x.job.priority || x.job.deadline - y.job.deadline || x.arrived - y.arrived,
        );
        const wanted = order.filter(fitsToo).map((t) => t.job.jobId);
        expect(served).to.deep.equal(wanted);
        expect(queue.size).to.equal(all.length - served.length);
        const rest = queue.clear().map((t) => t.job.jobId);
        expect([...rest, ...served].sort()).to.deep.equal(all.map((t) => t.job.jobId).sort());
      }),
    );
  });

  it('looks at one job of a kind that nobody has room for, however many wait', () => {
    const queue = new JobQueue();
    for (let i = 0; i < 1_000; i++) queue.add(tracked(`${i}`, i % 2 === 0 ? 'a' : 'b', 5, 1, i));
    let looks = 0;
    queue.serve(() => {
      looks++;
      return 'full';
    });
    expect([looks, queue.size]).to.deep.equal([2, 1_000]);
  });

  it('passes over a job that alone finds no room, and forgets one that is removed', () => {
    const queue = new JobQueue();
    const [a, b, c] = ['a', 'b', 'c'].map((id, i) => tracked(id, 'm', 5, 1, i)) as [TrackedJob, TrackedJob, TrackedJob];
    for (const t of [c, a, b]) queue.add(t);
    queue.remove(b);
    queue.remove(b);
    const seen: string[] = [];
    queue.serve((t) => {
      seen.push(t.job.jobId);
      return t === a ? 'passed' : 'placed';
    });
    expect(seen).to.deep.equal(['a', 'c']);
    expect(queue.size).to.equal(1);
  });
});

describe('a roster', () => {
  it('holds what a set would, and every place of it can be drawn', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.boolean(), fc.nat(9))), (steps) => {
        const roster = new Roster<number>();
        const set = new Set<number>();
        for (const [add, n] of steps) {
          if (add) {
            roster.add(n);
            set.add(n);
          } else {
            roster.remove(n);
            set.delete(n);
          }
        }
        expect([...roster.all].sort()).to.deep.equal([...set].sort());
        const drawn = Array.from({ length: roster.size }, (_, i) => roster.draw((i + 0.5) / roster.size));
        expect(new Set(drawn).size).to.equal(set.size);
        expect(roster.draw(0.9999999)).to.equal(roster.all.at(-1));
      }),
    );
  });
});
