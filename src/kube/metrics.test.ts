import { expect } from 'chai';
import { Metrics } from '../lib/metrics.ts';
import { kubeMetrics } from './metrics.ts';

/** What dashboards and alerts made for Go controllers ask for: the names of controller-runtime 0.25 and client-go 0.37. */
const KNOWN = [
  'controller_runtime_active_workers',
  'controller_runtime_max_concurrent_reconciles',
  'controller_runtime_reconcile_errors_total',
  'controller_runtime_reconcile_time_seconds',
  'controller_runtime_reconcile_timeouts_total',
  'controller_runtime_reconcile_total',
  'controller_runtime_terminal_reconcile_errors_total',
  'leader_election_master_status',
  'rest_client_request_duration_seconds',
  'rest_client_rate_limiter_duration_seconds',
  'rest_client_requests_total',
  'workqueue_adds_total',
  'workqueue_depth',
  'workqueue_longest_running_processor_seconds',
  'workqueue_queue_duration_seconds',
  'workqueue_retries_total',
  'workqueue_unfinished_work_seconds',
  'workqueue_work_duration_seconds',
];
const OURS = [
  'apply_writes_total',
  'cache_bytes',
  'cache_objects',
  'event_loop_lag_seconds',
  'events_total',
  'relists_total',
  'stale_skips_total',
  'watch_restarts_total',
];

describe('kubeMetrics', () => {
  it('has the names of controller-runtime and client-go, and its own behind the prefix', () => {
    const metrics = new Metrics();
    kubeMetrics(metrics, 'x_');
    const names = metrics.registry.getMetricsAsArray().map((m) => m.name);
    expect(names.sort()).to.deep.equal([...KNOWN, ...OURS.map((n) => `x_${n}`)].sort());
  });

  it('gives the same metrics when it is asked twice', () => {
    const metrics = new Metrics();
    expect(kubeMetrics(metrics).requests).to.equal(kubeMetrics(metrics).requests);
  });
});
