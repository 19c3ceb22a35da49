import type { DataKey, Int32, Int64, LocalObjectReference, ObjectMeta, ObjectName, Quantity } from './meta.ts';
import type {
  Affinity,
  Annotations,
  Labels,
  PodResourceClaim,
  PullSecrets,
  ResourceRequirements,
  Tolerations,
  TopologySpreadConstraint,
} from './pod.ts';
import type { ResultityNodeStatus } from './resultity-node-status.ts';
import type { Storage } from './storage.ts';
import type { Address, ModelPattern, ModelReference, SubcloudId } from './values.ts';

/**
 * One network identity with at most one live pod.
 * @resource plural=resultitynodes singular=resultitynode shortName=rnode category=resultity
 * @column Phase .status.phase
 * @column Ready .status.conditions[?(@.type=="Ready")].status
 * @column Serving .status.conditions[?(@.type=="Serving")].status
 * @column Model .status.modelSummary
 * @column GPU .status.gpu.summary
 * @column Digest .status.config.shortDigest
 * @column Age .metadata.creationTimestamp type=date
 * @column Reason .status.conditions[?(@.type=="Ready")].reason wide
 * @column Node-ID .status.nodeId wide
 * @column Agent .status.agent.version wide
 * @column Kubernetes-Node .status.kubernetesNode wide
 */
export interface ResultityNode {
  apiVersion: 'resultity.com/v1alpha1';
  kind: 'ResultityNode';
  metadata: ObjectMeta;
  /** @requiredMessage write at least networkRef and owner */
  spec: ResultityNodeSpec;
  status?: ResultityNodeStatus;
}

/**
 * What the node shall be. Only networkRef and owner are needed: models, images, sizes and GPUs come from the signed
 * snapshot and the planner, and each can be narrowed here.
 */
export interface ResultityNodeSpec {
  /**
   * The ResultityNetwork of the same namespace that the node takes part in; it may be applied later than the node.
   * @requiredMessage write networkRef with the name of a ResultityNetwork, for example name testnet
   */
  networkRef: NetworkReference;
  /**
   * The account that the node earns for.
   * @requiredMessage give exactly one of wallet or email
   */
  owner: Owner;
  /**
   * The node's key.
   * @default {}
   */
  identity: Identity;
  /**
   * Where it runs.
   * @default {}
   */
  placement: Placement;
  /** Which models it may serve; the operator assigns among all approved ones when left out. */
  models?: Models;
  /** Narrow changes to the engine, through one allow-list. */
  runtime?: Runtime;
  /** Where state and models lie; ephemeral volumes when left out. */
  storage?: Storage;
  /** Which subclouds it joins or leaves; open ones are joined unless left. */
  subclouds?: Subclouds;
  /**
   * How the engine is shut in. Auto takes the strongest way that works and says which.
   * @default "Auto"
   */
  isolation: 'Auto' | 'Sandbox' | 'InitGuard' | 'PodPolicy' | 'None';
  /**
   * How the node stops.
   * @default {}
   */
  drain: Drain;
  /**
   * Take no jobs, keep everything else.
   * @default false
   */
  paused: boolean;
  /** Additions to the pod. */
  podTemplate?: PodTemplate;
}

/**
 * A ResultityNetwork of the same namespace.
 * @rule self.name == oldSelf.name
 *   message: cannot be changed, for the state of two networks never mixes; make another object
 */
export interface NetworkReference {
  /** Its name. */
  name: ObjectName;
}

/**
 * An account of the network, by wallet or by email.
 * @rule has(self.wallet) != has(self.email)
 *   message: give exactly one of wallet or email
 */
export interface Owner {
  /** The account's Ethereum address. */
  wallet?: Address;
  /**
   * The account's email address; proved by the network's enrolment token.
   * @maxLength 254
   * @rule self.matches('^[^@ <>]+@[^@ <>]+[.][^@ .<>]+$')
   *   messageExpression: '"' + self + '" is not an email address; write for example ops@example.com'
   *   message: is not an email address; write for example ops@example.com
   */
  email?: string;
  /** The signed proof of ownership, made by `resultity identity bind`; without proof a node serves but is not paid. */
  bindSecretRef?: BindSecretReference;
}

