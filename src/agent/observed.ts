import type { Connection } from './connection.ts';
import type { Drain } from './drain.ts';
import type { Heartbeats } from './heartbeat.ts';
import type { Jobs } from './jobs.ts';
import type { ModelManager } from './model-manager.ts';
import { type NodeView, statusOf } from './node-view.ts';
import type { Results } from './results.ts';

/** Why the node takes no jobs; undefined when it does. */
export const notReady = (at: {
  readonly manager: Pick<ModelManager, 'serving'>;
  readonly connection: Pick<Connection, 'session'>;
  readonly drain: Pick<Drain, 'draining' | 'paused'>;
}): string | undefined => {
  if (at.manager.serving === null) return 'no model is served';
  if (!at.connection.session) return 'not connected to the network';
  return at.drain.draining || at.drain.paused ? 'no jobs are taken' : undefined;
};

/** /statusz: what status.agent has, and what changes too often for it. */
export const statuszOf = (
  v: NodeView,
  jobs: Pick<Jobs, 'used' | 'running'>,
  results: Pick<Results, 'count'>,
  heartbeats: Pick<Heartbeats, 'ageMs'>,
): Record<string, unknown> => ({
  ...statusOf(v),
  connected: v.connected,
  uptimeMs: Math.round(v.uptimeMs),
  jobs: { open: jobs.used, running: jobs.running, unreceipted: results.count, capacity: v.capacity },
  heartbeatAgeMs: heartbeats.ageMs === null ? null : Math.round(heartbeats.ageMs),
  clockOffsetMs: v.clockOffsetMs,
  engine: { phase: v.engine.runtime.phase, reason: v.engine.runtime.reason, message: v.engine.runtime.message },
  tokensPerSecond: v.engine.tokensPerSecond,
  downloads: v.models.flatMap(({ ref, progress }) => (progress ? [{ model: ref, ...progress }] : [])),
  tests: v.models.flatMap(({ ref, test }) => (test ? [{ model: ref, ...test }] : [])),
  errors: v.errors,
});
