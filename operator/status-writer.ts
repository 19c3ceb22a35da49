import { FIELD_MANAGER } from '../src/api/contract.ts';
import { type KubeClient, type KubeMetrics, type KubeObject, type Store, stableJson } from '../src/kube/index.ts';

export interface StatusWriterOptions {
  readonly client: KubeClient;
  readonly kubeMetrics: KubeMetrics;
}

/**
 * Server-side applies a whole status under the operator's own manager; undefined when `live` says it already.
 * The uid makes it fail (409) for another object of the same name, which must not inherit what this one was.
 */
export const writeStatus = async <T extends KubeObject>(
  { client, kubeMetrics }: StatusWriterOptions,
  store: Store<T>,
  object: T,
  live: unknown,
  status: unknown,
  signal?: AbortSignal,
): Promise<T | undefined> => {
  const { kind } = store.type;
  if (stableJson(live ?? {}) === stableJson(status)) {
    kubeMetrics.applies.inc({ kind, outcome: 'skipped' });
    return undefined;
  }
  const { name, namespace, uid } = object.metadata ?? {};
  const metadata = Object.fromEntries(Object.entries({ name, namespace, uid }).filter(([, v]) => v !== undefined));
  try {
    const written = await client.applyStatus(store.type, { metadata, status } as unknown as T, {
      fieldManager: FIELD_MANAGER.operatorStatus,
      ...(signal === undefined ? {} : { signal }),
    });
    kubeMetrics.applies.inc({ kind, outcome: 'sent' });
    return written;
  } catch (error) {
    kubeMetrics.applies.inc({ kind, outcome: 'failed' });
    throw error;
  }
};