/** A Secret that holds a signed Bind. */
export interface BindSecretReference {
  name: ObjectName;
  /**
   * The Secret's key.
   * @default "bind.json"
   */
  key: DataKey;
}

/**
 * The node's key.
 * @rule has(self.secretRef) == has(oldSelf.secretRef) && (!has(self.secretRef) || self.secretRef == oldSelf.secretRef)
 *   fieldPath: .secretRef
 *   message: cannot be changed, for the node's id is the key's address; make another ResultityNode
 */
export interface Identity {
  /** A Secret with an existing key to import; the operator makes a new key once when left out. */
  secretRef?: LocalObjectReference;
  /**
   * Keep the key's Secret when the ResultityNode is deleted.
   * @default true
   */
  retain: boolean;
}

/**
 * Where the node runs. The scheduler decides; this narrows.
 * @rule !has(self.resourceClaims) || !has(self.gpu) || (self.gpu.resourceName == 'nvidia.com/gpu' && !has(self.gpu.count) && !has(self.gpu.product) && !has(self.gpu.minMemory) && !has(self.gpu.migProfile))
 *   message: beside resourceClaims, which choose the device, gpu may only name the accelerator
 */
export interface Placement {
  /**
   * A pool's name, for people and for the planner's explanations.
   * @minLength 1
   * @maxLength 63
   */
  pool?: string;
  /** Labels that the Kubernetes node must have. */
  nodeSelector?: Labels;
  /** Taints that do not matter; that of nvidia.com/gpu is always tolerated. */
  tolerations?: Tolerations;
  affinity?: Affinity;
  /** Which GPU; any that fits when left out. */
  gpu?: Gpu;
  /**
   * Claims of dynamic resource allocation instead of a GPU resource; gpu.accelerator says whose runtime image fits.
   * @minItems 1
   * @maxItems 8
   * @listType map
   * @listMapKey name
   */
  resourceClaims?: PodResourceClaim[];
  runtimeClassName?: ObjectName;
  priorityClassName?: ObjectName;
  /**
   * How long a pod stays on a machine that cannot be reached, in seconds.
   * @default 86400
   * @minimum 0
   * @maximum 31536000
   */
  unreachableSeconds: Int32;
  /**
   * Advise leaves the choice to the scheduler; Require withholds the pod while nothing fits.
   * @default "Advise"
   */
  fit: 'Advise' | 'Require';
}

/** Which GPU. */
export interface Gpu {
  /**
   * The extended resource that the pod asks for.
   * @default "nvidia.com/gpu"
   * @maxLength 253
   * @rule self.matches('^[a-z0-9]([-a-z0-9.]*[a-z0-9])?/[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$')
   *   messageExpression: '"' + self + '" is not an extended resource; write for example nvidia.com/gpu'
   *   message: is not an extended resource; write for example nvidia.com/gpu
   */
  resourceName: string;
  /** Which runtime image fits; by the resource's name when left out. */
  accelerator?: 'nvidia' | 'amd' | 'cpu';
  /**
   * How many; what the model requires when left out.
   * @minimum 1
   * @maximum 16
   */
  count?: Int32;
  /**
   * The product as the label nvidia.com/gpu.product says it, for example NVIDIA-H200.
   * @minLength 1
   * @maxLength 63
   */
  product?: string;
  /** The least memory of one GPU, for example 80Gi. */
  minMemory?: Quantity;
  /** A slice instead of a whole GPU. */
  migProfile?: MigProfile;
}

/**
 * The name of a MIG profile.
 * @minLength 1
 * @maxLength 32
 * @rule self.matches('^[1-7]g[.][1-9][0-9]{0,3}gb([+](me([.]all)?|gfx)|-me)?$')
 *   messageExpression: self.matches('^[1-7]g[.][1-9][0-9]{0,3}$') ? '"' + self + '" is not a MIG profile; did you mean ' + self + 'gb?' : '"' + self + '" is not a MIG profile; write for example 3g.40gb'
 *   message: is not a MIG profile; write for example 3g.40gb
 */
export type MigProfile = string;

/**
 * Which models the node may serve.
 * @rule !has(self.assigned) || !has(self.exclude) || !(self.assigned in self.exclude)
 *   fieldPath: .assigned
 *   message: stands in exclude as well; remove it from one of the two
 */
