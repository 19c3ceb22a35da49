import type { Conditions, Int32, Int64, ObjectMeta } from './meta.ts';
import type { Labels, Tolerations } from './pod.ts';
import type { Gpu, ResultityNodeSpec } from './resultity-node.ts';
import type { Rollout } from './rollout.ts';

/**
 * Nodes that are alike, over pools in order of preference.
 * @resource plural=resultityfleets singular=resultityfleet shortName=rfleet category=resultity
 * @scale .spec.replicas .status.replicas .status.selector
 * @column Ready .status.readyReplicas type=integer
 * @column Desired .spec.replicas type=integer
 * @column Updated .status.updatedReplicas type=integer
 * @column Age .metadata.creationTimestamp type=date
 * @column Reason .status.conditions[?(@.type=="Available")].reason wide
 */
export interface ResultityFleet {
  apiVersion: 'resultity.com/v1alpha1';
  kind: 'ResultityFleet';
  metadata: ObjectMeta;
  /** @requiredMessage write at least template with networkRef and owner */
  spec: ResultityFleetSpec;
  status?: ResultityFleetStatus;
}

/**
 * What the fleet shall be.
 * @rule !has(self.template) || !has(self.template.identity) || !has(self.template.identity.secretRef)
 *   fieldPath: .template.identity.secretRef
 *   message: one key cannot stand in several nodes of a network; remove it, the operator makes a key for each
 * @rule !has(self.template) || !has(self.template.storage) || !has(self.template.storage.state) || !has(self.template.storage.state.existingClaim)
 *   fieldPath: .template.storage.state.existingClaim
 *   message: one claim cannot hold the state of several nodes; write claimTemplate
 */
export interface ResultityFleetSpec {
  /**
   * How many nodes.
   * @default 1
   * @minimum 0
   * @maximum 10000
   */
  replicas: Int32;
  /**
   * Where they run, the preferred one first; anywhere when left out.
   * @maxItems 32
   * @listType map
   * @listMapKey name
   */
  pools?: Pool[];
  /**
   * How an update goes over the fleet.
   * @default {}
   */
  rollout: Rollout;
  /**
   * The spec of each node.
   * @requiredMessage write template with networkRef and owner
   */
  template: ResultityNodeSpec;
}

/** A part of the cluster. */
export interface Pool {
  /**
   * @minLength 1
   * @maxLength 63
   * @rule self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')
   *   messageExpression: '"' + self + '" is not a pool name; write lower-case letters, digits and "-", for example h200'
   *   message: is not a pool name; write lower-case letters, digits and "-", for example h200
   */
  name: string;
  nodeSelector?: Labels;
  tolerations?: Tolerations;
  /** Which GPU; that of the template when left out. */
  gpu?: Gpu;
  /**
   * The most nodes of this fleet in the pool.
   * @minimum 0
   * @maximum 10000
   */
  max?: Int32;
}

/** What the fleet is. */
export interface ResultityFleetStatus {
  conditions?: Conditions;
  observedGeneration?: Int64;
  /** @minimum 0 */
  replicas?: Int32;
  /** @minimum 0 */
  readyReplicas?: Int32;
  /** @minimum 0 */
  updatedReplicas?: Int32;
  /**
   * Of the fleet's pods, for autoscalers.
   * @maxLength 512
   */
  selector?: string;
  /**
   * Nodes in each pool.
   * @maxItems 32
   * @listType map
   * @listMapKey name
   */
  pools?: PoolStatus[];
  /**
   * Identities of nodes that were scaled away; a node that comes back under the name gets its own.
   * @maxItems 1024
   * @listType map
   * @listMapKey name
   */
  identities?: FleetIdentity[];
}

/** A name of the fleet and the identity that belongs to it. */
export interface FleetIdentity {
  /** @maxLength 63 */
  name: string;
  /**
   * The Secret with the key.
   * @maxLength 253
   */
  secretName: string;
}

/** Nodes in one pool. */
export interface PoolStatus {
  /** @maxLength 63 */
  name: string;
  /** @minimum 0 */
  replicas: Int32;
}
