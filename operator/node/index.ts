/**
 * node: one ResultityNode = one network identity with at most one live pod.
 *
 * Reading order: facts (what a decision rests on) → prepare (the checks before a pod) → decide (steps and status) with
 * conditions (the verdicts), phase, trouble and pod, pod-containers, pod-volumes, pod-placement (the desired pod) → gather and
 * apply (the edges) with ground (account, claims, key Secret), machine, brake (when too many of them vanish), status, events →
 * controller (what wakes it), observed (gauges).
 * Updates of a live pod: rollout-state (what stands on the pod) → rollout (the next step, pure) with pull (bringing images to
 * the machine) and turns (how many at a time; surge: with one more than wanted) → update (where it meets the node).
 *
 * Invariants: `decide` is pure and total and sees no error of the API server, so none can delete or replace a pod (I14);
 * the pod carries the node's name and a new one is made only when the old object is gone (I16); the address of a key is written
 * to the node before its Secret, and the key of an identity that was used is never replaced (I5); each step of an update is one write that
 * says how far it is, so a crash after any of them goes on from there; an unchanged status is not written.
 */
export { brakeText, isTooMany } from './brake.ts';
export {
  BY_HELD,
  BY_MACHINE,
  heldOf,
  machineNameOf,
  type NodeControllerOptions,
  networkKeyOf,
  nodeController,
} from './controller.ts';
export type { NodeSettings } from './facts.ts';
export { BY_GROUP, BY_MODEL, BY_NETWORK, BY_POD, groupOf, modelOf, podUidsOf } from './gather.ts';
export { nodeIdOf } from './ground.ts';
export { isSurge, SURGE_WAIT_MS, stageOf, surgeLimit } from './surge.ts';
export { countOf } from './turns.ts';
