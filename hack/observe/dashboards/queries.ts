import type { PanelSpec } from '../panels.ts';

/** PromQL that several dashboards speak, and the panels that each program has. */

export const RATE = '$' + '__rate_interval';
export const RANGE = '$' + '__range';
/** Nodes chosen by the variables, by the operator's own series. */
export const NODES = 'namespace=~"$namespace", node=~"$node"';
/** The same nodes' agents: a node's pod has the node's name. */
export const AGENTS = 'namespace=~"$namespace", pod=~"$node"';
/** A counter that has counted nothing yet has no series: nothing is what the panel then shows. */
export const orNone = (expr: string): string => `${expr} or vector(0)`;
export const rate = (series: string, by = ''): string => `sum${by && ` by (${by})`} (rate(${series}[${RATE}]))`;
export const quantile = (q: number, histogram: string, filter = '', by = ''): string =>
  `histogram_quantile(${q}, sum by (${by ? `le, ${by}` : 'le'}) (rate(${histogram}_bucket${filter && `{${filter}}`}[${RATE}])))`;
export const mean = (histogram: string, filter = '', by = ''): string => {
  const of = (part: string): string => rate(`${histogram}_${part}${filter && `{${filter}}`}`, by);
  return `${of('sum')} / ${of('count')}`;
};

/** The process that also has this series: each target has its own `instance`. */
const of = (series: string, marker: string): string => `${series} and on (instance) ${marker}`;
export const processPanels = (marker: string): readonly PanelSpec[] => [
  {
    title: 'Memory',
    description: 'Resident memory of the process. A line that only rises is a leak.',
    unit: 'bytes',
    queries: [{ expr: of('process_resident_memory_bytes', marker), legend: '{{pod}}' }],
  },
  {
    title: 'Processor',
    description: 'Cores in use. The programs have one thread for their work: near 1 they are the bottleneck.',
    unit: 'none',
    queries: [{ expr: of(`rate(process_cpu_seconds_total[${RATE}])`, marker), legend: '{{pod}}' }],
    warnAt: 0.7,
    badAt: 0.9,
    moves: true,
  },
  {
    title: 'Event loop, 99th percentile',
    description: 'How late the process comes to its work. Heartbeats and leases depend on it.',
    unit: 's',
    queries: [{ expr: of('nodejs_eventloop_lag_p99_seconds', marker), legend: '{{pod}}' }],
    warnAt: 0.1,
    badAt: 1,
  },
];
