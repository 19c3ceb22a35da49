import type { DashboardSpec } from '../panels.ts';
import { orNone, processPanels, quantile, RANGE, rate } from './queries.ts';

export const OPERATOR: DashboardSpec = {
  uid: 'resultity-operator',
  title: 'Resultity / Operator',
  description: 'The operator itself: is it up to date, does it fail, what does it ask of the API server.',
  variables: [],
  rows: [
    {
      title: 'Work',
      panels: [
        {
          title: 'Reconciles',
          description: 'By controller and result. In steady state only those of the resync.',
          unit: 'ops',
          queries: [
            {
              expr: rate('controller_runtime_reconcile_total', 'controller, result'),
              legend: '{{controller}} {{result}}',
            },
          ],
        },
        {
          title: 'Reconciles that failed',
          description:
            'By kind of error. The operator tries again with back-off; a line that stays needs a look at its log.',
          unit: 'ops',
          queries: [
            {
              expr: orNone(rate('resultity_operator_reconcile_errors_total', 'controller, error_type')),
              legend: '{{controller}} {{error_type}}',
            },
          ],
          warnAt: 0.05,
          badAt: 1,
        },
        {
          title: 'Time of a reconcile, 95th percentile',
          description: 'By controller.',
          unit: 's',
          queries: [
            {
              expr: quantile(0.95, 'controller_runtime_reconcile_time_seconds', '', 'controller'),
              legend: '{{controller}}',
            },
          ],
          warnAt: 1,
          badAt: 10,
        },
        {
          title: 'Keys that wait',
          description: 'Depth of the work queues. A depth that stays means that the workers are stuck or too few.',
          unit: 'none',
          queries: [{ expr: 'sum by (name) (workqueue_depth)', legend: '{{name}}' }],
          warnAt: 100,
          badAt: 1000,
        },
        {
          title: 'How long keys wait, 99th percentile',
          description: 'From being queued to being worked on.',
          unit: 's',
          queries: [{ expr: quantile(0.99, 'workqueue_queue_duration_seconds', '', 'name'), legend: '{{name}}' }],
          warnAt: 1,
          badAt: 10,
        },
        {
          title: 'Oldest work in progress',
          description: 'A value that grows and grows is a reconcile that hangs.',
          unit: 's',
          queries: [{ expr: 'max by (name) (workqueue_longest_running_processor_seconds)', legend: '{{name}}' }],
          warnAt: 30,
          badAt: 120,
        },
      ],
    },
    {
      title: 'The API server',
      panels: [
        {
          title: 'Requests',
          description: 'By answer. 409 and 404 are part of the work; 429 and 5xx are not.',
          unit: 'reqps',
          queries: [{ expr: rate('rest_client_requests_total', 'method, code'), legend: '{{method}} {{code}}' }],
        },
        {
          title: 'Writes',
          description: 'Server-side applies. In steady state there are none but skipped ones.',
          unit: 'ops',
          queries: [{ expr: rate('resultity_apply_writes_total', 'kind, outcome'), legend: '{{kind}} {{outcome}}' }],
        },
        {
          title: 'Watches opened again',
          description: 'By why the last one ended. Now and then is normal.',
          unit: 'ops',
          queries: [
            { expr: orNone(rate('resultity_watch_restarts_total', 'kind, reason')), legend: '{{kind}} {{reason}}' },
          ],
          warnAt: 1,
        },
      ],
    },
    {
      title: 'What it knows',
      panels: [
        {
          title: 'Objects in the cache',
          description: 'By kind. Memory follows it.',
          unit: 'none',
          queries: [{ expr: 'sum by (kind) (resultity_cache_objects)', legend: '{{kind}}' }],
        },
        {
          title: 'Leader',
          description: '1 for the replica that works.',
          unit: 'none',
          queries: [{ expr: 'leader_election_master_status', legend: '{{pod}}' }],
        },
        {
          title: 'Configurations refused',
          description: 'By code, within the chosen time. Anything here is a mistake of a publisher, or an attack.',
          unit: 'none',
          queries: [
            {
              expr: orNone(`sum by (network, code) (increase(resultity_config_refusals_total[${RANGE}]))`),
              legend: '{{network}} {{code}}',
            },
          ],
          warnAt: 1,
        },
      ],
    },
    { title: 'The process', panels: processPanels('leader_election_master_status') },
  ],
};
