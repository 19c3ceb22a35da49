import type { Counter, Gauge, Histogram, Metrics } from '../lib/metrics.ts';

/** The agent's metrics. No job id or digest as a label. */
export interface AgentMetrics {
  /** See `Metrics`. */
  readonly beforeScrape: Metrics['beforeScrape'];
  readonly heartbeats: Counter<'via'>;
  readonly heartbeatFailures: Counter;
  readonly heartbeatAge: Gauge;
  readonly inflight: Gauge;
  readonly jobs: Counter<'outcome'>;
  readonly jobOverhead: Histogram;
  readonly chunkOverhead: Histogram;
  readonly ttft: Histogram;
  readonly receiptAge: Histogram;
  readonly journalRecords: Gauge;
  readonly clockOffset: Gauge;
  readonly ticketAge: Gauge;
  readonly drainDuration: Histogram;
  readonly sessions: Counter<'event'>;
  readonly phaseSeconds: Gauge<'phase'>;
  readonly downloadBytes: Counter;
  readonly downloadDuration: Histogram;
  readonly downloadEta: Gauge;
  readonly verifyFailures: Counter;
  readonly testDuration: Histogram;
  readonly quarantines: Counter;
  readonly wedges: Counter;
  readonly info: Gauge<'node' | 'version' | 'network' | 'environment' | 'signatures'>;
}

const FINE = [0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.05, 0.25, 1] as const;
const LONG = [1, 5, 15, 30, 60, 120, 300, 600, 1800, 3600, 7200] as const;

/** Makes (or finds) the metrics on one registry. */
export const agentMetrics = (m: Metrics): AgentMetrics => ({
  beforeScrape: (update) => m.beforeScrape(update),
  heartbeats: m.counter('resultity_agent_heartbeat_total', 'Heartbeats sent', ['via']),
  heartbeatFailures: m.counter('resultity_agent_heartbeat_failures_total', 'Heartbeats that did not reach the network'),
  heartbeatAge: m.gauge('resultity_agent_heartbeat_age_seconds', 'Time since the last heartbeat that was sent'),
  inflight: m.gauge('resultity_agent_jobs_inflight', 'Jobs accepted and not ended'),
  jobs: m.counter('resultity_agent_jobs_total', 'Jobs by how they ended', ['outcome']),
  jobOverhead: m.histogram('resultity_agent_job_overhead_seconds', 'Time that the agent adds to a job', [], FINE),
  chunkOverhead: m.histogram('resultity_agent_chunk_overhead_seconds', 'Time in the agent per streamed line', [], FINE),
  ttft: m.histogram('resultity_agent_ttft_seconds', 'Time from accepting a streamed job to its first line'),
  receiptAge: m.histogram('resultity_agent_receipt_age_seconds', 'Time from a signed result to its receipt'),
  journalRecords: m.gauge('resultity_agent_journal_records', 'Records in the journal'),
  clockOffset: m.gauge('resultity_agent_clock_offset_seconds', 'Server time minus local time'),
  ticketAge: m.gauge(
    'resultity_agent_config_ticket_age_seconds',
    'Time since the last fresh ticket of the configuration was issued',
  ),
  drainDuration: m.histogram('resultity_agent_drain_duration_seconds', 'Time that a drain took', [], LONG),
  sessions: m.counter('resultity_agent_sessions_total', 'Sessions opened and ended', ['event']),
  phaseSeconds: m.gauge('resultity_startup_phase_seconds', 'Duration of each phase of the last start', ['phase']),
  downloadBytes: m.counter('resultity_model_download_bytes_total', 'Bytes of models downloaded'),
  downloadDuration: m.histogram('resultity_model_download_duration_seconds', 'Time to install a model', [], LONG),
  downloadEta: m.gauge('resultity_model_download_eta_seconds', 'Time until the running download ends; 0 without one'),
  verifyFailures: m.counter('resultity_model_verify_failures_total', 'Models whose files are not what was signed'),
  testDuration: m.histogram('resultity_model_test_duration_seconds', 'Time of a test inference'),
  wedges: m.counter(
    'resultity_agent_engine_wedged_total',
    'Engines that lived, generated nothing, and were started again',
  ),
  quarantines: m.counter('resultity_model_quarantines_total', 'Models put aside after a failure'),
  info: m.gauge('resultity_agent_info', 'What this agent is', [
    'node',
    'version',
    'network',
    'environment',
    'signatures',
  ]),
});
