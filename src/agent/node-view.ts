import type { AgentModelStatus, AgentPhase, AgentStatus } from '../api/resultity-node-status.ts';
import type { ConfigRef, Heartbeat, Hello, NodeState } from '../protocol/index.ts';
import type { EngineView } from './engine-watch.ts';
import type { Hardware } from './hardware.ts';
import type { Isolation } from './isolation.ts';
import type { ModelView } from './model-book.ts';
import type { Step } from './model-next.ts';
import type { Obstacle } from './plan.ts';
import type { Freshness } from './ticket-age.ts';

/** Everything that the node tells of itself, at one moment: heartbeats, status and /statusz are functions of it. */
export interface NodeView {
  readonly nodeId: `0x${string}`;
  readonly bootId: string;
  readonly uptimeMs: number;
  readonly now: number;
  readonly version: string;
  readonly runtimeVersion: string;
  readonly images: { readonly agent: string; readonly runtime: string };
  readonly network: { readonly state: NodeState | 'unregistered'; readonly reason: string | undefined };
  readonly connected: boolean;
  readonly superseded: boolean;
  readonly config: {
    readonly applied: ConfigRef | null;
    readonly pending: ConfigRef | null;
    /** The last fresh ticket; null before the first. */
    readonly ticket: Freshness | null;
    /** Why it is pending. */
    readonly obstacle: Obstacle | null;
    readonly floor: { readonly epoch: number; readonly version: number } | null;
  };
  readonly models: readonly ModelView[];
  /** `name:version` of the tested model in a live engine. */
  readonly loaded: string | null;
  readonly step: Step;
  readonly engine: EngineView;
  /** When the engine that loads is expected to be ready (wall clock, ms). */
  readonly readyBy: number | null;
  readonly hardware: Hardware;
  readonly capacity: { readonly slots: number; readonly queue: number };
  readonly used: number;
  readonly isolation: Isolation;
  readonly clockOffsetMs: number;
  readonly subclouds: readonly string[];
  readonly drain: 'no' | 'draining' | 'drained' | 'handover';
  readonly paused: boolean;
  readonly errors: readonly string[];
  readonly lastError: { readonly code: string; readonly message: string; readonly at: number } | null;
}

const HEARTBEAT_MAX = 8_192;

/** The body of a heartbeat (docs/protocol.md §4), ≤ 8 KiB: Active models first, and as many as fit. */
export const heartbeatOf = (view: NodeView): Heartbeat => {
  const { runtime, metrics, tokensPerSecond } = view.engine;
  const models = view.models
    .filter((m) => m.status.state !== 'archived')
    .sort((a, b) => Number(b.status.state === 'active') - Number(a.status.state === 'active'))
    .map((m) => ({
      model: m.ref,
      digest: m.digest,
      state: m.status.state,
      loaded: m.ref === view.loaded,
      ...('reason' in m.status ? field('reason', cut(m.status.reason, 64)) : {}),
    }));
  const body = (count: number): Heartbeat => ({
    bootId: view.bootId,
    uptimeMs: Math.round(view.uptimeMs),
    versions: { agent: cut(view.version, 64), runtime: cut(view.runtimeVersion, 64) },
    images: view.images.agent === '' ? null : { agent: view.images.agent, runtime: view.images.runtime },
    config: view.config.applied && {
      ...view.config.applied,
      ...(view.config.pending ? { pending: view.config.pending, restrictedBy: view.config.pending } : {}),
    },
    models: models.slice(0, count),
    hardware: view.hardware,
    runtime: {
      healthy: runtime.phase === 'ready' && view.loaded !== null,
      phase: runtime.phase,
      running: metrics?.running ?? 0,
      waiting: metrics?.waiting ?? 0,
      ...(tokensPerSecond > 0 ? { tokensPerSecond } : {}),
    },
    capacity: view.capacity,
    used: view.used,
    isolation: { tier: view.isolation.tier, provedAt: Math.round(view.isolation.provedAt) },
    clockOffsetMs: view.clockOffsetMs,
    subclouds: [...view.subclouds],
    errors: view.errors.slice(-8),
  });
  for (let count = models.length; ; count = Math.floor(count / 2)) {
    const candidate = body(count);
    if (count === 0 || Buffer.byteLength(JSON.stringify(candidate)) <= HEARTBEAT_MAX) return candidate;
  }
};

