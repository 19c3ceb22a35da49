import { LABEL, type ResultityNode } from '../../src/api/index.ts';
import type { OperatorMetrics } from '../metrics.ts';
import type { StatusIntent } from './decide.ts';

type InfoLabels = Parameters<OperatorMetrics['nodeInfo']['remove']>[0];

interface Shown {
  readonly info: Record<string, string>;
  readonly conditions: readonly { namespace: string; node: string; type: string; status: string }[];
  readonly fit: string;
}

/** Keeps the gauges of each node to what its last decision said, and takes those of a gone node away. */
export class NodeGauges {
  readonly #metrics: OperatorMetrics;
  readonly #shown = new Map<string, Shown>();

  constructor(metrics: OperatorMetrics) {
    this.#metrics = metrics;
  }

  show(key: string, node: ResultityNode, status: StatusIntent): void {
    const { namespace = '', name = '' } = node.metadata;
    const info = {
      namespace,
      node: name,
      fleet: node.metadata.labels?.[LABEL.fleet] ?? '',
      network: node.spec.networkRef.name,
      node_id: status.nodeId ?? '',
      phase: status.phase,
      model: status.assignedModel ?? '',
      kubernetes_node: status.kubernetesNode ?? '',
    };
    const conditions = status.conditions.map((c) => ({ namespace, node: name, type: c.type, status: c.status }));
    const fit = status.conditions.find((c) => c.type === 'GPUFit');
    const verdict = `${fit?.status ?? 'Unknown'}/${fit?.reason ?? ''}`;
    const before = this.#shown.get(key)?.fit;
    this.forget(key);
    this.#metrics.nodeInfo.set(info, 1);
    for (const labels of conditions) this.#metrics.nodeCondition.set(labels, 1);
    if (fit && before !== verdict) this.#metrics.fitDecisions.inc({ outcome: fit.status, reason: fit.reason });
    this.#shown.set(key, { info, conditions, fit: verdict });
  }

  forget(key: string): void {
    const shown = this.#shown.get(key);
    if (!shown) return;
    this.#metrics.nodeInfo.remove(shown.info as InfoLabels);
    for (const labels of shown.conditions) this.#metrics.nodeCondition.remove(labels);
    this.#shown.delete(key);
  }
}
