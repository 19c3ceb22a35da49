import { stringify } from 'yaml';

/** What the demo's network approves, before `resultity-network publish` gives it a version and signs it. */
export interface SnapshotModel {
  readonly name: string;
  readonly version: string;
  readonly state: 'active' | 'inactive' | 'archived';
  /** The model's entry of `resultity-network model describe`: digest and files. */
  readonly described: {
    readonly digest: string;
    readonly files: readonly { path: string; size: number; sha256: string }[];
  };
  readonly sourceUrl: string;
  readonly args: Readonly<Record<string, string>>;
  readonly expect: string;
  readonly maxFirstTokenMs: number;
}

/** The question of the demo and of the model's test, measured to be answered rightly every time (docs/decisions). */
export const QUESTION = {
  messages: [
    { role: 'system', content: 'Answer in one short sentence.' },
    { role: 'user', content: 'What is the capital of France?' },
  ],
  temperature: 0,
  max_tokens: 24,
} as const;

const DAY = 86_400;

/** The draft of a snapshot (docs/protocol.md §7) as YAML for `resultity-network publish --snapshot`. */
export const draftSnapshot = (
  models: readonly SnapshotModel[],
  images: { agent: string; agentVersion: string; engineVersion: string },
  runtimes: readonly { readonly accelerator: string; readonly image: string }[],
): string =>
  stringify({
    models: models.map(entryOf),
    runtimes: runtimes.map((runtime) => ({ engine: 'vllm', version: images.engineVersion, ...runtime })),
    agent: { version: images.agentVersion, image: images.agent, minVersion: '0.1.0' },
    jobs: {
      maxOutputTokens: 256,
      maxQueue: 32,
      timeouts: { firstTokenMs: 60_000, gapMs: 30_000, totalMs: 300_000 },
    },
    isolation: { minTier: 'sandbox' },
    participation: { testnet: true, mainnet: false },
    subclouds: [],
    ttl: { heartbeatMs: 5_000, missedHeartbeats: 3, pollMs: 30_000, retryMs: 5_000, cacheMs: DAY * 1000 },
    maxStalenessSeconds: 7 * DAY,
    trustedSources: [...new Set(models.map((m) => new URL(m.sourceUrl).hostname))],
  });

const entryOf = (model: SnapshotModel): object => {
  const sizeMiB = Math.ceil(model.described.files.reduce((sum, f) => sum + f.size, 0) / 2 ** 20);
  return {
    name: model.name,
    version: model.version,
    digest: model.described.digest,
    state: model.state,
    tasks: ['chat.completions', 'completions'],
    files: model.described.files,
    sources: [model.sourceUrl],
    engine: { name: 'vllm', minVersion: '0.18.0', args: model.args },
    requires: { gpus: 1, gpuMemoryMiB: Math.max(1024, sizeMiB * 3), diskMiB: sizeMiB + 64 },
    test: {
      request: { ...QUESTION },
      expect: { contains: model.expect, maxFirstTokenMs: model.maxFirstTokenMs },
    },
  };
};
