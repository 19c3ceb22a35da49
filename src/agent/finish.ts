import type { Clock } from '../lib/clock.ts';
import type { LauncherLink } from '../runtime/index.ts';
import type { PodAnnotations } from './annotations.ts';
import type { Connection } from './connection.ts';
import type { Drain } from './drain.ts';
import type { EngineWatch } from './engine-watch.ts';
import type { Settings } from './settings.ts';

export interface FinishOptions {
  readonly settings: Pick<Settings, 'drain' | 'graceSeconds'>;
  readonly clock: Clock;
  readonly link: LauncherLink;
  readonly watch: EngineWatch;
  readonly annotations: PodAnnotations;
  readonly drain: Drain;
  readonly connection: Connection;
}

/** Kept of the pod's grace for flushing and for the engine's own end. */
const RESERVE_SECONDS = 10;
const BEAT_MS = 15_000;

/**
 * SIGTERM: stop accepting → finish or job.lost → bye. How long work may take depends on what ends: the whole pod (drain
 * time), only this agent while the engine lives on (handover time), or nothing to wait for.
 */
export const finishWork = async (o: FinishOptions): Promise<void> => {
  const { settings, clock, drain } = o;
  const { facts } = o.watch.view;
  const terminating = (await o.link.terminating()) || o.annotations.orders.drain;
  const alive = facts?.pid != null && Math.abs(clock.now() - facts.beat) < BEAT_MS;
  const budget = Math.max(0, settings.graceSeconds - RESERVE_SECONDS) * 1000;
  const { timeoutSeconds, handoverSeconds } = settings.drain;
  if (terminating) await drain.begin('stop', Math.min(timeoutSeconds * 1000, budget));
  else await drain.begin('stop', alive ? Math.min(handoverSeconds * 1000, budget) : 0);
  if (terminating) await o.link.drained();
  const { session } = o.connection;
  session?.bye(terminating ? 'shutdown' : 'restart');
  if (session) await Promise.race([session.done, clock.sleep(1_000)]);
};
