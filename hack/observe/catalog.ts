import { operatorMetrics } from '../../operator/metrics.ts';
import { agentMetrics } from '../../src/agent/job-metrics.ts';
import { kubeMetrics } from '../../src/kube/index.ts';
import { Metrics } from '../../src/lib/metrics.ts';
import { networkMetrics } from '../../src/network/metrics.ts';

export type Program = 'operator' | 'agent' | 'network service';

/** One metric as a program registers it. */
export interface CatalogEntry {
  readonly program: Program;
  readonly name: string;
  readonly type: string;
  readonly help: string;
  readonly labels: readonly string[];
}

/** What prom-client holds of a metric beside what its types say. */
interface Registered {
  readonly name: string;
  readonly help: string;
  readonly type: string;
  readonly labelNames: readonly string[];
}

const entriesOf = (program: Program, register: (metrics: Metrics) => void): CatalogEntry[] => {
  const metrics = new Metrics();
  register(metrics);
  return (metrics.registry.getMetricsAsArray() as unknown as Registered[]).map(({ name, help, type, labelNames }) => ({
    program,
    name,
    type,
    help,
    labels: labelNames,
  }));
};

/** Every metric of ours, by the code that registers it: nothing is listed twice by hand. */
export const CATALOG: readonly CatalogEntry[] = [
  ...entriesOf('operator', (metrics) => {
    operatorMetrics(metrics);
    kubeMetrics(metrics, 'resultity_');
  }),
  ...entriesOf('agent', agentMetrics),
  ...entriesOf('network service', networkMetrics),
];

/** Node's own, which each program has (`Metrics.collectProcess`). */
const PROCESS = entriesOf('operator', (metrics) => metrics.collectProcess());

const SERIES = new Set(
  [...CATALOG, ...PROCESS].flatMap(({ name, type }) =>
    type === 'histogram' ? [`${name}_bucket`, `${name}_sum`, `${name}_count`] : [name],
  ),
);

/**
 * The metrics that a PromQL expression names.
 * @throws Error when one of them is registered by no program, so a renamed metric breaks the build.
 */
export const metricsOf = (expr: string): string[] => {
  const bare = expr
    .replace(/"[^"]*"|\{[^}]*\}|\[[^\]]*\]/g, '')
    .replace(/\b(by|on|without|ignoring|group_left|group_right)\s*\([^)]*\)/g, '');
  const names = [...new Set(bare.match(/\b[a-z_:]*_[a-z_0-9:]+\b(?!\s*\()/g) ?? [])];
  for (const name of names)
    if (name !== 'up' && !SERIES.has(name)) throw new Error(`${name}: no program registers it (in: ${expr})`);
  return names;
};
