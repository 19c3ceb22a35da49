import { type Condition, type ResultityNode, type ResultityNodeStatus, setCondition } from '../../src/api/index.ts';
import type { StatusIntent } from './decide.ts';

/** The operator's part of the status: everything but `agent`. */
export type OwnStatus = Omit<ResultityNodeStatus, 'agent'>;

/** The intent with times: a condition's transition time moves only when its status flips. */
export const ownStatus = (node: ResultityNode, intent: StatusIntent, now: number): OwnStatus => {
  let conditions: readonly Condition[] = node.status?.conditions ?? [];
  for (const update of intent.conditions) conditions = setCondition(conditions, update, now);
  const order = new Map(intent.conditions.map((c, i) => [c.type as string, i]));
  const { pod, nodeId, kubernetesNode, gpu, assignedModel, modelSummary, config } = intent;
  const incarnation = pod?.incarnation ?? node.status?.incarnation;
  return {
    phase: intent.phase,
    conditions: conditions
      .filter((c) => order.has(c.type))
      .toSorted((a, b) => (order.get(a.type) ?? 0) - (order.get(b.type) ?? 0)),
    ...(node.metadata.generation === undefined ? {} : { observedGeneration: node.metadata.generation }),
    ...(nodeId === undefined ? {} : { nodeId }),
    ...(pod === undefined ? {} : { podName: pod.name, podUID: pod.uid }),
    // It outlives the pod, so that the next one is above it.
    ...(incarnation === undefined ? {} : { incarnation }),
    ...(kubernetesNode === undefined ? {} : { kubernetesNode }),
    ...(gpu === undefined ? {} : { gpu }),
    ...(assignedModel === undefined ? {} : { assignedModel }),
    ...(modelSummary === undefined ? {} : { modelSummary }),
    ...(config === undefined ? {} : { config }),
  };
};
