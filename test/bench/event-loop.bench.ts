import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { meanSd, quantile } from '../../hack/bench/stats.ts';
import {
  Controller,
  done,
  fixedConnection,
  KubeClient,
  kubeMetrics,
  Manager,
  objects,
  watch,
} from '../../src/kube/index.ts';
import { createLogger, Metrics, systemClock } from '../../src/lib/index.ts';
import { configMaps } from './peers/stamps.ts';
import type { Figures } from './types.ts';

const OBJECTS = 10_000;
const RUNS = 5;
const log = createLogger('bench', 'silent');

/** What the thread itself spent between two turns of the loop, ms: the same whatever else the machine does. */
class Slices {
  readonly all: number[] = [];
  #before = process.threadCpuUsage();
  #stopped = false;

  constructor() {
    const turn = (): void => {
      const now = process.threadCpuUsage();
      this.all.push((now.user + now.system - this.#before.user - this.#before.system) / 1000);
      this.#before = now;
      if (!this.#stopped) setImmediate(turn);
    };
    setImmediate(turn);
  }
  stop(): readonly number[] {
    this.#stopped = true;
    return this.all.filter((ms) => ms > 0.2); // turns in which nothing was done do not count
  }
}

/** One start of a manager: list, cache with an index, every key reconciled once, then a resync of all. */
const startOnce = async (url: string, streamingList: boolean): Promise<readonly number[]> => {
  const clock = systemClock;
  const metrics = kubeMetrics(new Metrics());
  const client = new KubeClient({ connection: fixedConnection(url), clock, metrics });
  const manager = new Manager({ client, clock, log, metrics });
  const indexers = { namespace: (o: { metadata?: { namespace?: string } }) => [o.metadata?.namespace ?? ''] };
  const maps = manager.cache(configMaps, { streamingList, indexers });
  const seen = new Set<string>();
  const stop = new AbortController();
  manager.add(
    new Controller({
      name: 'bench',
      clock,
      log,
      metrics,
      concurrency: 8,
      sources: [objects(maps)],
      reconcile: async (key) => {
        seen.add(key);
        if (seen.size === OBJECTS) stop.abort();
        return done;
      },
    }),
  );
  const slices = new Slices();
  await manager.run(stop.signal);
  await client.close();
  return slices.stop();
};

/** The yardstick: the same list in one answer, parsed at once. */
const wholeOnce = async (url: string): Promise<readonly number[]> => {
  const client = new KubeClient({ connection: fixedConnection(url), clock: systemClock });
  const slices = new Slices();
  const { signal } = new AbortController();
  for await (const event of watch(client, configMaps, { signal, pageSize: OBJECTS }))
    if (event.type === 'initDone') break;
  await client.close();
  return slices.stop();
};

/** Goal: no block over 25 ms at 10 000 objects. */
export const eventLoop: Figures = {
  name: `event loop while ${OBJECTS} objects are listed, cached and reconciled`,
  figures: async () => {
    const worker = new Worker(new URL('./peers/list-server.ts', import.meta.url), { workerData: OBJECTS });
    const [{ port, bytes }] = (await once(worker, 'message')) as [{ port: number; bytes: number }];
    const url = `http://127.0.0.1:${port}`;
    const line = async (what: string, run: () => Promise<readonly number[]>): Promise<string> => {
      const most: number[] = [];
      const p99: number[] = [];
      for (let i = 0; i < RUNS; i++) {
        const slices = await run();
        most.push(quantile(slices, 1));
        p99.push(quantile(slices, 0.99));
      }
      return `${what.padEnd(34)} longest block ${meanSd(most, 1)} ms of processor time, p99 ${meanSd(p99, 1)} ms (most of ${RUNS}: ${Math.max(...most).toFixed(1)} ms)`;
    };
    try {
      return [
        `${OBJECTS} objects, ${(bytes / 2 ** 20).toFixed(0)} MiB of JSON`,
        await line('pages of 500', () => startOnce(url, false)),
        await line('list as a stream', () => startOnce(url, true)),
        await line('yardstick: one page, list alone', () => wholeOnce(url)),
      ];
    } finally {
      await worker.terminate();
    }
  },
};
