/**
 * The closed registry of conditions and reasons, and the one way to change a list of conditions.
 *
 * Positive polarity but for those in `UNUSUAL_WHEN_TRUE`.
 */
import type { Condition } from './meta.ts';

export const nodeConditions = {
  Ready: 'Ready',
  Serving: 'Serving',
  Progressing: 'Progressing',
  Degraded: 'Degraded',
  GPUFit: 'GPUFit',
  PodScheduled: 'PodScheduled',
  AgentReady: 'AgentReady',
  RuntimeReady: 'RuntimeReady',
  RuntimeIsolated: 'RuntimeIsolated',
  Registered: 'Registered',
  NetworkVisible: 'NetworkVisible',
  ConfigSynced: 'ConfigSynced',
  ModelsVerified: 'ModelsVerified',
  Draining: 'Draining',
  Paused: 'Paused',
} as const;
export type NodeConditionType = keyof typeof nodeConditions;

export const modelConditions = {
  Ready: 'Ready',
  Approved: 'Approved',
  Verified: 'Verified',
  Tested: 'Tested',
} as const;
export type ModelConditionType = keyof typeof modelConditions;

export const networkConditions = {
  Ready: 'Ready',
  ConfigVerified: 'ConfigVerified',
  Fresh: 'Fresh',
  RootTrusted: 'RootTrusted',
  RolloutHeld: 'RolloutHeld',
} as const;
export type NetworkConditionType = keyof typeof networkConditions;

export const fleetConditions = {
  Available: 'Available',
  Progressing: 'Progressing',
  Surge: 'Surge',
  FleetBrake: 'FleetBrake',
} as const;
export type FleetConditionType = keyof typeof fleetConditions;

const UNUSUAL_WHEN_TRUE: ReadonlySet<string> = new Set([
  'Progressing',
  'Degraded',
  'Draining',
  'RolloutHeld',
  'Surge',
  'FleetBrake',
  'Paused',
]);
/** Whether a condition says what it says of an object that is well and to which nothing happens. */
export const isUsual = ({ type, status }: Pick<Condition, 'type' | 'status'>): boolean =>
  status === (UNUSUAL_WHEN_TRUE.has(type) ? 'False' : 'True');

/** Every reason that a condition or an event may give. A new reason is a new line here, never a literal elsewhere. */
const reasonNames = [
  // general
  'AsExpected',
  'Unknown',
  'Waiting',
  'Progressing',
  'Ready',
  'NotReady',
  'Serving',
  'NotServing',
  'PausedByUser',
  'PausedByNetwork',
  'NotPaused',
  'NotDraining',
  'Draining',
  'Deleting',
  // references and specification
  'NetworkNotFound',
  'NetworkNotReady',
  'ModelNotApproved',
  'OwnerInvalid',
  'SpecInvalid',
  'CRDOutdated',
  'AdmissionPolicyMissing',
  // identity
  'IdentityReady',
  'IdentityMismatch',
  'IdentitySecretMissing',
  'DuplicateIdentity',
  // placement and pod
  'FitFound',
  'FitUnknown',
  'InsufficientGPUMemory',
  'InsufficientGPUs',
  'NoMatchingMIGProfile',
  'NoMatchingProduct',
  'NoGPUNodes',
  'NoNodeSelected',
  'TaintNotTolerated',
  'ComputeCapabilityTooLow',
  'GPUProblem',
  'NodeNotReady',
  'NoModelFits',
  'ClaimPending',
  'DriverTooOld',
  'NodeCordoned',
  'NoSpareGPU',
  'PodPending',
  'PodScheduled',
  'PodStarting',
  'PodEvicted',
  'QueueWaiting',
  'PodLost',
  'PodRefused',
  'Unschedulable',
  'FencingWait',
  'ImagePullError',
  'ImageNotAllowed',
  'NoRuntimeImage',
  'ImageMismatch',
  'VersionTooOld',
  'PullingImage',
  'UpdateHeld',
  'SurgePending',
  'Updating',
  'Updated',
  'MachineUnreachable',
  'MachineLost',
  'GPULost',
  'ContainerCrashLoopBackOff',
  'ContainerOOMKilled',
  // agent
  'AgentRunning',
  'AgentOutdated',
  'AgentNotReporting',
  'AgentStarting',
  // model
  'Queued',
  'Downloading',
  'Verifying',
  'Testing',
  'InsufficientDisk',
  'VolumeUnwritable',
  'DigestMismatch',
  'SourceUnavailable',
  'SourceNotTrusted',
  'TestInferenceFailed',
  'Quarantined',
  'ModelActive',
  'ModelInactive',
  'ModelArchived',
  'ModelInvalid',
  'InSnapshot',
  'NotInSnapshot',
  'NotTried',
  // engine
  'EngineReady',
  'LoadingWeights',
  'Compiling',
  'CapturingGraphs',
  'KVCacheTooSmall',
  'EngineWedged',
  'EngineDead',
  'EngineStopped',
  'EngineOutOfMemory',
  'EngineMissing',
  'ArgumentRefused',
  'LauncherMissing',
  'ModelMissing',
  // isolation
  'IsolationProved',
  'IsolationUnproved',
  'IsolationBelowMinimum',
  'IsolationNone',
  // network
  'Registered',
  'NotRegistered',
  'RegistrationRejected',
  'NotAdmitted',
  'Revoked',
  'NetworkSeesNode',
  'NetworkUnreachable',
  'HeartbeatStale',
  'OutOfRotation',
  // configuration
  'DigestApplied',
  'DigestPending',
  'DigestRejected',
  'SignatureInvalid',
  'RolledBack',
  'Held',
  'ConfigVerified',
  'ConfigRejected',
  'ConfigFresh',
  'ConfigStale',
  'ConfigExpired',
  'RootTrusted',
  'RootMissing',
  'RootInvalid',
  'RootExpired',
  'CABundleInvalid',
  'ApprovalPending',
  'WaitingForIdle',
  'RolloutFailed',
  'NotHeld',
  // fleet
  'AllAvailable',
  'TooFewAvailable',
  'ScalingUp',
  'ScalingDown',
  'RollingOut',
  'Surging',
  'Settled',
  'TooManyVanished',
  'BrakeOff',
  // events
  'CreatedPod',
  'DeletedPod',
  'IdentityCreated',
  'FailedToCreatePod',
  'DrainStarted',
  'DrainCompleted',
  'DrainTimedOut',
  'ConfigApplied',
  'ModelVerified',
  'ModelQuarantined',
  'NodeRegistered',
  'RuntimeRestarted',
  'CleanupSkipped',
] as const;

