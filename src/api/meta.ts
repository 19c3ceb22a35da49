/** Pieces that all four resources share: object metadata, references, quantities, conditions. */

/**
 * The part of Kubernetes' ObjectMeta that this project reads or writes. The API server checks it; the CRDs say only
 * `type: object`.
 * @external
 */
export interface ObjectMeta {
  name?: string;
  generateName?: string;
  namespace?: string;
  uid?: string;
  resourceVersion?: string;
  generation?: number;
  creationTimestamp?: string;
  deletionTimestamp?: string;
  deletionGracePeriodSeconds?: number;
  labels?: Record<string, string>;
  annotations?: Record<string, string>;
  finalizers?: string[];
  ownerReferences?: OwnerReference[];
}

/** @external */
export interface OwnerReference {
  apiVersion: string;
  kind: string;
  name: string;
  uid: string;
  controller?: boolean;
  blockOwnerDeletion?: boolean;
}

/**
 * A whole number of 32 bits.
 * @integer
 * @format int32
 */
export type Int32 = number;

/**
 * A whole number up to 2^53 - 1.
 * @integer
 * @format int64
 * @minimum 0
 * @maximum 9007199254740991
 */
export type Int64 = number;

/**
 * A point in time, RFC 3339.
 * @format date-time
 * @maxLength 64
 */
export type Timestamp = string;

/**
 * An amount in Kubernetes' notation, such as 100Gi.
 * @maxLength 32
 * @rule isQuantity(self)
 *   messageExpression: '"' + self + '" is not a quantity; write for example 100Gi'
 *   message: is not a quantity; write for example 100Gi
 */
export type Quantity = string;

/**
 * A number, or a share such as 25%.
 * @intOrString
 * @rule type(self) == int ? self >= 0 : self.matches('^(100|[1-9]?[0-9])%$')
 *   message: write a whole number such as 1, or a share such as 25%
 */
export type IntOrPercent = number | string;

/**
 * The name of an object of the same namespace.
 * @minLength 1
 * @maxLength 253
 * @rule self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$')
 *   messageExpression: '"' + self + '" is not an object name; write lower-case letters, digits, "-" and ".", for example gpu-a'
 *   message: is not an object name; write lower-case letters, digits, "-" and ".", for example gpu-a
 */
export type ObjectName = string;

/** An object of the same namespace. */
export interface LocalObjectReference {
  /** Its name. */
  name: ObjectName;
}

/**
 * A key inside a Secret or ConfigMap.
 * @minLength 1
 * @maxLength 253
 * @rule self.matches('^[-._a-zA-Z0-9]+$')
 *   message: is not a key of a Secret or ConfigMap; write letters, digits, "-", "_" and ".", for example root.json
 */
export type DataKey = string;

/** One metav1 condition. The operator alone writes them. */
export interface Condition {
  /**
   * Which statement this is about; the closed registry is in src/api/conditions.ts.
   * @minLength 1
   * @maxLength 64
   */
  type: string;
  /** Whether the statement holds. */
  status: ConditionStatus;
  /** The generation of the object that was judged. */
  observedGeneration?: Int64;
  /** When status last changed. */
  lastTransitionTime: Timestamp;
  /**
   * Why, as one CamelCase word of the registry.
   * @minLength 1
   * @maxLength 64
   */
  reason: string;
  /**
   * What it means and what to do, for people.
   * @maxLength 256
   */
  message: string;
}

export type ConditionStatus = 'True' | 'False' | 'Unknown';

/**
 * The conditions of an object, one of each type.
 * @maxItems 32
 * @listType map
 * @listMapKey type
 */
export type Conditions = Condition[];
