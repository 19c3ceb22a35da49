import { type ModelEntry, meetsMinimum, type SnapshotDocument } from '../config/index.ts';
import { errorText } from '../lib/errors.ts';
import { argProblems, type EngineArgs, mergeArgs } from '../runtime/index.ts';
import type { PlanFailure, PlanStep } from './plan-steps.ts';

/** Why the accepted snapshot cannot be put into effect by this pod as it stands. */
export interface Obstacle {
  /** Where its plan ends. */
  readonly step: PlanStep;
  readonly reason: string;
  readonly why: string;
}

export type Plan =
  | {
      readonly kind: 'none';
      readonly why: string;
      /** False: nothing is known yet, or another agent comes, so an engine that is there goes on. */
      readonly stop: boolean;
      readonly obstacle: Obstacle | null;
    }
  | {
      readonly kind: 'serve';
      readonly key: string;
      readonly model: ModelEntry;
      readonly args: EngineArgs;
      /** What the plan was made from: the accepted snapshot, or with an obstacle what is in effect. */
      readonly document: SnapshotDocument;
      readonly obstacle: Obstacle | null;
    };

export interface PlanFacts {
  readonly accepted: SnapshotDocument | null;
  /** The applied snapshot cut down by the accepted one. */
  readonly effective: SnapshotDocument | null;
  /** `name:version` that the operator assigned. */
  readonly assigned: string | undefined;
  /** `name:version` in the engine: what goes on while the assigned one may not start yet. */
  readonly running: string | undefined;
  /** `name:version` that was served last: the way back when the plan for another one fails. */
  readonly served: string | undefined;
  /** A person holds the node on what is applied. */
  readonly held: boolean;
  /** The plan that failed last and must not be tried again yet. */
  readonly failure: PlanFailure | null;
  /** As they stand in the pod; without a digest outside containers. */
  readonly images: { readonly runtime: string };
  /** This agent's own version. */
  readonly version: string;
  readonly engineArgs: Readonly<Record<string, string>>;
}

/** The digest of `repository@sha256:…`: mirrors change the repository, never this. */
export const imageDigest = (image: string): string | undefined => /@(sha256:[0-9a-f]{64})$/.exec(image)?.[1];

/**
 * What stands between this pod and a snapshot (docs/protocol.md §7): the agent's version, engine arguments, the runtime's image. The
 * agent's own image is no obstacle, since the operator rolls agents after the configuration.
 */
export const obstacleTo = (
  document: SnapshotDocument,
  assigned: string | undefined,
  { images, version, engineArgs }: Pick<PlanFacts, 'images' | 'version' | 'engineArgs'>,
): Obstacle | null => {
  const { minVersion } = document.agent;
  if (!meetsMinimum(version, minVersion))
    return {
      step: 'validate',
      reason: 'VersionTooOld',
      why: `the configuration needs agent ${minVersion}, this one is ${version}`,
    };
  const model = document.models.find((m) => m.ref === assigned);
  const refused = argProblems({ ...model?.engine.args, ...engineArgs });
  if (refused.length > 0) return { step: 'validate', reason: 'ArgumentRefused', why: refused.join('; ').slice(0, 256) };
  const digest = imageDigest(images.runtime);
  if (digest === undefined) return null;
  const ours = document.runtimes.filter((r) => imageDigest(r.image) === digest);
  if (ours.length === 0)
    return {
      step: 'validate',
      reason: 'ImageMismatch',
      why: `version ${document.version} of the configuration has no runtime image ${digest.slice(0, 19)}…, which this pod runs`,
    };
  const needed = model?.engine.minVersion;
  if (needed !== undefined && !ours.some((r) => meetsMinimum(r.version, needed)))
    return {
      step: 'validate',
      reason: 'ImageMismatch',
      why: `${assigned} needs engine ${needed}, this pod's runtime image has ${ours[0]?.version}`,
    };
  return null;
};

/**
 * What the engine shall do. With an obstacle nothing new starts: the assigned model, or else the one in the engine, goes on
 * as far as what is in effect allows it. A plan that failed is an obstacle while what was served before may go on. Pure.
 */
export const planOf = (facts: PlanFacts): Plan => {
  const { accepted, effective, assigned } = facts;
  const none = (why: string, stop: boolean, obstacle: Obstacle | null = null): Plan => ({
    kind: 'none',
    why,
    stop,
    obstacle,
  });
  if (!accepted) return none('no configuration is accepted yet', false);
  const obstacle = obstacleTo(accepted, assigned, facts) ?? heldBack(accepted, facts);
  if (obstacle?.reason === 'VersionTooOld') return none(obstacle.why, false, obstacle);
  if (assigned === undefined) return none('no model is assigned', true, obstacle);
  const { running } = facts;
  if (!obstacle) {
    // the operator may know a newer configuration than this agent: what runs goes on until it is here too
    const known = accepted.models.some((m) => m.ref === assigned);
    const ref = !known && running !== undefined && allows(accepted, running) ? running : assigned;
    const plan = serve(accepted, ref, facts, null);
    return (plan.kind === 'serve' && facts.failure?.key === plan.key && wayBack(facts, facts.failure)) || plan;
  }
  for (const ref of [assigned, running, facts.served])
    if (effective && ref !== undefined && allows(effective, ref)) return serve(effective, ref, facts, obstacle);
  return none(obstacle.why, true, obstacle);
};

const heldBack = (accepted: SnapshotDocument, { held, effective }: PlanFacts): Obstacle | null =>
  held && effective && effective.version !== accepted.version
    ? { step: 'validate', reason: 'Held', why: `held on version ${effective.version}; ${accepted.version} waits` }
    : null;

/** What was served before the plan that failed: its old files, arguments and test, as far as what is in effect allows it. */
const wayBack = (facts: PlanFacts, failure: PlanFailure): Plan | undefined => {
  const { effective, served } = facts;
  if (!effective || served === undefined || !allows(effective, served)) return undefined;
  const plan = serve(effective, served, facts, failure);
  return plan.kind === 'serve' && plan.key !== failure.key ? plan : undefined;
};

const allows = (document: SnapshotDocument, ref: string): boolean =>
  document.models.some((m) => m.ref === ref && m.state === 'active');

const serve = (document: SnapshotDocument, ref: string, facts: PlanFacts, obstacle: Obstacle | null): Plan => {
  const none = (why: string): Plan => ({ kind: 'none', why, stop: true, obstacle });
  const model = document.models.find((m) => m.ref === ref);
  if (!model) return none(`${ref} is not approved by the configuration`);
  if (model.state !== 'active') return none(`${ref} is ${model.state}`);
  try {
    const args = mergeArgs(model.engine.args, facts.engineArgs);
    const key = JSON.stringify([ref, model.digest, { ...model.engine.args, ...facts.engineArgs }, model.test]);
    return { kind: 'serve', key, model, args, document, obstacle };
  } catch (error) {
    return none(errorText(error));
  }
};

/** Two plans of the same key need no change of the engine. */
export const planKey = (plan: Plan): string => (plan.kind === 'serve' ? plan.key : `none ${plan.why}`);
