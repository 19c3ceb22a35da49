import type { Clock } from '../lib/clock.ts';
import { type NodeState, type NodeStatus, zNodeStatus } from '../protocol/index.ts';
import type { ConfigSync } from './config-sync.ts';
import type { Connection } from './connection.ts';
import type { Drain } from './drain.ts';
import type { NetworkHttp } from './http.ts';

const EVERY_MS = 5_000;
/** With nothing to learn the network is asked once a minute. */
const ASK_EVERY = 12;

/** What the network publicly says of a node; undefined when it does not answer, or does not know it. */
export const askStatus = async (
  http: Pick<NetworkHttp, 'get'>,
  node: string,
  signal: AbortSignal,
): Promise<NodeStatus | undefined> => {
  const answer = zNodeStatus.safeParse(await http.get(`/v1/status/nodes/${node}`, signal).catch(() => null));
  return answer.success ? answer.data : undefined;
};

export interface SurveyOptions {
  readonly node: string;
  readonly http: Pick<NetworkHttp, 'get'>;
  readonly clock: Clock;
  readonly config: Pick<ConfigSync, 'freshness'>;
  readonly drain: Pick<Drain, 'begin' | 'end'>;
  readonly drainMs: number;
  readonly connection: Pick<Connection, 'session'>;
  /** A model is served and the network has not said yet that the node is active. */
  readonly learning: () => boolean;
  readonly readHardware: () => Promise<void>;
  readonly onState: (state: NodeState, reason: string | undefined) => void;
}

/** What changes slowly and is asked for: hardware, staleness of the configuration, what the network says of this node. */
export const survey = async (o: SurveyOptions, signal: AbortSignal): Promise<void> => {
  for (let tick = 0; !signal.aborted; tick++) {
    await o.readHardware();
    if (o.config.freshness === 'Expired') void o.drain.begin('stale', o.drainMs);
    else o.drain.end('stale');
    if (o.connection.session && (o.learning() || tick % ASK_EVERY === 0)) {
      const seen = await askStatus(o.http, o.node, signal);
      if (seen && o.connection.session) o.onState(seen.state, seen.reasons[0]);
    }
    await o.clock.sleep(EVERY_MS, signal).catch(() => {});
  }
};
