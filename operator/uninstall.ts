import { FINALIZER } from '../src/api/contract.ts';
import { isConflict, isNotFound, type KubeClient, type KubeObject, type ResourceType } from '../src/kube/index.ts';
import type { Clock, Logger } from '../src/lib/index.ts';
import { KIND } from './kinds.ts';

const OURS: ReadonlySet<string> = new Set(Object.values(FINALIZER));

/** Takes our finalizers off one object, whoever writes to it meanwhile. */
const release = async <T extends KubeObject>(client: KubeClient, type: ResourceType<T>, found: T): Promise<boolean> => {
  for (let object = found; ; ) {
    const { name = '', namespace, resourceVersion, finalizers = [] } = object.metadata ?? {};
    const left = finalizers.filter((f) => !OURS.has(f));
    if (left.length === finalizers.length) return false;
    const ref = { name, ...(namespace === undefined ? {} : { namespace }) };
    try {
      await client.patchMerge(type, ref, { metadata: { resourceVersion, finalizers: left } });
      return true;
    } catch (error) {
      if (isNotFound(error)) return false;
      if (!isConflict(error)) throw error;
      object = await client.get(type, ref);
    }
  }
};

const runs = (
  client: KubeClient,
  deployment: { readonly name: string; readonly namespace: string },
): Promise<boolean> =>
  client.get(KIND.deployment, deployment).then(
    ({ status }) => (status?.replicas ?? 0) > 0,
    (error: unknown) => {
      if (isNotFound(error)) return false;
      throw error;
    },
  );

/**
 * What `helm uninstall` runs first: stops the operator, so that nobody puts finalizers back, and takes ours off every
 * object. Nothing is deleted: nodes go on serving, and the objects wait for the next installation or for their deletion.
 * Safe to repeat.
 */
export const uninstall = async (
  client: KubeClient,
  deployment: { readonly name: string; readonly namespace: string },
  watchNamespace: string,
  log: Logger,
  clock: Clock,
  signal: AbortSignal,
): Promise<void> => {
  await client.patchMerge(KIND.deployment, deployment, { spec: { replicas: 0 } }).catch((error: unknown) => {
    if (!isNotFound(error)) throw error;
  });
  while (await runs(client, deployment)) await clock.sleep(1_000, signal);
  const where = watchNamespace === '' ? {} : { namespace: watchNamespace };
  for (const type of [KIND.node, KIND.model] as readonly ResourceType<KubeObject>[])
    for await (const object of client.listAll(type, where))
      if (await release(client, type, object))
        log.info(
          { kind: type.kind, key: `${object.metadata?.namespace}/${object.metadata?.name}` },
          'finalizer taken off',
        );
};
