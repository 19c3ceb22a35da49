/**
 * `bash hack/run fleet-scale --nodes 1000 [--trials 3] [--steady 60] [--fleet 500] [--floor] [--admin-agents]
 * [--set operator.resources.limits.memory=640Mi]`: how the operator bears many nodes.
 * A real cluster, the operator as its chart installs it: the image, in a pod, with the chart's account, rights, policies and limits; simulated machines with eight GPUs each (kwok), and a driver
 * that plays the agents' statuses, each with the token and the rights of its pod. Prints how far the nodes are every 5 s, CPU
 * of each program, writes by program and kind, writes in steady state, memory, event-loop delay, and how long a restarted
 * operator takes to look at every node again; after several trials, each on a new cluster, mean ± sd of each figure.
 * `--fleet`: at the end a fleet of so many comes up while single nodes are changed, and it says how long a change took.
 * `--floor`: the operator is stopped, and a script takes its place that makes one Secret, one pod and two status writes a
 * node: what the machine can do at best. Everything is taken down at the end.
 *
 * Reading order: operator, network, agents, floor, processes, requests, changes, trial, this.
 */
import { parseArgs } from 'node:util';
import { terminationSignal } from '../../src/kube/index.ts';
import { meanSd } from '../bench/stats.ts';
import { terminalProgress } from '../lib/index.ts';
import { runTrial } from './trial.ts';

const { values } = parseArgs({
  options: {
    nodes: { type: 'string', default: '1000' },
    trials: { type: 'string', default: '1' },
    steady: { type: 'string', default: '60' },
    set: { type: 'string', multiple: true, default: [] },
    fleet: { type: 'string', default: '0' },
    floor: { type: 'boolean', default: false },
    'admin-agents': { type: 'boolean', default: false },
  },
});
const whole = (name: 'nodes' | 'trials' | 'steady' | 'fleet', max: number, min = 1): number => {
  const n = Number(values[name]);
  if (!Number.isInteger(n) || n < min || n > max) throw new Error(`--${name}: give a number from ${min} to ${max}`);
  return n;
};
const [nodes, trials, steadyS] = [whole('nodes', 10_000), whole('trials', 20), whole('steady', 3600)];
const fleet = whole('fleet', 1_000, 0);

const progress = terminalProgress();
const signal = terminationSignal(process);
const results: Record<string, number>[] = [];
for (let trial = 1; trial <= trials && !signal.aborted; trial++) {
  if (trials > 1) progress.line(`trial ${trial} of ${trials}`);
  const { set: sets, floor, 'admin-agents': adminAgents } = values;
  results.push(await runTrial({ nodes, steadyMs: steadyS * 1000, sets, fleet, floor, adminAgents, progress, signal }));
}
progress.line(`${nodes} nodes${results.length > 1 ? `, ${results.length} trials, mean ± sd` : ''}`);
for (const figure of Object.keys(results[0] ?? {})) {
  const all = results.map((result) => result[figure] ?? Number.NaN);
  const digits = Math.max(...all) < 100 ? 1 : 0;
  progress.line(`${figure.padEnd(64)} ${all.length > 1 ? meanSd(all, digits) : all[0]?.toFixed(digits)}`);
}
