import type { AgentPhase, AgentStatus } from '../api/resultity-node-status.ts';
import type { ConfigRef, Heartbeat, NodeState } from '../protocol/index.ts';
import type { EngineView } from './engine-watch.ts';
import type { Hardware } from './hardware.ts';
import type { Isolation } from './isolation.ts';
import type { ModelView, Step } from './model-manager.ts';

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
    readonly floor: { readonly epoch: number; readonly version: number } | null;
  };
  readonly models: readonly ModelView[];
  /** `name:version` of the tested model in a live engine. */
  readonly loaded: string | null;
  readonly step: Step;
  readonly engine: EngineView;
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
      ...('reason' in m.status ? { reason: m.status.reason.slice(0, 64) } : {}),
    }));
  const body = (count: number): Heartbeat => ({
    bootId: view.bootId,
    uptimeMs: Math.round(view.uptimeMs),
    versions: { agent: view.version, runtime: view.runtimeVersion },
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

/** status.agent of the ResultityNode: nothing in it changes all the time. */
export const statusOf = (view: NodeView): AgentStatus => ({
  nodeId: view.nodeId,
  version: view.version,
  image: view.images.agent,
  phase: phaseOf(view),
  ...(view.config.floor ? { floor: { ...view.config.floor } } : {}),
  config: {
    ...(view.config.applied ? { applied: view.config.applied.digest } : {}),
    ...(view.config.pending ? { pending: view.config.pending.digest } : {}),
    ...(view.config.pending && view.config.applied ? { restrictedBy: view.config.pending.digest } : {}),
  },
  models: view.models.slice(0, 64).map((m) => ({
    model: m.ref,
    digest: m.digest,
    state: m.status.state,
    ...(m.status.state === 'pending' && m.status.reason === 'downloading'
      ? { progress: m.percent - (m.percent % 10) }
      : {}),
    ...modelReason(m),
  })),
  runtime: {
    image: view.images.runtime,
    version: view.runtimeVersion,
    phase: view.engine.runtime.phase,
  },
  isolation: {
    tier: view.isolation.tier,
    ...(view.isolation.provedAt > 0 ? { provedAt: time(view.isolation.provedAt) } : {}),
  },
  network: {
    state: view.network.state,
    ...(view.network.reason ? { reason: view.network.reason.slice(0, 64) } : {}),
  },
  ...(view.lastError
    ? {
        lastError: {
          code: view.lastError.code.slice(0, 64),
          message: view.lastError.message.slice(0, 256),
          at: time(view.lastError.at),
        },
      }
    : {}),
});

/** The CamelCase reason of the condition registry. */
const modelReason = (m: ModelView): { reason: string } | object => {
  switch (m.status.state) {
    case 'failed':
      return { reason: m.status.reason };
    case 'inactive':
      return { reason: m.status.reason.slice(0, 64) };
    case 'pending':
      return {
        reason: {
          queued: 'Queued',
          downloading: 'Downloading',
          verifying: 'Verifying',
          loading: m.note ?? 'LoadingWeights',
          testing: 'Testing',
        }[m.status.reason],
      };
    default:
      return {};
  }
};
