import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, openSync, rmSync, truncateSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Heartbeats } from '../../src/agent/heartbeat.ts';
import { agentMetrics } from '../../src/agent/job-metrics.ts';
import { MemoryStateStore, updateConfig } from '../../src/config/index.ts';
import { type Clock, systemClock } from '../../src/lib/clock.ts';
import { createLogger } from '../../src/lib/log.ts';
import { Metrics } from '../../src/lib/metrics.ts';
import { verifyFolder } from '../../src/models/index.ts';
import type { Heartbeat } from '../../src/protocol/index.ts';
import { SignerKit, testModel } from '../support/signer-kit.ts';
import type { Figures } from './types.ts';

const GIB2 = 2 ** 31;
const INTERVAL_MS = 250;
/** Many loops with one beat every 250 ms each, so that a second holds some hundred samples. */
const LOOPS = 50;

/** How late each heartbeat of the agent's own loop is, in ms, while `work` runs in the same process. */
const lateness = async (work: () => Promise<void>): Promise<number[]> => {
  const late: number[] = [];
  const clock: Clock = {
    ...systemClock,
    sleep: async (ms, signal) => {
      const start = performance.now();
      await systemClock.sleep(ms, signal);
      late.push(Math.max(0, performance.now() - start - ms));
    },
  };
  const stop = new AbortController();
  const loops = Array.from({ length: LOOPS }, async (_, i) => {
    await systemClock.sleep((i * INTERVAL_MS) / LOOPS);
    const heartbeats = new Heartbeats({
      clock,
      logger: createLogger('bench', 'silent'),
      metrics: agentMetrics(new Metrics()),
      body: () => ({}) as Heartbeat,
      send: () => true,
      http: { post: async () => ({}) },
      jobs: () => [],
      onAnswer: () => {},
      enabled: () => true,
    });
    heartbeats.intervalMs = INTERVAL_MS;
    await heartbeats.run(stop.signal);
  });
  await systemClock.sleep(INTERVAL_MS);
  late.length = 0;
  await work();
  stop.abort();
  await Promise.all(loops);
  return late;
};

const line = (what: string, late: number[], ms: number): string => {
  const sorted = late.toSorted((a, b) => a - b);
  const at = (q: number): number => sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))] ?? 0;
  const mean = late.reduce((a, b) => a + b, 0) / Math.max(1, late.length);
  const share = ((at(1) / INTERVAL_MS) * 100).toFixed(1);
  return `${what.padEnd(44)} mean ${mean.toFixed(2)} ms, p99 ${at(0.99).toFixed(2)} ms, max ${at(1).toFixed(2)} ms = ${share} % of ${INTERVAL_MS} ms (${late.length} beats in ${(ms / 1000).toFixed(1)} s)`;
};
const measured = async (what: string, work: () => Promise<void>): Promise<string> => {
  const start = performance.now();
  const late = await lateness(work);
  return line(what, late, performance.now() - start);
};

const hashed = async (): Promise<string> => {
  const dir = mkdtempSync(join(tmpdir(), 'bench-hash-'));
  try {
    const folder = join(dir, 'model');
    mkdirSync(folder);
    const path = join(folder, 'model.safetensors');
    writeSync(openSync(path, 'w'), 'x');
    truncateSync(path, GIB2);
    const sha256 = createHash('sha256').update('never equal').digest('hex');
    return await measured('while 2 GiB are hashed', async () => {
      await verifyFolder(folder, [{ path: 'model.safetensors', size: GIB2, sha256 }]);
    });
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
};

/** 1 024 models and close to the cap of 1 MiB. */
const parsed = async (): Promise<string> => {
  const kit = new SignerKit();
  kit.now = Date.now();
  const models = Array.from({ length: 1_024 }, (_, i) =>
    testModel(`model-${i}`, {
      name: `model-${i}`,
      sources: Array.from({ length: 12 }, (_, n) => `https://models.example/mirror-${n}/`),
    }),
  );
  const made = kit.publish({ models });
  const times = 5;
  const kib = Math.round(made.bytes.length / 1024);
  return measured(`while ${times} snapshots of 1 024 models, ${kib} KiB, are read`, async () => {
    for (let i = 0; i < times; i++) {
      const store = new MemoryStateStore();
      const outcome = await updateConfig({ pinnedRoot: kit.pinnedRoot, store, source: kit, now: kit.now });
      if (outcome.kind === 'refused') throw new Error(outcome.message);
      await systemClock.sleep(50);
    }
  });
};

/** Heartbeats are never held up by other work of the agent (docs/agent.md): the loop itself, real work beside it. */
export const heartbeats: Figures = {
  name: 'how late a heartbeat is',
  figures: async () => [await measured('idle', () => systemClock.sleep(3_000)), await hashed(), await parsed()],
};
