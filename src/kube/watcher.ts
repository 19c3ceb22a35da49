import { fullJitter, jitter } from '../lib/backoff.ts';
import { assertNever } from '../lib/errors.ts';
import type { KubeClient } from './client.ts';
import { ApiError, apiErrorFrom, isGone, isInvalid, KubeError } from './errors.ts';
import type { KubeMetrics } from './metrics.ts';
import { breathe, deadline, pause } from './timing.ts';
import type { KubeObject, ResourceType } from './types.ts';

/**
 * What a watch tells. `init … initApply* … initDone` is a whole list: what was not named in between is gone.
 * `error` is told, not thrown: the watch goes on by itself after `retryInMs`.
 */
export type WatchEvent<T extends KubeObject> =
  | { readonly type: 'init' }
  | { readonly type: 'initApply'; readonly object: T }
  | { readonly type: 'initDone'; readonly resourceVersion: string }
  | { readonly type: 'apply'; readonly object: T }
  | { readonly type: 'delete'; readonly object: T }
  | { readonly type: 'bookmark'; readonly resourceVersion: string }
  | { readonly type: 'error'; readonly error: unknown; readonly retryInMs: number };

/** What a watch needs of a client. */
export type WatchClient = Pick<KubeClient, 'list' | 'watchLines' | 'clock'>;

export interface WatcherOptions {
  readonly signal: AbortSignal;
  readonly namespace?: string | undefined;
  readonly labelSelector?: string | undefined;
  readonly fieldSelector?: string | undefined;
  readonly metrics?: KubeMetrics | undefined;
  /** Objects a page; default 500. */
  readonly pageSize?: number | undefined;
  /** Take the first list as a stream (`sendInitialEvents`); falls back to pages where the server refuses. Default false. */
  readonly streamingList?: boolean | undefined;
  /** A watch on which nothing came for so long is opened again; default 120 s (bookmarks come about every minute). */
  readonly idleMs?: number | undefined;
  /** Uniform in [0, 1). */
  readonly random?: (() => number) | undefined;
}

const TIMEOUT_SECONDS = 290;
const BACKOFF = { baseMs: 800, capMs: 30_000 };
const HEALTHY_MS = 120_000;
/** A watch that ends sooner and empty is treated as an error, or a broken proxy would make a hot loop. */
const SHORT_MS = 1_000;
/** Objects of a page that are handed out without a turn of the loop in between. */
const TAKE_AT_ONCE = 100;
const INITIAL_END = 'k8s.io/initial-events-end';

type State =
  | { readonly at: 'listing' }
  | { readonly at: 'streaming' }
  | { readonly at: 'watching'; readonly resourceVersion: string };

/**
 * Lists and watches one resource type until `signal` ends it; it never gives up and never throws.
 * Resumes at the last version after every error but 410 (by status or in the stream), which starts over with a list.
 * Events of one object come in the order they happened. The consumer's pace is the stream's pace.
 */
export async function* watch<T extends KubeObject>(
  client: WatchClient,
  type: ResourceType<T>,
  options: WatcherOptions,
): AsyncGenerator<WatchEvent<T>, void> {
  const { signal, metrics } = options;
  const random = options.random ?? Math.random;
  let canStream = options.streamingList === true;
  const start = (): State => ({ at: canStream ? 'streaming' : 'listing' });
  let state: State = start();
  let failures = 0;
  let healthySince: number | undefined;
  const healthy = (): void => {
    healthySince ??= client.clock.monotonic();
  };

  while (!signal.aborted) {
    let failure: unknown;
    try {
      switch (state.at) {
        case 'listing': {
          metrics?.relists.inc({ kind: type.kind });
          state = yield* listPages(client, type, options);
          healthy();
          break;
        }
        case 'streaming':
          metrics?.relists.inc({ kind: type.kind });
          state = yield* follow(client, type, options, undefined, healthy, random);
          break;
        case 'watching':
          state = yield* follow(client, type, options, state.resourceVersion, healthy, random);
          metrics?.watchRestarts.inc({ kind: type.kind, reason: 'ended' });
          break;
        default:
          assertNever(state);
      }
      continue;
    } catch (error) {
      failure = error;
    }
    if (signal.aborted) return;
    let reason =
      failure instanceof ApiError ? String(failure.status) : failure instanceof KubeError ? failure.code : 'error';
    if (failure instanceof Interrupted) {
      reason = failure.why;
      // What was seen before the break is not asked for again.
      if (failure.resourceVersion !== undefined) state = { at: 'watching', resourceVersion: failure.resourceVersion };
      failure = failure.cause;
    }
    metrics?.watchRestarts.inc({ kind: type.kind, reason });
    if (mustRelist(failure)) state = start();
    else if (state.at === 'streaming' && isInvalid(failure)) {
      // The server does not stream lists: known now, and no reason to wait.
      canStream = false;
      state = { at: 'listing' };
      continue;
    }
    if (healthySince !== undefined && client.clock.monotonic() - healthySince >= HEALTHY_MS) failures = 0;
    healthySince = undefined;
    // Half fixed, half random: spread, and yet never a hot loop.
    const half = Math.min(BACKOFF.capMs, BACKOFF.baseMs * 2 ** Math.min(failures, 30)) / 2;
    const asked = failure instanceof ApiError ? (failure.retryAfterMs ?? 0) : 0;
    const retryInMs = Math.max(
      half + fullJitter(failures, { baseMs: BACKOFF.baseMs / 2, capMs: BACKOFF.capMs / 2, random }),
      asked,
    );
    failures += 1;
    yield { type: 'error', error: failure, retryInMs };
    await pause(client.clock, retryInMs, signal);
  }
}

