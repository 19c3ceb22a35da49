import { isUsual, LABEL, type ResultityNode } from '../../src/api/index.ts';
import { ConditionGauges } from '../condition-gauges.ts';
import type { OperatorMetrics } from '../metrics.ts';
import type { StatusIntent } from './decide.ts';

type InfoLabels = Parameters<OperatorMetrics['nodeInfo']['remove']>[0];

interface Shown {
  readonly info: Record<string, string>;
  readonly fit: string;
}

/** Keeps the gauges of each node to what its last decision said, and takes those of a gone node away. */
export class NodeGauges {
  readonly #metrics: OperatorMetrics;
  readonly #conditions: ConditionGauges<'namespace' | 'node'>;
  readonly #shown = new Map<string, Shown>();

  constructor(metrics: OperatorMetrics) {
    this.#metrics = metrics;
    // thousands of nodes: what is as usual is told of the two conditions alone that shares are counted by
    this.#conditions = new ConditionGauges(
      metrics.nodeCondition,
      (c) => c.type === 'Ready' || c.type === 'Serving' || !isUsual(c),
    );
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
    const fit = status.conditions.find((c) => c.type === 'GPUFit');
    const verdict = `${fit?.status ?? 'Unknown'}/${fit?.reason ?? ''}`;
    const before = this.#shown.get(key)?.fit;
    this.forget(key);
    this.#metrics.nodeInfo.set(info, 1);
    this.#conditions.show(key, { namespace, node: name }, status.conditions);
    if (fit && before !== verdict) this.#metrics.fitDecisions.inc({ outcome: fit.status, reason: fit.reason });
    this.#shown.set(key, { info, fit: verdict });
  }

  forget(key: string): void {
    const shown = this.#shown.get(key);
    if (!shown) return;
    this.#metrics.nodeInfo.remove(shown.info as InfoLabels);
    this.#conditions.forget(key);
    this.#shown.delete(key);
  }
}
