import type { DashboardSpec } from '../panels.ts';
import { AGENTS, mean, processPanels, quantile, RANGE, rate } from './queries.ts';

export const NODE: DashboardSpec = {
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