export type Reason = (typeof reasonNames)[number];

/** Reasons by name, so that a misspelt one does not compile. */
export const reasons = Object.freeze(Object.fromEntries(reasonNames.map((name) => [name, name]))) as {
  readonly [Name in Reason]: Name;
};

/** What is known anew about one condition; `setCondition` adds the time. */
export interface ConditionUpdate<Type extends string = string> {
  readonly type: Type;
  readonly status: Condition['status'];
  readonly reason: Reason;
  readonly message: string;
  readonly observedGeneration?: number;
}

/** The most characters that a condition's message may have. */
export const maxMessageLength = 256;

/**
 * The list with one condition set. Pure. The transition time moves only when the status flips; a message above 256
 * characters is cut with an ellipsis; the same array comes back when nothing changed, so that callers can skip a write.
 * @param now ms since the epoch
 */
export function setCondition(
  conditions: readonly Condition[] | undefined,
  next: ConditionUpdate,
  now: number,
): readonly Condition[] {
  const list = conditions ?? [];
  const old = list.find((condition) => condition.type === next.type);
  const message = shorten(next.message);
  const time = new Date(now).toISOString().replace(/\.\d{3}Z$/, 'Z');
  const made: Condition = {
    type: next.type,
    status: next.status,
    ...(next.observedGeneration === undefined ? {} : { observedGeneration: next.observedGeneration }),
    lastTransitionTime: old !== undefined && old.status === next.status ? old.lastTransitionTime : time,
    reason: next.reason,
    message,
  };
  if (old === undefined) return [...list, made];
  if (
    old.status === made.status &&
    old.reason === made.reason &&
    old.message === made.message &&
    old.observedGeneration === made.observedGeneration
  ) {
    return list;
  }
  return list.map((condition) => (condition === old ? made : condition));
}

/** The condition of that type, or undefined. */
export function getCondition(conditions: readonly Condition[] | undefined, type: string): Condition | undefined {
  return conditions?.find((condition) => condition.type === type);
}

/** Whether the condition is there and True. */
export function isTrue(conditions: readonly Condition[] | undefined, type: string): boolean {
  return getCondition(conditions, type)?.status === 'True';
}

/** By characters as people and the API server count them, so that no surrogate pair is cut in two. */
function shorten(message: string): string {
  const characters = Array.from(message);
  if (characters.length <= maxMessageLength) return message;
  return `${characters.slice(0, maxMessageLength - 1).join('')}…`;
}
