/** A node that serves, and looks at what was decided for it. */
import type { Decision } from '../../operator/node/decide.ts';
import type { NodeFacts, Sight } from '../../operator/node/facts.ts';
import type { Pod } from '../../operator/pod-types.ts';
import type { ResultityNode } from '../../src/api/index.ts';
import { DIGEST, facts, NODE_ID, resultityNode, storedPod } from './node-facts.ts';
import { activeAgent, runningPod } from './operator-rig.ts';

export const steps = (d: Decision): string[] => d.steps.map((s) => s.do);
export const condition = (d: Decision, type: string) => d.status.conditions.find((c) => c.type === type)!;
export const seen = (state: 'active' | 'paused' | 'out_of_rotation', reasons: string[] = []): Sight => ({
  kind: 'seen',
  status: {
    node: NODE_ID as `0x${string}`,
    state,
    reasons,
    floor: { epoch: 1, version: 1 },
    lastHeartbeatAgeMs: 1,
    incarnation: 1,
  },
});
export const ready = facts().network as Extract<NodeFacts['network'], { at: 'ready' }>;

/** A node that serves: pod running, agent active, network content. */
export const serving = (
  status: Partial<NonNullable<ResultityNode['status']>> = {},
  pod: Partial<Pod> = {},
  over: Partial<NodeFacts> = {},
): NodeFacts => {
  const base = facts();
  const made = storedPod(base);
  const live: Pod = { ...made, spec: { ...made.spec!, nodeName: 'machine' }, status: runningPod, ...pod };
  return {
    ...base,
    pod: {
      ...live,
      metadata: {
        ...live.metadata,
        annotations: { ...live.metadata?.annotations, 'resultity.com/incarnation': '1795251600000' },
      },
    },
    node: resultityNode(
      {},
      {
        nodeId: NODE_ID,
        podUID: 'uid-pod',
        podName: 'gpu-a',
        incarnation: 1_795_251_600_000,
        assignedModel: 'tiny:v1',
        agent: activeAgent(NODE_ID, DIGEST) as NonNullable<ResultityNode['status']>['agent'] & object,
        ...status,
      },
    ),
    sight: seen('active'),
    ...over,
  };
};
