import { ApiError } from '../src/kube/index.ts';
import type { Counter, Gauge, Metrics } from '../src/lib/index.ts';
import { isCoded } from '../src/lib/index.ts';

/** The operator's own metrics beside those of src/kube (docs/kubernetes.md, Metrics). */
export interface OperatorMetrics {
  readonly reconcileErrors: Counter<'controller' | 'error_type'>;
  readonly nodeInfo: Gauge<
    'namespace' | 'node' | 'fleet' | 'network' | 'node_id' | 'phase' | 'model' | 'kubernetes_node'
  >;
  readonly nodeCondition: Gauge<'namespace' | 'node' | 'type' | 'status'>;
  readonly networkCondition: Gauge<'namespace' | 'network' | 'type' | 'status'>;
  readonly fleetCondition: Gauge<'namespace' | 'fleet' | 'type' | 'status'>;
  readonly models: Gauge<'namespace' | 'network' | 'state'>;
  readonly configInfo: Gauge<'namespace' | 'network' | 'digest' | 'version' | 'root'>;
  readonly configRefusals: Counter<'namespace' | 'network' | 'code'>;
  readonly fitDecisions: Counter<'outcome' | 'reason'>;
}

export const operatorMetrics = (m: Metrics): OperatorMetrics => ({
  reconcileErrors: m.counter('resultity_operator_reconcile_errors_total', 'Reconciles that failed, by kind of error.', [
    'controller',
    'error_type',
  ]),
  nodeInfo: m.gauge('resultity_node_info', '1 for each ResultityNode, with what it is.', [
    'namespace',
    'node',
    'fleet',
    'network',
    'node_id',
    'phase',
    'model',
    'kubernetes_node',
  ]),
  nodeCondition: m.gauge(
    'resultity_node_condition',
    '1 for the status that a condition of a node has. Of those that are as usual, Ready and Serving alone are shown.',
    ['namespace', 'node', 'type', 'status'],
  ),
  networkCondition: m.gauge('resultity_network_condition', '1 for the status that a condition of a network has.', [
    'namespace',
    'network',
    'type',
    'status',
  ]),
  fleetCondition: m.gauge('resultity_fleet_condition', '1 for the status that a condition of a fleet has.', [
    'namespace',
    'fleet',
    'type',
    'status',
  ]),
  models: m.gauge('resultity_models', 'Models of the verified snapshot by state.', ['namespace', 'network', 'state']),
  configInfo: m.gauge('resultity_config_digest_info', '1 for the configuration in force of each network.', [
    'namespace',
    'network',
    'digest',
    'version',
    'root',
  ]),
  configRefusals: m.counter('resultity_config_refusals_total', 'Configurations that were refused, by code.', [
    'namespace',
    'network',
    'code',
  ]),
  fitDecisions: m.counter('resultity_fit_decisions_total', 'Verdicts of the fit planner, when they change.', [
    'outcome',
    'reason',
  ]),
});

/** A closed set of kinds for a metric's label. */
export const errorType = (error: unknown): string => {
  if (error instanceof ApiError) return error.reason === '' ? `api_${error.status}` : error.reason;
  if (isCoded(error)) return 'coded';
  const code = (error as { code?: unknown } | null)?.code;
  return typeof code === 'string' && /^[a-z_]{1,40}$/.test(code) ? code : 'internal';
};
