import { Controller, done } from '../../src/kube/index.ts';
import { createLogger, systemClock } from '../../src/lib/index.ts';
import type { Figures } from './types.ts';

const FLEET = 500;
/** As often a node is looked at on its way to Ready. */
const LOOKS = 10;
const WORKERS = 8;
/** Of one look, most of it waiting for the API server. */
const WORK_MS = 10;

/** Waits (ms) of a key that is changed every 20 ms while 500 others of one flow come up, in a real controller. */
const waits = async (fair: boolean): Promise<{ waits: number[]; tookMs: number }> => {
  const looked = new Map<string, number>();
  const asked = new Map<string, number>();
  const got: number[] = [];
  let left = FLEET * LOOKS;
  const controller: Controller = new Controller({
    name: 'bench',
    clock: systemClock,
    log: createLogger('bench', 'error'),
    concurrency: WORKERS,
    sources: [],
    ...(fair ? { flowOf: (key: string) => key.split('-')[0] ?? '' } : {}),
    reconcile: async (key) => {
      const since = asked.get(key);
      asked.delete(key);
      if (since !== undefined) got.push(performance.now() - since);
      await systemClock.sleep(WORK_MS);
      if (!key.startsWith('fleet')) return done;
      left -= 1;
      const times = (looked.get(key) ?? 0) + 1;
      looked.set(key, times);
      if (times < LOOKS) controller.queue.add(key);
      return done;
    },
  });
  const stop = new AbortController();
  const working = controller.work(stop.signal, stop.signal);
  const begun = performance.now();
  for (let i = 0; i < FLEET; i++) controller.queue.add(`fleet-${i}`);
  for (let n = 0; left > 0; n++) {
    const key = `single-${n}`;
    asked.set(key, performance.now());
    controller.queue.add(key);
    await systemClock.sleep(20);
  }
  stop.abort();
  await working;
  return { waits: got.sort((a, b) => a - b), tookMs: performance.now() - begun };
};

const share = (sorted: readonly number[], p: number): string =>
  `${(sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * p))] ?? 0).toFixed(1)} ms`;

/** Goal: p99 ≤ 1 s for others while a fleet comes up. */
export const fairness: Figures = {
  name: `wait of other keys while a fleet of ${FLEET} comes up (${LOOKS} looks of ${WORK_MS} ms each, ${WORKERS} workers)`,
  figures: async () => {
    const lines: string[] = [];
    for (const [name, fair] of [
      ['in turns over flows', true],
      ['first in, first out', false],
    ] as const) {
      const { waits: all, tookMs } = await waits(fair);
      lines.push(
        `${name}: p50 ${share(all, 0.5)}, p99 ${share(all, 0.99)}, most ${share(all, 1)}, of ${all.length} changes; the fleet took ${(tookMs / 1000).toFixed(1)} s`,
      );
    }
    return lines;
  },
};
