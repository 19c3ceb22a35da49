import type { DashboardSpec } from '../panels.ts';
import { orNone, processPanels, quantile, rate } from './queries.ts';

export const NETWORK: DashboardSpec = {
  uid: 'resultity-network',
  title: 'Resultity / Network service',
  description: 'The reference network service of a private network.',
  variables: [],
  rows: [
    {
      title: 'Callers',
      panels: [
        {
          title: 'Jobs',
          description: 'Jobs of callers by outcome.',
          unit: 'ops',
          queries: [{ expr: rate('resultity_network_jobs_total', 'outcome'), legend: '{{outcome}}' }],
          moves: true,
        },
        {
          title: 'Waiting for a node',
          description:
            'Jobs in the queue. A queue that stays means that there are too few nodes, or none for the model.',
          unit: 'none',
          queries: [{ expr: 'sum(resultity_network_queue_depth)', legend: 'jobs' }],
          warnAt: 10,
          badAt: 100,
        },
        {
          title: 'From a job’s arrival to its offer',
          description: 'What the service adds before a node has the job.',
          unit: 's',
          queries: [
            { expr: quantile(0.5, 'resultity_network_dispatch_seconds'), legend: 'p50' },
            { expr: quantile(0.99, 'resultity_network_dispatch_seconds'), legend: 'p99' },
          ],
          warnAt: 0.1,
          badAt: 1,
          moves: true,
        },
      ],
    },
    {
      title: 'Nodes',
      panels: [
        {
          title: 'Nodes by state',
          description: 'Only active ones get jobs.',
          unit: 'none',
          queries: [{ expr: 'sum by (state) (resultity_network_nodes)', legend: '{{state}}' }],
        },
        {
          title: 'Receipts',
          description: 'Given, by verdict. accepted is billed.',
          unit: 'ops',
          queries: [{ expr: rate('resultity_network_receipts_total', 'verdict'), legend: '{{verdict}}' }],
          moves: true,
        },
        {
          title: 'Refused signatures',
          description: 'Frames and calls refused before they took effect. Clocks that are off, replays, or an attack.',
          unit: 'ops',
          queries: [
            { expr: orNone(rate('resultity_network_signature_failures_total', 'reason')), legend: '{{reason}}' },
          ],
          warnAt: 0.1,
        },
      ],
    },
    { title: 'The process', panels: processPanels('resultity_network_queue_depth') },
  ],
};
