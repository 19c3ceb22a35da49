import type { Conditions, Int32, Int64, ObjectMeta } from './meta.ts';
import type { NetworkReference } from './resultity-node.ts';
import type { Digest, ModelName, ModelVersion, Task } from './values.ts';

/**
 * A model that the verified snapshot approves. The operator makes them; one made by hand that the snapshot does not
 * list is never scheduled.
 * @resource plural=approvedmodels singular=approvedmodel shortName=amodel category=resultity
 * @column Approved .status.conditions[?(@.type=="Approved")].status
 * @column State .spec.state
 * @column Nodes .status.nodes.active type=integer
 * @column Size .status.sizeSummary
 * @column Age .metadata.creationTimestamp type=date
 * @column Model .status.model wide
 * @column Network .spec.networkRef.name wide
 */
export interface ApprovedModel {
  apiVersion: 'resultity.com/v1alpha1';
  kind: 'ApprovedModel';
  metadata: ObjectMeta;
  /** @requiredMessage models are approved by the network's signed snapshot; make no ApprovedModel by hand */
  spec: ApprovedModelSpec;
  status?: ApprovedModelStatus;
}

/**
 * One model of the snapshot, without its files.
 * @rule self.name == oldSelf.name
 *   fieldPath: .name
 *   message: cannot be changed; another model is another ApprovedModel
 * @rule self.version == oldSelf.version
 *   fieldPath: .version
 *   message: cannot be changed; another version is another ApprovedModel
 */
export interface ApprovedModelSpec {
  /** The network whose snapshot lists it. */
  networkRef: NetworkReference;
  name: ModelName;
  version: ModelVersion;
  /** Of the list of files. */
  digest: Digest;
  /** Of all files, in bytes. */
  size: Int64;
  state: 'active' | 'inactive' | 'archived';
  /**
   * @minItems 1
   * @maxItems 8
   * @listType set
   */
  tasks: Task[];
  requires: ModelRequirements;
}

/** What the model needs. */
export interface ModelRequirements {
  /**
   * @minimum 0
   * @maximum 1024
   */
  gpus: Int32;
  /** Of each GPU. */
  gpuMemoryMiB: Int64;
  /**
   * The least compute capability, for example 8.0.
   * @maxLength 8
   * @rule self.matches('^[0-9]{1,3}([.][0-9]{1,2})?$')
   *   message: is not a compute capability; write for example 8.0
   */
  computeCapability?: string;
  diskMiB: Int64;
}

/** What the cluster has of the model. */
export interface ApprovedModelStatus {
  conditions?: Conditions;
  observedGeneration?: Int64;
  /**
   * name:version
   * @maxLength 192
   */
  model?: string;
  /**
   * For people, for example 273 MB.
   * @maxLength 16
   */
  sizeSummary?: string;
  nodes?: ModelNodeCounts;
}

/** How many nodes have the model in each state. */
export interface ModelNodeCounts {
  /** @minimum 0 */
  pending?: Int32;
  /** @minimum 0 */
  active?: Int32;
  /** @minimum 0 */
  inactive?: Int32;
  /** @minimum 0 */
  failed?: Int32;
  /** @minimum 0 */
  archived?: Int32;
}
