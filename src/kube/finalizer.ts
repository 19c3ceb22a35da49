import type { KubeClient } from './client.ts';
import { isNotFound } from './errors.ts';
import type { KubeObject, ResourceType } from './types.ts';

export interface FinalizerSteps<T, R> {
  /** The object is wanted, and our finalizer is on it: whatever this starts, `cleanup` will be asked to undo. */
  readonly apply: (object: T) => Promise<R>;
  /** The object is being deleted. True when everything is cleaned up: the finalizer goes. False or a throw: asked again later. */
  readonly cleanup: (object: T) => Promise<boolean>;
}

export type FinalizerResult<T, R> =
  | { readonly type: 'applied'; readonly result: R /** With our finalizer on. */; readonly object: T }
  | { readonly type: 'cleaning' }
  | { readonly type: 'cleaned' }
  /** It is being deleted and never carried our finalizer: nothing of ours was started. */
  | { readonly type: 'gone' };

/**
 * Guarantees that `cleanup` succeeds before the object goes, once `apply` has ever been started for it.
 * Both writes carry the resourceVersion: a stale object gives 409, and the caller tries again with a newer one.
 */
export const withFinalizer = async <T extends KubeObject, R>(
  client: KubeClient,
  type: ResourceType<T>,
  object: T,
  finalizer: string,
  steps: FinalizerSteps<T, R>,
  signal?: AbortSignal,
): Promise<FinalizerResult<T, R>> => {
  const { name = '', namespace, resourceVersion, uid, finalizers = [], deletionTimestamp } = object.metadata ?? {};
  const has = finalizers.includes(finalizer);
  const write = (next: readonly string[]): Promise<T> =>
    client.patchMerge(type, { name, namespace }, { metadata: { uid, resourceVersion, finalizers: next } }, { signal });
  if (deletionTimestamp === undefined) {
    const kept = has ? object : await write([...finalizers, finalizer]);
    return { type: 'applied', result: await steps.apply(kept), object: kept };
  }
  if (!has) return { type: 'gone' };
  if (!(await steps.cleanup(object))) return { type: 'cleaning' };
  try {
    await write(finalizers.filter((f) => f !== finalizer));
  } catch (error) {
    if (!isNotFound(error)) throw error; // already gone: somebody else took the finalizer off
  }
  return { type: 'cleaned' };
};
