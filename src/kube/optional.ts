import type { Clock } from '../lib/clock.ts';
import { errorText } from '../lib/errors.ts';
import type { Logger } from '../lib/log.ts';
import type { KubeClient } from './client.ts';
import { isNotFound } from './errors.ts';
import type { Store } from './store.ts';
import { pause } from './timing.ts';
import { apiVersionOf, type KubeObject, type ResourceType } from './types.ts';
import { type WatcherOptions, watch } from './watcher.ts';

interface Followed<T extends KubeObject> {
  readonly client: KubeClient;
  readonly clock: Clock;
  readonly log: Logger;
  readonly type: ResourceType<T>;
  readonly store: Store<T>;
  readonly options: Omit<WatcherOptions, 'signal'>;
  readonly signal: AbortSignal;
}

/** How often an API that is not there is looked for. */
const LOOK_MS = 30_000;

/** Keeps `store` to a kind whose API may not be served: filled by a watch while it is, empty while it is not. Never throws. */
export const followOptional = async <T extends KubeObject>(f: Followed<T>): Promise<void> => {
  const { client, clock, log, type, store, signal } = f;
  const empty = (): void => {
    store.handle({ type: 'init' });
    store.handle({ type: 'initDone', resourceVersion: '0' });
  };
  while (!signal.aborted) {
    const served = await isServed(client, type, signal).catch((error: unknown) => {
      if (!signal.aborted)
        log.warn({ kind: type.kind, error: errorText(error) }, 'cannot tell whether an API is served');
      return false; // as good as gone: nothing rests on a kind that may be missing, and it is looked for again
    });
    if (served) {
      log.info({ kind: type.kind, group: type.group }, 'an optional API is there');
      await follow(f);
      if (!signal.aborted) log.info({ kind: type.kind, group: type.group }, 'an optional API is gone');
    }
    if (signal.aborted) return;
    empty();
    await pause(clock, LOOK_MS, signal);
  }
};

/** Until the API is gone or the signal ends. Refusals for other reasons (no right, an overload) are the watch's own business. */
const follow = async <T extends KubeObject>({ client, type, store, options, signal }: Followed<T>): Promise<void> => {
  for await (const event of watch(client, type, { ...options, signal })) {
    if (event.type === 'error' && isNotFound(event.error)) return;
    await store.handle(event);
  }
};

const isServed = async (client: KubeClient, type: ResourceType, signal: AbortSignal): Promise<boolean> => {
  try {
    const answer = (await client.raw('GET', `/apis/${apiVersionOf(type)}`, { signal })) as {
      resources?: readonly { readonly name?: string }[];
    };
    return answer.resources?.some((r) => r.name === type.plural) === true;
  } catch (error) {
    if (isNotFound(error)) return false;
    throw error;
  }
};
