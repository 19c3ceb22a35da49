import type { Counter, Gauge, Histogram, Metrics } from '../lib/metrics.ts';

const FINE = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60] as const;

/** All metrics of this room on one registry, named as controller-runtime and client-go name theirs where they have one. */
export interface KubeMetrics {
  readonly requests: Counter<'code' | 'method' | 'host'>;
  readonly requestSeconds: Histogram<'verb' | 'host'>;
  readonly limiterSeconds: Histogram<'verb' | 'host'>;

  readonly reconciles: Counter<'controller' | 'result'>;
  readonly reconcileErrors: Counter<'controller'>;
  readonly terminalErrors: Counter<'controller'>;
  readonly reconcileTimeouts: Counter<'controller'>;
  readonly reconcileSeconds: Histogram<'controller'>;
  readonly maxWorkers: Gauge<'controller'>;
  readonly activeWorkers: Gauge<'controller'>;
  /** Reconciles put off because the cache had not yet seen our own write. */
  readonly staleSkips: Counter<'controller'>;

  readonly depth: Gauge<'name' | 'controller' | 'priority'>;
  readonly adds: Counter<'name' | 'controller'>;
  readonly retries: Counter<'name' | 'controller'>;
  readonly queueSeconds: Histogram<'name' | 'controller'>;
  readonly workSeconds: Histogram<'name' | 'controller'>;
  readonly unfinishedSeconds: Gauge<'name' | 'controller'>;
  readonly longestSeconds: Gauge<'name' | 'controller'>;

  readonly watchRestarts: Counter<'kind' | 'reason'>;
  readonly relists: Counter<'kind'>;
  readonly cacheObjects: Gauge<'kind'>;
  readonly cacheBytes: Gauge<'kind'>;

  readonly applies: Counter<'kind' | 'outcome'>;
  readonly events: Counter<'outcome'>;
  readonly leader: Gauge<'name'>;
  readonly loopLag: Gauge;
}

/**
 * Registers (or finds) the metrics; twice on one registry gives the same ones.
 * `prefix` goes before the names that neither controller-runtime nor client-go has.
 */
export const kubeMetrics = (m: Metrics, prefix = 'kube_runtime_'): KubeMetrics => {
  const c = ['controller'] as const;
  const q = ['name', 'controller'] as const;
  return {
    requests: m.counter('rest_client_requests_total', 'API requests by code, method and host.', [
      'code',
      'method',
      'host',
    ]),
    requestSeconds: m.histogram(
      'rest_client_request_duration_seconds',
      'API request latency by verb.',
      ['verb', 'host'],
      FINE,
    ),
    limiterSeconds: m.histogram(
      'rest_client_rate_limiter_duration_seconds',
      'Time spent in the client-side rate limiter.',
      ['verb', 'host'],
      FINE,
    ),
    reconciles: m.counter('controller_runtime_reconcile_total', 'Reconciles by result.', ['controller', 'result']),
    reconcileErrors: m.counter('controller_runtime_reconcile_errors_total', 'Reconciles that threw.', c),
    terminalErrors: m.counter(
      'controller_runtime_terminal_reconcile_errors_total',
      'Reconciles that ended in an error that a retry cannot mend.',
      c,
    ),
    reconcileTimeouts: m.counter(
      'controller_runtime_reconcile_timeouts_total',
      'Reconciles that ran past their time.',
      c,
    ),
    reconcileSeconds: m.histogram('controller_runtime_reconcile_time_seconds', 'Time of one reconcile.', c, FINE),
    maxWorkers: m.gauge('controller_runtime_max_concurrent_reconciles', 'Workers of the controller.', c),
    activeWorkers: m.gauge('controller_runtime_active_workers', 'Workers that are reconciling now.', c),
    staleSkips: m.counter(
      `${prefix}stale_skips_total`,
      'Reconciles put off until the cache has seen our own write.',
      c,
    ),
    depth: m.gauge('workqueue_depth', 'Keys that wait.', ['name', 'controller', 'priority']),
    adds: m.counter('workqueue_adds_total', 'Keys added.', q),
    retries: m.counter('workqueue_retries_total', 'Keys added again with back-off.', q),
    queueSeconds: m.histogram('workqueue_queue_duration_seconds', 'Time a key waited.', q, FINE),
    workSeconds: m.histogram('workqueue_work_duration_seconds', 'Time a key was worked on.', q, FINE),
    unfinishedSeconds: m.gauge('workqueue_unfinished_work_seconds', 'Sum of the ages of the work in progress.', q),
    longestSeconds: m.gauge('workqueue_longest_running_processor_seconds', 'Age of the oldest work in progress.', q),
    watchRestarts: m.counter(`${prefix}watch_restarts_total`, 'Watches opened again, by why the last one ended.', [
      'kind',
      'reason',
    ]),
    relists: m.counter(`${prefix}relists_total`, 'Full lists.', ['kind']),
    cacheObjects: m.gauge(`${prefix}cache_objects`, 'Objects in the cache.', ['kind']),
    cacheBytes: m.gauge(`${prefix}cache_bytes`, 'About how much memory the objects in the cache take.', ['kind']),
    applies: m.counter(
      `${prefix}apply_writes_total`,
      'Server-side applies by kind: sent, skipped (nothing to change), failed.',
      ['kind', 'outcome'],
    ),
    events: m.counter(`${prefix}events_total`, 'Events by outcome: created, folded, dropped, failed.', ['outcome']),
    leader: m.gauge('leader_election_master_status', '1 while this process holds the lease.', ['name']),
    loopLag: m.gauge(`${prefix}event_loop_lag_seconds`, 'Largest delay of the event loop in the last interval.'),
  };
};
