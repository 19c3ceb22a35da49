import { ANNOTATION } from '../../src/api/contract.ts';
import type { Pod } from '../pod-types.ts';
import type { NodeFacts } from './facts.ts';
import { hashOf, templateHash } from './pod.ts';
import type { Prepared } from './prepare.ts';
import { pullOf } from './pull.ts';
import { decideRollout, type RolloutDecision } from './rollout.ts';
import { rolledBackOf, rolloutOf } from './rollout-state.ts';
import { servedLately } from './trouble.ts';

/** From a container's start to its engine's passed test: compiling and capturing, and the weights at a slow disk's pace. */
const START_MS = 900_000;
const READ_BYTES_PER_MS = 100_000;

/**
 * The next step of an update of the node's live pod. Without a wanted pod (its network is not known, say) nothing is begun,
 * but what is under way goes on to its end. Pure.
 */
export const decideUpdate = (
  facts: NodeFacts,
  { input }: Pick<Prepared, 'input'>,
  pod: Pod,
  assignedModel: string | undefined,
): RolloutDecision | undefined => {
  const { node, network } = facts;
  const state = rolloutOf(pod);
  if (input === undefined && state === undefined) return undefined;
  const inPod = (name: string): string =>
    [...(pod.spec?.initContainers ?? []), ...(pod.spec?.containers ?? [])].find((c) => c.name === name)?.image ?? '';
  const asIs = {
    images: { agent: inPod('agent'), runtime: inPod('runtime'), ...(state && { [state.what]: state.to }) },
    templateHash: hashOf(pod) ?? '',
  };
  const wanted = input === undefined ? asIs : { images: input.images, templateHash: templateHash(input) };
  const model = network.at === 'ready' ? network.document.models.find((m) => m.ref === assignedModel) : undefined;
  const bytes = (model?.files ?? []).reduce((sum, f) => sum + f.size, 0);
  const agent = node.status?.podUID === pod.metadata?.uid ? node.status?.agent : undefined;
  return decideRollout({
    now: facts.now,
    pod,
    state,
    wanted,
    mode: facts.rollout.mode,
    agent,
    // A paused node has its engine tested like any other.
    serving: servedLately(node, pod, facts.now) || agent?.phase === 'Paused',
    assignedModel,
    drain: node.spec.drain,
    held: node.metadata.annotations?.[ANNOTATION.hold] === 'true',
    machineReady: facts.machine.state === 'ready' || facts.machine.state === 'unknown',
    brake: () => facts.brake() !== undefined,
    turn: () => facts.turn(Object.values(wanted.images)),
    pull: (images) => pullOf(facts.pull, node, images, pod.spec?.nodeName),
    rolledBack: rolledBackOf(node),
    heldBack: input?.heldBack ?? [],
    startMs: START_MS + bytes / READ_BYTES_PER_MS,
  });
};
