import type { DashboardSpec, PanelSpec } from './panels.ts';

const RATE = '$' + '__rate_interval';
const RANGE = '$' + '__range';
/** Nodes chosen by the variables, by the operator's own series. */
const NODES = 'namespace=~"$namespace", node=~"$node"';
/** The same nodes' agents: a node's pod has the node's name. */
const AGENTS = 'namespace=~"$namespace", pod=~"$node"';
/** A counter that has counted nothing yet has no series: nothing is what the panel then shows. */
const orNone = (expr: string): string => `${expr} or vector(0)`;
const rate = (series: string, by = ''): string => `sum${by && ` by (${by})`} (rate(${series}[${RATE}]))`;
const quantile = (q: number, histogram: string, filter = '', by = ''): string =>
  `histogram_quantile(${q}, sum by (${by ? `le, ${by}` : 'le'}) (rate(${histogram}_bucket${filter && `{${filter}}`}[${RATE}])))`;
const mean = (histogram: string, filter = '', by = ''): string => {
  const of = (part: string): string => rate(`${histogram}_${part}${filter && `{${filter}}`}`, by);
  return `${of('sum')} / ${of('count')}`;
};

/** The process that also has this series: each target has its own `instance`. */
const of = (series: string, marker: string): string => `${series} and on (instance) ${marker}`;
const processPanels = (marker: string): readonly PanelSpec[] => [
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

const condition = (type: string, status = 'True'): string =>
  `resultity_node_condition{${NODES}, type="${type}", status="${status}"}`;
const notTrue = (type: string, why: string): PanelSpec => ({
  title: `${type} is not True`,
  description: why,
  kind: 'stat',
  unit: 'none',
  queries: [
    { expr: orNone(`count(resultity_node_condition{${NODES}, type="${type}", status!="True"} == 1)`), legend: 'nodes' },
  ],
  warnAt: 1,
});

const FLEET: DashboardSpec = {
  uid: 'resultity-fleet',
  title: 'Resultity / Fleet',
  description: 'All nodes at a glance: do they serve, what do they do, what do they wait for.',
  variables: ['namespace', 'fleet', 'node', 'model'],
  rows: [
    {
      title: 'Do they serve?',
      panels: [
        {
          title: 'Nodes that serve',
          description: 'Share of the chosen nodes whose condition Serving is True.',
          kind: 'stat',
          unit: 'percentunit',
          queries: [
            {
              expr: `count(${condition('Serving')} == 1) / count(resultity_node_info{${NODES}, fleet=~"$fleet"})`,
              legend: 'serving',
            },
          ],
        },
        notTrue('Ready', 'Nodes that are not Ready. Look at them with: kubectl resultity status'),
        notTrue('ConfigSynced', 'Nodes that have not applied the configuration in force.'),
        notTrue('RuntimeIsolated', 'Nodes whose engine is not proved to be without a way out.'),
        {
          title: 'Nodes by phase',
          description: 'Preparing, Active, Draining … A node that stays in Preparing says why in its conditions.',
          unit: 'none',
          queries: [
            {
              expr: `count by (phase) (resultity_node_info{${NODES}, fleet=~"$fleet", model=~"$model"})`,
              legend: '{{phase}}',
            },
          ],
        },
        {
          title: 'Nodes by model',
          description: 'Which model the nodes are assigned.',
          unit: 'none',
          queries: [{ expr: `count by (model) (resultity_node_info{${NODES}, model=~"$model"})`, legend: '{{model}}' }],
        },
        {
          title: 'Models of the snapshot',
          description: 'Models of the verified configuration by what the network says of them.',
          unit: 'none',
          queries: [
            {
              expr: 'sum by (network, state) (resultity_models{namespace=~"$namespace"})',
              legend: '{{network}} {{state}}',
            },
          ],
        },
      ],
    },
    {
      title: 'What do they do?',
      panels: [
        {
          title: 'Jobs',
          description: 'Jobs that ended, by how. Anything but accepted is worth a look.',
          unit: 'ops',
          queries: [{ expr: rate(`resultity_agent_jobs_total{${AGENTS}}`, 'outcome'), legend: '{{outcome}}' }],
          moves: true,
        },
        {
          title: 'Jobs in flight',
          description: 'Accepted and not ended.',
          unit: 'none',
          queries: [{ expr: `sum by (pod) (resultity_agent_jobs_inflight{${AGENTS}})`, legend: '{{pod}}' }],
          moves: true,
        },
        {
          title: 'Time to the first token',
          description: 'Of streamed jobs, from their acceptance.',
          unit: 's',
          queries: [
            { expr: quantile(0.5, 'resultity_agent_ttft_seconds', AGENTS), legend: 'p50' },
            { expr: quantile(0.95, 'resultity_agent_ttft_seconds', AGENTS), legend: 'p95' },
          ],
          moves: true,
        },
      ],
    },
    {
      title: 'What do they wait for?',
      panels: [
        {
          title: 'Heartbeat age',
          description:
            'Time since each agent last told the network that it lives. Above three intervals it leaves the rotation.',
          unit: 's',
          queries: [{ expr: `resultity_agent_heartbeat_age_seconds{${AGENTS}}`, legend: '{{pod}}' }],
          warnAt: 30,
          badAt: 90,
        },
        {
          title: 'Model downloads',
          description: 'Bytes of models that come in.',
          unit: 'Bps',
          queries: [{ expr: rate(`resultity_model_download_bytes_total{${AGENTS}}`, 'pod'), legend: '{{pod}}' }],
        },
        {
          title: 'Models put aside',
          description:
            'Failures of models within the chosen time: files that are not what was signed, tests that failed.',
          unit: 'none',
          queries: [
            {
              expr: `sum by (pod) (increase(resultity_model_quarantines_total{${AGENTS}}[${RANGE}]))`,
              legend: '{{pod}}',
            },
          ],
          badAt: 1,
        },
      ],
    },
    {
      title: 'Each node',
      panels: [
        {
          title: 'Nodes',
          description: 'What each chosen node is and where it runs.',
          kind: 'table',
          unit: 'none',
          queries: [{ expr: `resultity_node_info{${NODES}, fleet=~"$fleet", model=~"$model"}`, legend: '' }],
        },
      ],
    },
  ],
};

const NODE: DashboardSpec = {
  uid: 'resultity-node',
  title: 'Resultity / Node',
  description: 'One node, or a few: its agent, its engine, its model.',
  variables: ['namespace', 'fleet', 'node'],
  rows: [
    {
      title: 'Jobs',
      panels: [
        {
          title: 'Jobs',
          description: 'Jobs that ended, by how.',
          unit: 'ops',
          queries: [
            { expr: rate(`resultity_agent_jobs_total{${AGENTS}}`, 'pod, outcome'), legend: '{{pod}} {{outcome}}' },
          ],
          moves: true,
        },
        {
          title: 'Time to the first token',
          description:
            'Of streamed jobs, from their acceptance. Rises when the engine is full or the prompts are long.',
          unit: 's',
          queries: [{ expr: quantile(0.95, 'resultity_agent_ttft_seconds', AGENTS, 'pod'), legend: '{{pod}} p95' }],
          moves: true,
        },
        {
          title: 'Results without a receipt',
          description: 'Time from a signed result to the receipt. Work that is not receipted is not billed yet.',
          unit: 's',
          queries: [
            { expr: quantile(0.95, 'resultity_agent_receipt_age_seconds', AGENTS, 'pod'), legend: '{{pod}} p95' },
          ],
          warnAt: 10,
          badAt: 60,
          moves: true,
        },
        {
          title: 'Added by the agent, per job',
          description: 'Mean time that the agent adds to a job. The aim is 2 ms.',
          unit: 's',
          queries: [{ expr: mean('resultity_agent_job_overhead_seconds', AGENTS, 'pod'), legend: '{{pod}}' }],
          warnAt: 0.01,
          moves: true,
        },
        {
          title: 'Added by the agent, per line',
          description: 'Mean time in the agent for one line of a stream. The aim is 0.2 ms.',
          unit: 's',
          queries: [{ expr: mean('resultity_agent_chunk_overhead_seconds', AGENTS, 'pod'), legend: '{{pod}}' }],
          warnAt: 0.002,
          moves: true,
        },
        {
          title: 'Journal',
          description: 'Records that a crash would be recovered from. They go when the network has receipted.',
          unit: 'none',
          queries: [{ expr: `resultity_agent_journal_records{${AGENTS}}`, legend: '{{pod}}' }],
        },
      ],
    },
    {
      title: 'The network',
      panels: [
        {
          title: 'Heartbeats',
          description: 'Sent, over the socket or over HTTP while it is down, and those that reached nobody.',
          unit: 'ops',
          queries: [
            { expr: rate(`resultity_agent_heartbeat_total{${AGENTS}}`, 'pod, via'), legend: '{{pod}} {{via}}' },
            { expr: rate(`resultity_agent_heartbeat_failures_total{${AGENTS}}`, 'pod'), legend: '{{pod}} failed' },
          ],
          moves: true,
        },
        {
          title: 'Sessions',
          description: 'Opened and ended within the chosen time. Many mean a bad line.',
          unit: 'none',
          queries: [
            {
              expr: `sum by (pod, event) (increase(resultity_agent_sessions_total{${AGENTS}}[${RANGE}]))`,
              legend: '{{pod}} {{event}}',
            },
          ],
        },
        {
          title: 'Clock',
          description: 'Time of the network minus time of the node. Signed calls are refused when it is far off.',
          unit: 's',
          queries: [{ expr: `resultity_agent_clock_offset_seconds{${AGENTS}}`, legend: '{{pod}}' }],
          warnAt: 5,
          badAt: 30,
        },
      ],
    },
    {
      title: 'Model and engine',
      panels: [
        {
          title: 'Last start, by phase',
          description: 'Where the time from the start of the pod to serving went.',
          unit: 's',
          queries: [{ expr: `resultity_startup_phase_seconds{${AGENTS}}`, legend: '{{pod}} {{phase}}' }],
        },
        {
          title: 'Download ends in',
          description: 'Estimate for the running download; 0 without one.',
          unit: 's',
          queries: [{ expr: `resultity_model_download_eta_seconds{${AGENTS}}`, legend: '{{pod}}' }],
        },
        {
          title: 'Test inference',
          description: 'Mean time of the test that a model must pass before it serves.',
          unit: 's',
          queries: [
            {
              expr: `sum by (pod) (resultity_model_test_duration_seconds_sum{${AGENTS}}) / sum by (pod) (resultity_model_test_duration_seconds_count{${AGENTS}})`,
              legend: '{{pod}}',
            },
          ],
        },
      ],
    },
    { title: 'The agent’s process', panels: processPanels(`resultity_agent_jobs_inflight{${AGENTS}}`) },
  ],
};

const NETWORK: DashboardSpec = {
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

const OPERATOR: DashboardSpec = {
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

/** All dashboards that the chart ships. */
export const DASHBOARDS: readonly DashboardSpec[] = [FLEET, NODE, NETWORK, OPERATOR];
