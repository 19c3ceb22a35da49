/** The parts of Kubernetes' pod API that pass through ResultityNode, bounded. */
import type { Int32, LocalObjectReference, ObjectName, Quantity } from './meta.ts';

/**
 * Labels, as on any object.
 * @maxProperties 64
 * @itemMaxLength 63
 * @rule self.all(k, k.size() <= 317)
 *   message: has a label key above 317 characters; shorten it
 */
export type Labels = Record<string, string>;

/**
 * Annotations, as on any object.
 * @maxProperties 64
 * @itemMaxLength 8192
 */
export type Annotations = Record<string, string>;

/** A toleration, as in a pod. */
export interface Toleration {
  /** @maxLength 317 */
  key?: string;
  operator?: 'Exists' | 'Equal';
  /** @maxLength 63 */
  value?: string;
  effect?: 'NoSchedule' | 'PreferNoSchedule' | 'NoExecute';
  /**
   * @format int64
   * @integer
   */
  tolerationSeconds?: number;
}

/**
 * @maxItems 32
 * @listType atomic
 */
export type Tolerations = Toleration[];

/** A condition on labels. */
export interface LabelSelectorRequirement {
  /** @maxLength 317 */
  key: string;
  operator: 'In' | 'NotIn' | 'Exists' | 'DoesNotExist';
  /**
   * @maxItems 64
   * @listType atomic
   * @itemMaxLength 63
   */
  values?: string[];
}

/** Which objects are meant, by their labels. */
export interface LabelSelector {
  matchLabels?: Labels;
  /**
   * @maxItems 16
   * @listType atomic
   */
  matchExpressions?: LabelSelectorRequirement[];
}

/** A condition on the labels or fields of a Kubernetes node. */
export interface NodeSelectorRequirement {
  /** @maxLength 317 */
  key: string;
  operator: 'In' | 'NotIn' | 'Exists' | 'DoesNotExist' | 'Gt' | 'Lt';
  /**
   * @maxItems 64
   * @listType atomic
   * @itemMaxLength 63
   */
  values?: string[];
}

/** Conditions that must hold together. */
export interface NodeSelectorTerm {
  /**
   * @maxItems 16
   * @listType atomic
   */
  matchExpressions?: NodeSelectorRequirement[];
  /**
   * @maxItems 16
   * @listType atomic
   */
  matchFields?: NodeSelectorRequirement[];
}

/** Terms of which one must hold. */
export interface NodeSelector {
  /**
   * @maxItems 16
   * @listType atomic
   */
  nodeSelectorTerms: NodeSelectorTerm[];
}

/** A wish with its weight. */
export interface PreferredSchedulingTerm {
  /**
   * @minimum 1
   * @maximum 100
   */
  weight: Int32;
  preference: NodeSelectorTerm;
}

/** Which Kubernetes nodes are wanted. */
export interface NodeAffinity {
  requiredDuringSchedulingIgnoredDuringExecution?: NodeSelector;
  /**
   * @maxItems 16
   * @listType atomic
   */
  preferredDuringSchedulingIgnoredDuringExecution?: PreferredSchedulingTerm[];
}

/** Which other pods are meant. */
export interface PodAffinityTerm {
  labelSelector?: LabelSelector;
  /**
   * @maxItems 16
   * @listType atomic
   * @itemMaxLength 63
   */
  namespaces?: string[];
  namespaceSelector?: LabelSelector;
  /** @maxLength 317 */
  topologyKey: string;
}

/** A wish about other pods with its weight. */
export interface WeightedPodAffinityTerm {
  /**
   * @minimum 1
   * @maximum 100
   */
  weight: Int32;
  podAffinityTerm: PodAffinityTerm;
}

/** Near which pods, or away from which. */
export interface PodAffinity {
  /**
   * @maxItems 16
   * @listType atomic
   */
  requiredDuringSchedulingIgnoredDuringExecution?: PodAffinityTerm[];
  /**
   * @maxItems 16
   * @listType atomic
   */
  preferredDuringSchedulingIgnoredDuringExecution?: WeightedPodAffinityTerm[];
}

/** A pod's affinity, passed through. */
export interface Affinity {
  nodeAffinity?: NodeAffinity;
  podAffinity?: PodAffinity;
  podAntiAffinity?: PodAffinity;
}

/** How pods are spread over zones or machines, passed through. */
export interface TopologySpreadConstraint {
  /** @minimum 1 */
  maxSkew: Int32;
  /** @maxLength 317 */
  topologyKey: string;
  whenUnsatisfiable: 'DoNotSchedule' | 'ScheduleAnyway';
  labelSelector?: LabelSelector;
  /** @minimum 1 */
  minDomains?: Int32;
  nodeAffinityPolicy?: 'Honor' | 'Ignore';
  nodeTaintsPolicy?: 'Honor' | 'Ignore';
  /**
   * @maxItems 16
   * @listType atomic
   * @itemMaxLength 317
   */
  matchLabelKeys?: string[];
}

/**
 * Amounts by resource name.
 * @maxProperties 16
 */
export type ResourceList = Record<string, Quantity>;

/** Requests and limits of a container. */
export interface ResourceRequirements {
  requests?: ResourceList;
  limits?: ResourceList;
}

/**
 * A claim of dynamic resource allocation, passed through to the pod.
 * @rule has(self.resourceClaimName) != has(self.resourceClaimTemplateName)
 *   message: give exactly one of resourceClaimName or resourceClaimTemplateName
 */
export interface PodResourceClaim {
  /** The name of the claim inside the pod. */
  name: ObjectName;
  /** An existing ResourceClaim of the namespace. */
  resourceClaimName?: ObjectName;
  /** A template from which each pod gets its own claim. */
  resourceClaimTemplateName?: ObjectName;
  /**
   * Which request of the claim the runtime uses; all of them when left out.
   * @minLength 1
   * @maxLength 63
   */
  request?: string;
}

/**
 * @maxItems 16
 * @listType map
 * @listMapKey name
 */
export type PullSecrets = LocalObjectReference[];

/** A claim for a volume that the operator makes for the node. */
export interface VolumeClaimTemplate {
  /**
   * The cluster's default class when left out.
   * @maxLength 253
   */
  storageClassName?: string;
  /**
   * How the volume is mounted.
   * @default ["ReadWriteOnce"]
   * @minItems 1
   * @maxItems 4
   * @listType set
   */
  accessModes: ('ReadWriteOnce' | 'ReadWriteMany' | 'ReadWriteOncePod')[];
  /** How large it is. */
  resources: VolumeResources;
  /** @maxLength 253 */
  volumeAttributesClassName?: string;
}

/** The size of a volume. */
export interface VolumeResources {
  requests: VolumeRequests;
}

/** The size of a volume. */
export interface VolumeRequests {
  /** For example 100Gi. */
  storage: Quantity;
}
