/** The numbers of vLLM's /metrics by which the agent sees whether a busy engine still moves. */
export interface EngineMetrics {
  readonly running: number;
  readonly waiting: number;
  /** Tokens made since the engine started; sum over engines. Falls to 0 at a restart. */
  readonly generationTokens: number;
  /** Scheduler steps; also advances while only prompts are read. */
  readonly iterations: number;
  /** 0 … 1, the fullest engine. */
  readonly kvCacheUsage: number;
}

const LINE = /^([a-zA-Z_:][\w:]*)(?:\{[^}]*\})?\s+(\S+)/;

/** Reads Prometheus text. Missing series count as 0, since vLLM shows some only after the first request. */
export const parseMetrics = (text: string): EngineMetrics => {
  const sums = new Map<string, { sum: number; max: number }>();
  for (const line of text.split('\n')) {
    if (!line.startsWith('vllm:')) continue;
    const match = LINE.exec(line);
    const value = Number(match?.[2]);
    if (!match?.[1] || !Number.isFinite(value)) continue;
    const held = sums.get(match[1]) ?? { sum: 0, max: 0 };
    sums.set(match[1], { sum: held.sum + value, max: Math.max(held.max, value) });
  }
  const sum = (name: string): number => sums.get(name)?.sum ?? 0;
  return {
    running: sum('vllm:num_requests_running'),
    waiting: sum('vllm:num_requests_waiting'),
    generationTokens: sum('vllm:generation_tokens_total'),
    iterations: sum('vllm:iteration_tokens_total_count'),
    kvCacheUsage: sums.get('vllm:kv_cache_usage_perc')?.max ?? 0,
  };
};
