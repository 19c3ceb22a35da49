import type { Conditions, Int32, Int64, Timestamp } from './meta.ts';
import type { ConfigVersion, Digest, IsolationTier, ModelReference, ModelState, RuntimePhase } from './values.ts';

/** Where the node is in its life; derived by the operator alone. */
export type NodePhase =
  | 'Pending'
  | 'Unplaced'
  | 'Preparing'
  | 'Registering'
  | 'Active'
  | 'Updating'
  | 'Draining'
  | 'Paused'
  | 'Degraded'
  | 'Terminating';

/** What the node is. All but `agent` is the operator's. */
export interface ResultityNodeStatus {
  /**
   * The address of the node's key; it never changes.
   * @maxLength 42
   */
  nodeId?: string;
  phase?: NodePhase;
  conditions?: Conditions;
  /** The generation of the spec that the rest of the status speaks of. */
  observedGeneration?: Int64;
  /** @maxLength 253 */
  podName?: string;
  /**
   * The one pod whose agent may write `agent`.
   * @maxLength 64
   */
  podUID?: string;
  /** The creation time of the pod in ms; the network refuses lower ones. */
  incarnation?: Int64;
  /** @maxLength 253 */
  kubernetesNode?: string;
  gpu?: GpuStatus;
  /** name:version */
  assignedModel?: ModelReference;
  /**
   * The model as the column shows it, for example qwen3-32b-instruct:v2 40%.
   * @maxLength 200
   */
  modelSummary?: string;
  config?: NodeConfigStatus;
  /** Written by the agent alone. */
  agent?: AgentStatus;
}

/** The GPU that the pod has. */
export interface GpuStatus {
  /**
   * As the column shows it, for example NVIDIA-H200 or 2 x NVIDIA-H200.
   * @maxLength 128
   */
  summary?: string;
  /** @maxLength 253 */
  resourceName?: string;
  /** @minimum 0 */
  count?: Int32;
  /** @maxLength 63 */
  product?: string;
  /** Of one GPU. */
  memoryMiB?: Int64;
  /** @maxLength 32 */
  migProfile?: string;
}

/** The configuration, as the operator wants it. */
export interface NodeConfigStatus {
  /** The snapshot that the operator wants the node to apply. */
  desiredDigest?: Digest;
  /** The snapshot at which the node is held, if it is. */
  heldAt?: Digest;
  /**
   * The first 12 hex digits of what the agent has applied.
   * @maxLength 12
   */
  shortDigest?: string;
}

export type AgentPhase =
  | 'Starting'
  | 'Registering'
  | 'Syncing'
  | 'Installing'
  | 'Loading'
  | 'Proving'
  | 'Testing'
  | 'Active'
  | 'Paused'
  | 'Draining'
  | 'Drained'
  | 'Handover'
  | 'Failed';

/** What the agent says of itself. Nothing that changes all the time: last seen, in flight and ETA are metrics. */
export interface AgentStatus {
  /**
   * The address of the key that the agent holds.
   * @maxLength 42
   */
  nodeId?: string;
  /** @maxLength 64 */
  version?: string;
  /** @maxLength 512 */
  image?: string;
  phase?: AgentPhase;
  /** When the engine is expected to be ready. */
  readyBy?: Timestamp;
  /** The agent's own durable version floor. */
  floor?: ConfigVersion;
  config?: AgentConfigStatus;
  /**
   * Installed models and the one being installed.
   * @maxItems 64
   * @listType map
   * @listMapKey model
   */
  models?: AgentModelStatus[];
  runtime?: AgentRuntimeStatus;
  isolation?: AgentIsolationStatus;
  network?: AgentNetworkStatus;
  lastError?: AgentError;
}

/** Configurations by digest. */
export interface AgentConfigStatus {
  /** In effect. */
  applied?: Digest;
  /** Accepted, not yet in effect. */
  pending?: Digest;
  /** Accepted, and already taking away what it forbids. */
  restrictedBy?: Digest;
  /** The last fresh ticket is past its life (work goes on), or past maxStalenessSeconds (the node drains). Absent: neither. */
  ticketAge?: 'Stale' | 'Expired';
  /** Why the pending one is not in effect. */
  blocked?: AgentConfigBlocked;
}

/** Where the plan for a pending configuration ended: work goes on with the applied one. */
export interface AgentConfigBlocked {
  step: 'validate' | 'prefetch' | 'drain' | 'switch' | 'test' | 'record';
  /** @maxLength 64 */
  reason: string;
}

/** One model on the node. */
export interface AgentModelStatus {
  /** name:version */
  model: ModelReference;
  digest?: Digest;
  state: ModelState;
  /**
   * Of the download, in steps of 10 %.
   * @minimum 0
   * @maximum 100
   * @multipleOf 10
   */
  progress?: Int32;
  /** @maxLength 64 */
  reason?: string;
}

/** The engine. */
export interface AgentRuntimeStatus {
  /** @maxLength 512 */
  image?: string;
  /** @maxLength 64 */
  version?: string;
  phase?: RuntimePhase;
}

/** How the engine is shut in. */
export interface AgentIsolationStatus {
  tier?: IsolationTier;
  /** When the probe last proved it. */
  provedAt?: Timestamp;
}

/** The node's standing with the network, as the agent was told. */
export interface AgentNetworkStatus {
  state?: 'unregistered' | 'pending' | 'registered' | 'active' | 'out_of_rotation' | 'paused' | 'draining' | 'revoked';
  /** @maxLength 64 */
  reason?: string;
}

/** The last thing that went wrong; never prompt text. */
export interface AgentError {
  /** @maxLength 64 */
  code: string;
  /** @maxLength 256 */
  message: string;
  at?: Timestamp;
}
