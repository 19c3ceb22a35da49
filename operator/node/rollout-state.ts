import { z } from 'zod';
import { ANNOTATION } from '../../src/api/contract.ts';
import type { ResultityNode } from '../../src/api/index.ts';
import type { Pod } from '../pod-types.ts';

/**
 * How far an update of a live pod is. It stands on the pod as an annotation and is written in the same patch as what it
 * speaks of, so an operator that dies between two writes goes on from the last one.
 *
 * clear: jobs are being finished (handover of the agent, drain of the node). test: the image is patched, the new container
 * must prove itself. back: the old image is patched in again and must come up. A `pod` is only cleared, then deleted.
 */
const zRollout = z.object({
  what: z.enum(['agent', 'runtime', 'pod']),
  step: z.enum(['clear', 'test', 'back']),
  from: z.string().max(512),
  to: z.string().max(512),
  /** Begin of the step, wall clock, ms. */
  since: z.number(),
  /** The container that ran when the image was patched: another one is the new image's. */
  container: z.string().max(256).optional(),
  /** The node served when it began: only then is anything lost by the new image, and patched back. */
  healthy: z.boolean(),
  /** Why it is patched back. */
  why: z.string().max(256).optional(),
});
export type Rollout = Readonly<z.infer<typeof zRollout>>;

/** The state on the pod; undefined when none is under way, or what stands there cannot be read. */
export const rolloutOf = (pod: Pod | undefined): Rollout | undefined => {
  const text = pod?.metadata?.annotations?.[ANNOTATION.rollout];
  return text === undefined ? undefined : parsed(zRollout, text);
};

const zBack = z.object({
  refused: z.string().max(512),
  using: z.string().max(512),
  why: z.string().max(256),
});
const zRolledBack = z.object({ agent: zBack.optional(), runtime: zBack.optional() });

/** Images of this node that were patched back. They stay away from it, and from its next pods, until a person says otherwise. */
export type RolledBack = Readonly<z.infer<typeof zRolledBack>>;

export const rolledBackOf = (node: ResultityNode): RolledBack => {
  const text = node.metadata.annotations?.[ANNOTATION.rolledBack];
  return text === undefined ? {} : (parsed(zRolledBack, text) ?? {});
};

const parsed = <T>(schema: z.ZodType<T>, text: string): T | undefined => {
  try {
    return schema.safeParse(JSON.parse(text)).data;
  } catch {
    return undefined;
  }
};

/** `sha256:` and the first twelve digits, as messages name an image. */
export const shortImage = (image: string): string => /@sha256:([0-9a-f]{12})/.exec(image)?.[1] ?? image.slice(0, 40);
