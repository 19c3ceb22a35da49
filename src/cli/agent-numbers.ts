import { AGENT_PORT } from '../api/contract.ts';
import type { Cluster } from './cluster.ts';

/** What an agent says of itself right now; each part is missing where it was not said. Counted since the agent's start. */
export interface AgentNumbers {
  readonly running?: number;
  readonly unreceipted?: number;
  readonly tokensPerSecond?: number;
  readonly heartbeatAgeMs?: number;
  /** Median time to the first line of a stream, in ms. */
  readonly ttftMs?: number;
  /** Jobs that were taken and have ended. */
  readonly jobs?: number;
  /** Share of them, 0 to 1, whose result the network took. */
  readonly accepted?: number;
}

/** Asks the agent's /statusz and /metrics through the API server. An agent that does not answer has no numbers. */
export const agentNumbers = async (c: Cluster, pod: string): Promise<AgentNumbers | undefined> => {
  const [status, metrics] = await Promise.all([
    c.proxied(pod, AGENT_PORT, '/statusz').catch(() => undefined),
    c.proxied(pod, AGENT_PORT, '/metrics').catch(() => undefined),
  ]);
  if (typeof status !== 'object' || status === null) return undefined;
  return { ...ofStatusz(status), ...(typeof metrics === 'string' ? ofMetrics(metrics) : {}) };
};

const ofStatusz = (status: object): AgentNumbers => {
  const { jobs, tokensPerSecond, heartbeatAgeMs } = status as Record<string, unknown>;
  const { running, unreceipted } = (typeof jobs === 'object' && jobs !== null ? jobs : {}) as Record<string, unknown>;
  const given = { running, unreceipted, tokensPerSecond, heartbeatAgeMs };
  return Object.fromEntries(Object.entries(given).filter(([, v]) => typeof v === 'number'));
};

/** Out of the Prometheus text format. Pure. */
export const ofMetrics = (text: string): Pick<AgentNumbers, 'jobs' | 'accepted' | 'ttftMs'> => {
  const jobs = samples(text, 'resultity_agent_jobs_total').filter(
    ([labels]) => !labels.outcome?.startsWith('rejected_'),
  );
  const ended = jobs.reduce((sum, [, n]) => sum + n, 0);
  const good = jobs.reduce((sum, [labels, n]) => sum + (labels.outcome === 'accepted' ? n : 0), 0);
  const ttft = median(samples(text, 'resultity_agent_ttft_seconds_bucket'));
  return {
    jobs: ended,
    ...(ended === 0 ? {} : { accepted: good / ended }),
    ...(ttft === undefined ? {} : { ttftMs: ttft * 1000 }),
  };
};

type Sample = readonly [labels: Readonly<Record<string, string | undefined>>, value: number];

const samples = (text: string, name: string): Sample[] =>
  text.split('\n').flatMap((line): Sample[] => {
    const [, found, labels = '', value] = /^([a-z0-9_]+)(?:\{(.*)\})? ([0-9.eE+-]+)/.exec(line) ?? [];
    if (found !== name) return [];
    const pairs = [...labels.matchAll(/(\w+)="([^"]*)"/g)].map(([, k = '', v = '']) => [k, v] as const);
    return [[Object.fromEntries(pairs), Number(value)]];
  });

/** As histogram_quantile(0.5, …): linear inside the bucket; the last finite bound where it lies above all of them. */
const median = (buckets: readonly Sample[]): number | undefined => {
  const bounds = buckets
    .map(([labels, count]) => ({ le: labels.le === '+Inf' ? Number.POSITIVE_INFINITY : Number(labels.le), count }))
    .sort((a, b) => a.le - b.le);
  const half = (bounds.at(-1)?.count ?? 0) / 2;
  if (half === 0) return undefined;
  let below = { le: 0, count: 0 };
  for (const bucket of bounds) {
    if (bucket.count >= half)
      return Number.isFinite(bucket.le)
        ? below.le + ((bucket.le - below.le) * (half - below.count)) / (bucket.count - below.count)
        : below.le;
    below = bucket;
  }
  return undefined;
};
