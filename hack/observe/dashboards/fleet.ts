import type { DashboardSpec, PanelSpec } from '../panels.ts';
import { AGENTS, NODES, orNone, quantile, RANGE, rate } from './queries.ts';

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

export const FLEET: DashboardSpec = {
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
