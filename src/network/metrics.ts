import type { Counter, Gauge, Histogram, Metrics } from '../lib/metrics.ts';
import { signatureBackend } from '../protocol/index.ts';

/** What the service counts; names and labels are those of the documentation. */
export interface NetworkMetrics {
  readonly nodes: Gauge<'state'>;
  readonly jobs: Counter<'outcome'>;
  readonly queue: Gauge;
  readonly dispatch: Histogram;
  readonly receipts: Counter<'verdict'>;
  readonly signatureFailures: Counter<'reason'>;
}

export const networkMetrics = (metrics: Metrics): NetworkMetrics => {
  metrics
    .gauge('resultity_network_signature_backend_info', 'Which curve library signs and recovers.', ['backend'])
    .set({ backend: signatureBackend }, 1);
  return {
    nodes: metrics.gauge('resultity_network_nodes', 'Registered nodes by state.', ['state']),
    jobs: metrics.counter('resultity_network_jobs_total', 'Jobs of callers by outcome.', ['outcome']),
    queue: metrics.gauge('resultity_network_queue_depth', 'Jobs that wait for a node.'),
    dispatch: metrics.histogram('resultity_network_dispatch_seconds', 'From a job’s arrival to its offer.'),
    receipts: metrics.counter('resultity_network_receipts_total', 'Receipts given by verdict.', ['verdict']),
    signatureFailures: metrics.counter(
      'resultity_network_signature_failures_total',
      'Frames and calls that were refused before they took effect.',
      ['reason'],
    ),
  };
};
