import type { ConditionUpdate, NodeConditionType, NodePhase } from '../../src/api/index.ts';
import type { Scene } from './conditions.ts';

/** The one word for people; programs read the conditions. Pure. */
export const phaseOf = (scene: Scene, conditions: readonly ConditionUpdate<NodeConditionType>[]): NodePhase => {
  const is = (type: NodeConditionType): boolean => conditions.find((c) => c.type === type)?.status === 'True';
  const why = (type: NodeConditionType): string => conditions.find((c) => c.type === type)?.reason ?? '';
  const { pod, prepared, facts } = scene;
  const { agent } = facts.node.status ?? {};
  if (scene.update?.status === 'True' && pod !== undefined) return 'Updating';
  if (scene.draining !== undefined || agent?.phase === 'Draining' || agent?.phase === 'Drained')
    return pod === undefined ? 'Pending' : 'Draining';
  if (pod === undefined)
    return prepared.blocked?.phase ?? (scene.podTrouble?.reason === 'PodRefused' ? 'Degraded' : 'Pending');
  if (why('PodScheduled') === 'Unschedulable') return 'Unplaced';
  if (is('Serving')) {
    if (is('Paused') || agent?.phase === 'Paused') return 'Paused';
    return is('Progressing') ? 'Updating' : 'Active';
  }
  if (agent?.phase === 'Paused' || (is('Paused') && is('RuntimeReady'))) return 'Paused';
  if (is('Degraded')) return 'Degraded';
  return agent?.phase === 'Registering' ? 'Registering' : 'Preparing';
};