export interface Models {
  /** Exactly this one. */
  assigned?: ModelReference;
  /**
   * Only these.
   * @maxItems 64
   * @listType set
   */
  include?: ModelPattern[];
  /**
   * None of these.
   * @maxItems 64
   * @listType set
   */
  exclude?: ModelPattern[];
}

/** Narrow changes to the engine. */
export interface Runtime {
  /**
   * Flags of the engine, without the leading dashes, for example max-model-len "8192".
   * @maxProperties 16
   * @itemMaxLength 64
   * @rule self.all(k, k in %allowedEngineArgs%)
   *   message: holds a flag that may not be set; allowed are %allowedEngineArgs:text%
   */
  extraArgs?: Record<string, string>;
  /**
   * Environment of the engine.
   * @maxItems 32
   * @listType map
   * @listMapKey name
   */
  env?: EnvVar[];
  /** CPU and memory of the runtime container; GPUs come from placement. */
  resources?: ResourceRequirements;
  /**
   * NVIDIA's container hook needs a writable root, so this is off.
   * @default false
   */
  readOnlyRootFilesystem: boolean;
  /** Laid over the pod's security context; the rest of the restricted profile stays as it is. */
  securityContext?: SecurityContextOverlay;
}

/** An environment variable. */
export interface EnvVar {
  /**
   * @minLength 1
   * @maxLength 64
   * @rule self in %allowedRuntimeEnv%
   *   messageExpression: '"' + self + '" is no variable that may be set; allowed are %allowedRuntimeEnv:text%'
   *   message: is no variable that may be set; allowed are %allowedRuntimeEnv:text%
   */
  name: string;
  /** @maxLength 1024 */
  value: string;
}

/** What may be changed in the security context. Root, privileges and capabilities may not. */
export interface SecurityContextOverlay {
  /**
   * @minimum 1
   * @maximum 2147483647
   */
  runAsUser?: Int64;
  /**
   * @minimum 1
   * @maximum 2147483647
   */
  runAsGroup?: Int64;
  /**
   * @minimum 1
   * @maximum 2147483647
   */
  fsGroup?: Int64;
  fsGroupChangePolicy?: 'OnRootMismatch' | 'Always';
  /**
   * @maxItems 16
   * @listType set
   */
  supplementalGroups?: Int64[];
  seLinuxOptions?: SeLinuxOptions;
}

/** SELinux labels of the pod. */
export interface SeLinuxOptions {
  /** @maxLength 128 */
  level?: string;
  /** @maxLength 128 */
  role?: string;
  /** @maxLength 128 */
  type?: string;
  /** @maxLength 128 */
  user?: string;
}

/**
 * Which subclouds the node is in.
 * @rule !has(self.join) || !has(self.leave) || self.join.all(x, !(x in self.leave))
 *   message: names a subcloud in join and in leave; remove it from one of the two
 */
export interface Subclouds {
  /**
   * @maxItems 64
   * @listType set
   */
  join?: SubcloudId[];
  /**
   * @maxItems 64
   * @listType set
   */
  leave?: SubcloudId[];
}

/** How the node stops. */
export interface Drain {
  /**
   * How long running jobs may take to finish before the pod goes, in seconds.
   * @default 300
   * @minimum 0
   * @maximum 86400
   */
  timeoutSeconds: Int32;
  /**
   * How long running jobs may take when only the agent is replaced, in seconds.
   * @default 30
   * @minimum 0
   * @maximum 3600
   */
  handoverSeconds: Int32;
}

/** Additions to the pod. */
export interface PodTemplate {
  /**
   * @rule self.all(k, !k.startsWith('resultity.com/') && !k.startsWith('app.kubernetes.io/'))
   *   message: holds a key of resultity.com/ or app.kubernetes.io/, which the operator keeps; remove it
   */
  labels?: Labels;
  /**
   * @rule self.all(k, !k.startsWith('resultity.com/'))
   *   message: holds a key of resultity.com/, by which the operator speaks to the agent; remove it
   */
  annotations?: Annotations;
  imagePullSecrets?: PullSecrets;
  /**
   * @maxItems 16
   * @listType atomic
   */
  topologySpreadConstraints?: TopologySpreadConstraint[];
}
