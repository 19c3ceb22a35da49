import type { Condition, NodeConditionType, Reason, ResultityNode } from '../../src/api/index.ts';
import type { EventInput } from '../../src/kube/index.ts';
import type { OwnStatus } from './status.ts';

export interface NodeEvent extends EventInput {
  readonly reason: Reason;
}

const normal = (reason: Reason, note: string): NodeEvent => ({ type: 'Normal', reason, note });
const warning = (reason: Reason, note: string): NodeEvent => ({ type: 'Warning', reason, note });

/** Each configuration is news of its own: by its action it is no repetition of the one before. */
const applied = (message: string): NodeEvent => ({
  ...normal('ConfigApplied', message),
  action: message.slice(0, 128),
});

/** Reasons that only say that something takes its time: no news. */
const QUIET: ReadonlySet<string> = new Set([
  'Waiting',
  'NotReady',
  'PodPending',
  'PodStarting',
  'AgentStarting',
  'AgentNotReporting',
  'Queued',
  'Downloading',
  'Verifying',
  'Testing',
  'LauncherMissing',
  'LoadingWeights',
  'Compiling',
  'CapturingGraphs',
  'NotRegistered',
  'DigestPending',
  'NotServing',
  'EngineStopped',
  'Draining',
]);

/** A model that was tried and failed. */
const QUARANTINE: ReadonlySet<string> = new Set([
  'DigestMismatch',
  'SignatureInvalid',
  'TestInferenceFailed',
  'Quarantined',
  'ModelInvalid',
]);

type Tell = (now: Condition) => NodeEvent | undefined;

/** Steps on the way that their conditions tell well enough: news only when something had been wrong with them. */
const EXPECTED: readonly NodeConditionType[] = ['GPUFit', 'PodScheduled', 'RuntimeIsolated', 'NetworkVisible'];

/** What a condition that turned True tells. */
const GOOD: Partial<Record<NodeConditionType, Tell>> = {
  GPUFit: (c) => normal('FitFound', c.message),
  PodScheduled: () => normal('PodScheduled', 'the pod has its Kubernetes node'),
  Registered: (c) => normal('NodeRegistered', c.message),
  ModelsVerified: (c) => normal('ModelVerified', c.message),
  RuntimeIsolated: (c) => normal('IsolationProved', c.message),
  ConfigSynced: (c) => applied(c.message),
  NetworkVisible: (c) => normal('NetworkSeesNode', c.message),
  Serving: (c) => normal('Serving', c.message),
  Paused: (c) => normal(c.reason as Reason, c.message),
};

/** What a condition that is False (or Degraded, that is True) for a reason that is news tells. */
const BAD: readonly NodeConditionType[] = [
  'GPUFit',
  'PodScheduled',
  'AgentReady',
  'RuntimeReady',
  'RuntimeIsolated',
  'Registered',
  'ConfigSynced',
  'ModelsVerified',
];

/** One event per transition that is news, out of the difference of two statuses: a story for `kubectl describe`. Pure. */
export const eventsOf = (node: ResultityNode, next: OwnStatus): NodeEvent[] => {
  const events: NodeEvent[] = [];
  const before = new Map((node.status?.conditions ?? []).map((c) => [c.type, c]));
  for (const now of next.conditions ?? []) {
    const type = now.type as NodeConditionType;
    const old = before.get(type);
    if (now.status === 'True' && old?.status !== 'True') {
      const mended = old?.status === 'False' && !QUIET.has(old.reason);
      const event = mended || !EXPECTED.includes(type) ? GOOD[type]?.(now) : undefined;
      if (event) events.push(event);
      if (type === 'Degraded' && now.reason === 'IdentityMismatch') events.push(warning(now.reason, now.message));
    }
    if (now.status === 'False' && old?.reason !== now.reason && BAD.includes(type) && !QUIET.has(now.reason)) {
      if (type === 'ModelsVerified' && QUARANTINE.has(now.reason)) {
        events.push(warning('ModelQuarantined', `${now.reason}: ${now.message}`));
        continue;
      }
      const told = events.some((e) => e.reason === now.reason);
      if (!told) events.push(warning(now.reason as Reason, now.message));
    }
    if (type === 'Progressing' && now.reason === 'UpdateHeld' && old?.reason !== now.reason)
      events.push(normal('UpdateHeld', now.message));
    if (type === 'Serving' && now.status === 'False' && old?.status === 'True')
      events.push(warning('NotServing', now.message));
  }
  const digest = next.config?.shortDigest;
  const synced = next.conditions?.find((c) => c.type === 'ConfigSynced')?.status === 'True';
  if (
    synced &&
    digest !== undefined &&
    before.get('ConfigSynced')?.status === 'True' &&
    node.status?.config?.shortDigest !== digest
  )
    events.push(applied(`applied ${digest}`));
  return events;
};