/** What opens a session (docs/protocol.md §3), but for what the session itself adds. */
export const helloOf = (
  view: NodeView,
  audience: string,
  incarnation: number,
  jobs: Hello['jobs'],
): Omit<Hello, 'node' | 'clientNonce'> => ({
  audience,
  bootId: view.bootId,
  incarnation,
  versions: { agent: view.version, runtime: view.runtimeVersion, protocol: ['1'] },
  config: view.config.applied && {
    ...view.config.applied,
    ...(view.config.pending ? { pending: view.config.pending } : {}),
  },
  capacity: view.capacity,
  models: view.models.filter((m) => m.status.state === 'active').map((m) => m.ref),
  jobs,
});

/** Where the agent is in its life. */
export const phaseOf = (view: NodeView): AgentPhase => {
  if (view.superseded) return 'Failed';
  if (view.drain === 'handover') return 'Handover';
  if (view.drain === 'drained') return 'Drained';
  if (view.drain === 'draining') return 'Draining';
  if (view.paused || view.network.state === 'paused') return 'Paused';
  switch (view.step) {
    case 'active':
      return view.loaded === null ? 'Loading' : 'Active';
    case 'installing':
      return 'Installing';
    case 'loading':
      return 'Loading';
    case 'proving':
      return 'Proving';
    case 'testing':
      return 'Testing';
    case 'quarantined':
      return 'Failed';
    default:
      return view.network.state === 'unregistered' || view.network.state === 'pending' ? 'Registering' : 'Syncing';
  }
};

const time = (ms: number): string => new Date(ms).toISOString().replace(/\.\d+Z$/, 'Z');

/** At most `max` characters, none of them half. */
const cut = (text: string, max: number): string => text.slice(0, max).toWellFormed();

/** The field, or nothing where it has no value. */
const field = <K extends string, V>(name: K, value: V | null | undefined | ''): { [key in K]?: V } =>
  (value === null || value === undefined || value === '' ? {} : { [name]: value }) as { [key in K]?: V };

/**
 * status.agent of the ResultityNode: nothing in it changes all the time. What has no value is left out, as server-side
 * apply writes an empty object or list as null, which the CRD refuses.
 */
export const statusOf = (view: NodeView): AgentStatus => {
  const { applied, pending, floor, obstacle } = view.config;
  const { lastError } = view;
  return {
    nodeId: view.nodeId,
    version: cut(view.version, 64),
    ...field('image', cut(view.images.agent, 512)),
    phase: phaseOf(view),
    ...field('readyBy', view.readyBy === null ? null : time(view.readyBy)),
    ...field('floor', floor && { ...floor }),
    ...(applied || pending
      ? {
          config: {
            ...field('applied', applied?.digest),
            ...field('pending', pending?.digest),
            ...field('restrictedBy', applied && pending?.digest),
            ...field('ticketAge', view.config.ticket === 'Fresh' ? null : view.config.ticket),
            ...field('blocked', obstacle && { step: obstacle.step, reason: cut(obstacle.reason, 64) || 'failed' }),
          },
        }
      : {}),
    ...(view.models.length > 0 ? { models: view.models.slice(0, 64).map(modelStatus) } : {}),
    runtime: {
      ...field('image', cut(view.images.runtime, 512)),
      ...field('version', cut(view.runtimeVersion, 64)),
      phase: view.engine.runtime.phase,
    },
    isolation: {
      tier: view.isolation.tier,
      ...(view.isolation.provedAt > 0 ? { provedAt: time(view.isolation.provedAt) } : {}),
    },
    network: { state: view.network.state, ...field('reason', cut(view.network.reason ?? '', 64)) },
    ...field(
      'lastError',
      lastError && {
        code: cut(lastError.code, 64) || 'failed',
        message: cut(lastError.message || lastError.code, 256) || 'failed',
        at: time(lastError.at),
      },
    ),
  };
};

const modelStatus = (m: ModelView): AgentModelStatus => ({
  model: m.ref,
  digest: m.digest,
  state: m.status.state,
  ...(m.status.state === 'pending' && m.status.reason === 'downloading'
    ? { progress: m.percent - (m.percent % 10) }
    : {}),
  ...field('reason', cut(modelReason(m), 64)),
});

/** The CamelCase reason of the condition registry; empty when there is nothing to explain. */
const modelReason = (m: ModelView): string => {
  switch (m.status.state) {
    case 'failed':
    case 'inactive':
      return m.status.reason;
    case 'pending':
      return {
        queued: m.note ?? 'Queued',
        downloading: 'Downloading',
        verifying: 'Verifying',
        loading: m.note ?? 'LoadingWeights',
        testing: 'Testing',
      }[m.status.reason];
    default:
      return '';
  }
};
