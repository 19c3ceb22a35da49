import { expect } from 'chai';
import fc from 'fast-check';
import { FakeClock, settle } from '../../test/support/fake-clock.ts';
import { WorkQueue } from './queue.ts';

const make = (options: { minIntervalMs?: number } = {}): { clock: FakeClock; queue: WorkQueue } => {
  const clock = new FakeClock();
  return { clock, queue: new WorkQueue({ name: 'q', clock, ...options }) };
};

describe('WorkQueue', () => {
  it('holds a key once however often it is added', async () => {
    const { queue } = make();
    for (let i = 0; i < 3; i++) queue.add('a', { reason: `r${i}` });
    expect(queue.depth).to.equal(1);
    expect(await queue.next()).to.deep.include({ key: 'a', reason: 'r0', attempt: 1 });
  });

  it('gives live before retry before resync, and first in first out within', async () => {
    const { queue } = make();
    queue.add('resync', { priority: 'resync' });
    queue.add('retry', { priority: 'retry' });
    queue.add('live1');
    queue.add('live2');
    queue.add('promoted', { priority: 'resync' });
    queue.add('promoted', { priority: 'live' });
    const got: string[] = [];
    for (let i = 0; i < 5; i++) got.push((await queue.next())?.key ?? '');
    expect(got).to.deep.equal(['live1', 'live2', 'promoted', 'retry', 'resync']);
  });

  it('takes turns over flows, so that a scale-up by hundreds delays a change of others by one turn', async () => {
    const clock = new FakeClock();
    const queue = new WorkQueue({ name: 'q', clock, flowOf: (key) => key.split('-')[0] ?? '' });
    for (let i = 0; i < 500; i++) queue.add(`fleet-${i}`);
    const waits: number[] = [];
    const open = new Map<string, number>();
    for (let turn = 0; turn < 500; turn++) {
      if (turn % 10 === 5) {
        queue.add(`single-${turn}`);
        open.set(`single-${turn}`, turn);
        // Each member wakes again, as its pod and its agent come up.
        queue.add(`fleet-${turn % 500}`);
      }
      const item = await queue.next();
      if (item === undefined) break;
      const since = open.get(item.key);
      if (since !== undefined) waits.push(turn - since);
      queue.done(item.key);
    }
    expect(waits).to.have.length(50);
    expect(Math.max(...waits), 'turns').to.be.at.most(1);
  });

  it('runs a key that was added while it ran exactly once more', async () => {
    const { queue } = make();
    queue.add('a');
    await queue.next();
    queue.add('a');
    queue.add('a');
    expect(queue.depth).to.equal(0);
    queue.done('a');
    expect((await queue.next())?.key).to.equal('a');
    queue.done('a');
    expect([queue.depth, queue.running, queue.delayed]).to.deep.equal([0, 0, 0]);
  });

  it('takes the earlier of two delays, and now before any delay', async () => {
    const { clock, queue } = make();
    queue.add('a', { afterMs: 5_000 });
    queue.add('a', { afterMs: 1_000 });
    queue.add('b', { afterMs: 1_000 });
    queue.add('b');
    expect((await queue.next())?.key).to.equal('b');
    await clock.advance(999);
    expect(queue.depth).to.equal(0);
    await clock.advance(1);
    expect((await queue.next())?.key).to.equal('a');
    await clock.advance(10_000);
    expect(queue.depth).to.equal(0);
  });

  it('doubles the delay of a key that fails, up to the cap, until it is forgotten', async () => {
    const { clock, queue } = make();
    const delays: number[] = [];
    for (let i = 0; i < 20; i++) {
      delays.push(queue.addRateLimited('a'));
      await clock.advance(1_000_000);
      const item = await queue.next();
      expect(item?.attempt).to.equal(i + 2);
      queue.done('a');
    }
    expect(delays.slice(0, 4)).to.deep.equal([5, 10, 20, 40]);
    expect(delays.at(-1)).to.equal(1_000_000);
    queue.forget('a');
    expect(queue.addRateLimited('a')).to.equal(5);
    queue.stop();
  });

  it('retries all keys together no faster than the bucket allows, whatever their own back-off', () => {
    const { queue } = make();
    const delays = Array.from({ length: 400 }, (_, i) => queue.addRateLimited(`k${i}`));
    expect(new Set(delays.slice(0, 300))).to.deep.equal(new Set([5]));
    expect(delays[399]).to.equal(2_000);
    queue.stop();
  });

  it('lets time pass between two starts of one key, without losing the add', async () => {
    const { clock, queue } = make({ minIntervalMs: 1_000 });
    queue.add('a');
    await queue.next();
    queue.done('a');
    queue.add('a');
    expect(queue.depth).to.equal(0);
    await clock.advance(1_000);
    await queue.next();
    queue.add('a');
    queue.done('a');
    expect([queue.depth, queue.delayed]).to.deep.equal([0, 1]);
    await clock.advance(1_000);
    expect(queue.depth).to.equal(1);
    queue.stop();
    await settle();
    expect(clock.waiting).to.equal(0);
  });

  it('sends those who wait home when it stops, and leaves no timer', async () => {
    const { clock, queue } = make();
    const waiting = queue.next();
    queue.add('later', { afterMs: 1_000 });
    queue.stop();
    expect(await waiting).to.equal(undefined);
    expect(await queue.next()).to.equal(undefined);
    await settle();
    expect(clock.waiting).to.equal(0);
  });

  it('property: no key runs twice at once, and every add is followed by a start of its key', async () => {
    const key = fc.constantFrom('a', 'b', 'c');
    const step = fc.oneof(
      fc.record({
        op: fc.constant('add' as const),
        key,
        after: fc.constantFrom(0, 0, 3, 50),
        priority: fc.constantFrom('live' as const, 'retry' as const, 'resync' as const),
      }),
      fc.record({ op: fc.constant('fail' as const), key }),
      fc.record({ op: fc.constant('tick' as const), ms: fc.integer({ min: 1, max: 20 }) }),
    );
    await fc.assert(
      fc.asyncProperty(
        fc.array(step, { maxLength: 30 }),
        fc.constantFrom(0, 10),
        fc.integer({ min: 1, max: 3 }),
        async (steps, minIntervalMs, workers) => {
          const { clock, queue } = make({ minIntervalMs });
          const running = new Set<string>();
          const owed = new Map<string, number>();
          const starts = new Map<string, number>();
          let broken = '';
          const work = async (): Promise<void> => {
            for (let item = await queue.next(); item; item = await queue.next()) {
              if (running.has(item.key)) broken = `${item.key} runs twice at once`;
              const last = starts.get(item.key);
              if (last !== undefined && clock.monotonic() - last < minIntervalMs)
                broken = `${item.key} started too soon`;
              starts.set(item.key, clock.monotonic());
              running.add(item.key);
              owed.delete(item.key);
              await clock.sleep(5);
              running.delete(item.key);
              queue.done(item.key);
            }
          };
          const all = Array.from({ length: workers }, work);
          for (const s of steps) {
            if (s.op === 'tick') await clock.advance(s.ms);
            else {
              owed.set(s.key, 1);
              if (s.op === 'add') queue.add(s.key, { afterMs: s.after, priority: s.priority });
              else queue.addRateLimited(s.key);
            }
          }
          await clock.advance(60_000);
          expect(broken).to.equal('');
          expect([...owed.keys()]).to.deep.equal([]);
          expect([queue.depth, queue.delayed, queue.running]).to.deep.equal([0, 0, 0]);
          queue.stop();
          await Promise.all(all);
          await settle();
          expect(clock.waiting).to.equal(0);
        },
      ),
      { numRuns: 60, seed: 7 },
    );
  });
});