/** The version is too old, or one that this server has never had (etcd restored from a backup): only a list helps. */
const mustRelist = (error: unknown): boolean =>
  isGone(error) || (error instanceof ApiError && error.causes.some((c) => c.reason === 'ResourceVersionTooLarge'));

/** A stream that broke: what broke it, and how far it had come. */
class Interrupted extends Error {
  readonly why: string;
  readonly resourceVersion: string | undefined;
  constructor(why: string, resourceVersion: string | undefined, cause: unknown) {
    super(why, { cause });
    this.why = why;
    this.resourceVersion = resourceVersion;
  }
}

async function* listPages<T extends KubeObject>(
  client: WatchClient,
  type: ResourceType<T>,
  o: WatcherOptions,
): AsyncGenerator<WatchEvent<T>, State> {
  const query = { ...o, limit: o.pageSize ?? 500 };
  yield { type: 'init' };
  let page = await client.list(type, query);
  for (;;) {
    // A page was parsed in one go; taking its objects in is as much work again.
    for (const [i, object] of page.items.entries()) {
      if (i % TAKE_AT_ONCE === 0) await breathe();
      yield { type: 'initApply', object };
    }
    if (page.continue === undefined) break;
    page = await client.list(type, { ...query, continue: page.continue });
  }
  // All pages are of one snapshot, whose version each of them carries.
  yield { type: 'initDone', resourceVersion: page.resourceVersion };
  return { at: 'watching', resourceVersion: page.resourceVersion };
}

interface RawEvent<T> {
  readonly type: 'ADDED' | 'MODIFIED' | 'DELETED' | 'BOOKMARK' | 'ERROR';
  readonly object: T;
}

/** One watch request. `from` undefined = the list comes as a stream first. Ends by return (server closed in order) or throw. */
async function* follow<T extends KubeObject>(
  client: WatchClient,
  type: ResourceType<T>,
  o: WatcherOptions,
  from: string | undefined,
  healthy: () => void,
  random: () => number,
): AsyncGenerator<WatchEvent<T>, State> {
  let version = from;
  let initial = from === undefined;
  const opened = client.clock.monotonic();
  const idleMs = o.idleMs ?? 120_000;
  const idle = deadline(
    client.clock,
    idleMs,
    o.signal,
    () => new KubeError('kube_timeout', `watch ${type.plural}: nothing came for ${idleMs} ms`),
  );
  try {
    if (initial) yield { type: 'init' };
    const lines = client.watchLines(type, {
      signal: idle.signal,
      onOpen: healthy,
      namespace: o.namespace,
      labelSelector: o.labelSelector,
      fieldSelector: o.fieldSelector,
      resourceVersion: version,
      sendInitialEvents: initial,
      timeoutSeconds: Math.round(jitter(TIMEOUT_SECONDS, 0.05, random)),
    });
    let any = false;
    for await (const line of lines) {
      any = true;
      const event = parseLine<T>(type, line);
      if (event.type === 'ERROR') throw inStream(type, event.object);
      version = event.object.metadata?.resourceVersion ?? version;
      switch (event.type) {
        case 'ADDED':
        case 'MODIFIED':
          yield { type: initial ? 'initApply' : 'apply', object: event.object };
          break;
        case 'DELETED':
          yield { type: 'delete', object: event.object };
          break;
        case 'BOOKMARK': {
          const ends = initial && event.object.metadata?.annotations?.[INITIAL_END] === 'true';
          if (ends) {
            initial = false;
            yield { type: 'initDone', resourceVersion: version ?? '' };
          } else if (!initial) yield { type: 'bookmark', resourceVersion: version ?? '' };
          break;
        }
        default:
          assertNever(event.type);
      }
      idle.poke();
    }
    if (o.signal.aborted) throw o.signal.reason;
    if (initial || version === undefined)
      throw new KubeError('kube_watch', `watch ${type.plural}: ended within the first list`);
    if (!any && client.clock.monotonic() - opened < SHORT_MS)
      throw new KubeError('kube_watch', `watch ${type.plural}: closed at once and empty`);
    return { at: 'watching', resourceVersion: version };
  } catch (error) {
    if (initial) throw error;
    const cause = idle.expired() ? idle.signal.reason : error;
    const why = idle.expired()
      ? 'idle'
      : cause instanceof ApiError
        ? String(cause.status)
        : cause instanceof KubeError
          ? cause.code
          : 'error';
    throw new Interrupted(why, version, cause);
  } finally {
    idle.abort(new KubeError('kube_watch', 'the watch was left'));
    idle.close();
  }
}

const parseLine = <T extends KubeObject>(type: ResourceType<T>, line: string): RawEvent<T> => {
  let event: RawEvent<T> | undefined;
  try {
    event = JSON.parse(line) as RawEvent<T>;
  } catch (cause) {
    throw new KubeError('kube_watch', `watch ${type.plural}: a line is no JSON`, { cause });
  }
  if (typeof event?.object !== 'object' || event.object === null || !KNOWN.has(event.type)) {
    throw new KubeError('kube_watch', `watch ${type.plural}: a line is no event`);
  }
  return event;
};

const KNOWN: ReadonlySet<string> = new Set(['ADDED', 'MODIFIED', 'DELETED', 'BOOKMARK', 'ERROR']);

const inStream = (type: ResourceType, status: unknown): ApiError =>
  apiErrorFrom(`watch ${type.plural}`, (status as { code?: number }).code ?? 500, status);
