import { join } from 'node:path';
import { EngineClient } from '../../src/runtime/index.ts';
import { AgentRig } from '../support/agent-rig.ts';
import { MINI_MODEL, MiniNetwork } from '../support/mini-network.ts';
import { until } from '../support/until.ts';
import type { Figures } from './types.ts';

const JOBS = 200;
const LINES = 300;
const TIMEOUTS = { firstTokenMs: 60_000, gapMs: 60_000, totalMs: 60_000 };
const requestOf = (stream: boolean) => ({
  model: MINI_MODEL,
  messages: [{ role: 'user', content: 'What is the capital of France?' }],
  stream,
  max_tokens: stream ? LINES : 4,
  ...(stream ? { stream_options: { include_usage: true } } : {}),
});

const median = (all: number[]): number => all.toSorted((a, b) => a - b)[Math.floor(all.length / 2)] ?? 0;
/** The p-quantile of a histogram in Prometheus' text: the upper bound of the bucket that it falls into. */
const bucketOf = (text: string, name: string, p: number): string => {
  const buckets = [...text.matchAll(new RegExp(`${name}_bucket\\{le="([^"]+)"\\} (\\d+)`, 'g'))];
  const total = Number(buckets.at(-1)?.[2] ?? 0);
  return `≤ ${Number(buckets.find((b) => Number(b[2]) >= total * p)?.[1]) * 1000} ms (${total})`;
};

/**
 * What the agent adds: the same request straight to the stand-in engine and as a job through session, journal and
 * signatures, taken in turns. The network double's own work (it verifies each frame) is in the agent's figure too.
 */
export const agentJob: Figures = {
  name: 'what the agent adds to a job',
  figures: async () => {
    const network = await new MiniNetwork().listen();
    const rig = new AgentRig({ endpoint: network.endpoint, network: 'testnet', pinnedRoot: network.kit.pinnedRoot });
    const engine = new EngineClient({ socketPath: join(rig.paths.engine as string, 'engine.sock') });
    try {
      await rig.startAgent();
      rig.startLauncher({ RESULTITY_SIM_TOKEN_MS: '0', RESULTITY_SIM_SAY: `Paris. ${'word '.repeat(LINES)}` });
      await until('Active', () => network.of('heartbeat').at(-1)?.body.models[0]?.loaded === true, 60_000);
      let n = 0;
      const direct = async (stream: boolean): Promise<number> => {
        const start = performance.now();
        const done = await engine.run('chat.completions', requestOf(stream), { stream, timeouts: TIMEOUTS });
        if (done.state !== 'done') throw new Error(done.detail);
        return performance.now() - start;
      };
      const job = async (stream: boolean): Promise<number> => {
        const before = network.results.length;
        const start = performance.now();
        network.offer({ jobId: `bench-${n++}`, stream, request: requestOf(stream) });
        while (network.results.length === before) await new Promise((resolve) => setImmediate(resolve));
        return performance.now() - start;
      };
      const compare = async (stream: boolean, times: number): Promise<{ alone: number; through: number }> => {
        const alone: number[] = [];
        const through: number[] = [];
        for (let i = 0; i < times; i++) {
          alone.push(await direct(stream));
          through.push(await job(stream));
        }
        return { alone: median(alone), through: median(through) };
      };
      await compare(false, 20);
      const whole = await compare(false, JOBS);
      const streamed = await compare(true, 20);
      const added = whole.through - whole.alone;
      const perChunk = (streamed.through - streamed.alone - added) / LINES;
      const text = await (await fetch(`http://127.0.0.1:${rig.agent?.port}/metrics`)).text();
      const line = (what: string, alone: number, through: number): string =>
        `${what.padEnd(44)} engine ${alone.toFixed(2)} ms, through the agent ${through.toFixed(2)} ms (${(through / alone).toFixed(2)} ×)`;
      return [
        line(`job of 4 tokens, median of ${JOBS}`, whole.alone, whole.through),
        line(`stream of ${LINES} tokens, median of 20`, streamed.alone, streamed.through),
        `added: ${added.toFixed(2)} ms a job (goal 2 ms), ${perChunk.toFixed(3)} ms a chunk (goal 0.2 ms), at the median`,
        `the agent's own histograms at the median: job ${bucketOf(text, 'resultity_agent_job_overhead_seconds', 0.5)}, chunk ${bucketOf(text, 'resultity_agent_chunk_overhead_seconds', 0.5)}`,
      ];
    } finally {
      await engine.close();
      await rig.close();
      await network.close();
    }
  },
};
