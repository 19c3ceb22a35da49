import { meetsMinimum, participates, type SnapshotDocument, servedIn } from '../config/index.ts';
import { type Heartbeat, type NodeState, tierAtLeast } from '../protocol/index.ts';

import type { NodeRow } from './store.ts';

/** What is known of a node's presence. Ages are monotonic milliseconds. */
export interface Presence {
  readonly connected: boolean;
  /** Since the last heartbeat of this session, undefined before the first. */
  readonly heartbeatAgeMs: number | undefined;
}

/** Heartbeat interval and how many may be missed. */
export interface RotationRule {
  readonly heartbeatMs: number;
  readonly missedHeartbeats: number;
}

export const DEFAULT_ROTATION: RotationRule = { heartbeatMs: 15_000, missedHeartbeats: 3 };

/** In rotation = open session and a heartbeat within the window (docs/protocol.md §4). */
export const inRotation = (presence: Presence, rule: RotationRule): boolean =>
  presence.connected &&
  presence.heartbeatAgeMs !== undefined &&
  presence.heartbeatAgeMs <= rule.heartbeatMs * rule.missedHeartbeats;

/** Why a node with this heartbeat may not serve under this configuration; empty when it may. Reasons of docs/kubernetes.md. */
export const shortcomings = (heartbeat: Heartbeat, document: SnapshotDocument): string[] => {
  const reasons: string[] = [];
  if (!tierAtLeast(heartbeat.isolation.tier, document.isolation.minTier)) reasons.push('IsolationUnproved');
  if (!meetsMinimum(heartbeat.versions.agent, document.agent.minVersion)) reasons.push('VersionTooOld');
  if (!participates(document, document.environment)) reasons.push('ParticipationOff');
  return reasons;
};

/** Models of the configuration that the node has active and loaded at the listed digest, and may serve in its subclouds. */
export const servedModels = (
  heartbeat: Heartbeat,
  document: SnapshotDocument,
  subclouds: readonly string[],
): Map<string, `sha256:${string}`> => {
  const served = new Map<string, `sha256:${string}`>();
  if (!heartbeat.runtime.healthy) return served;
  const listed = new Map(
    document.models.filter((m) => m.state === 'active' && servedIn(m, subclouds)).map((m) => [m.ref, m.digest]),
  );
  for (const m of heartbeat.models)
    if (m.state === 'active' && m.loaded && listed.get(m.model) === m.digest) served.set(m.model, m.digest);
  return served;
};

/** A node's public state from what is durable and whether it is in rotation and fit to serve. */
export const stateOf = (row: NodeRow, rotating: boolean): NodeState => {
  if (row.admission === 'revoked') return 'revoked';
  if (row.admission === 'pending') return 'pending';
  if (row.order === 'paused') return 'paused';
  if (row.order === 'draining') return 'draining';
  if (!row.everActive) return 'registered';
  return rotating ? 'active' : 'out_of_rotation';
};
