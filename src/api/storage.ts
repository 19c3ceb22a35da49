import type { ObjectName, Quantity } from './meta.ts';
import type { VolumeClaimTemplate } from './pod.ts';

/**
 * Where state and models lie.
 * @rule !has(self.state) || !has(oldSelf.state) || (has(self.state.ephemeral) == has(oldSelf.state.ephemeral) && has(self.state.claimTemplate) == has(oldSelf.state.claimTemplate) && has(self.state.existingClaim) == has(oldSelf.state.existingClaim) && (!has(self.state.existingClaim) || self.state.existingClaim == oldSelf.state.existingClaim))
 *   fieldPath: .state
 *   message: cannot move to another volume, for unconfirmed results would be lost; make another ResultityNode
 */
export interface Storage {
  /** The journal and the version floor. */
  state?: StateStorage;
  /** The model files. */
  models?: ModelStorage;
}

/**
 * The volume of the node's state.
 * @rule [has(self.ephemeral), has(self.claimTemplate), has(self.existingClaim)].filter(x, x).size() == 1
 *   message: give exactly one of ephemeral, claimTemplate or existingClaim
 */
export interface StateStorage {
  ephemeral?: EphemeralVolume;
  claimTemplate?: VolumeClaimTemplate;
  existingClaim?: ObjectName;
}

/**
 * The volume of the model files.
 * @rule [has(self.ephemeral), has(self.claimTemplate), has(self.shared)].filter(x, x).size() == 1
 *   message: give exactly one of ephemeral, claimTemplate or shared
 */
export interface ModelStorage {
  ephemeral?: EphemeralVolume;
  claimTemplate?: VolumeClaimTemplate;
  shared?: SharedVolume;
}

/** A volume that lives and dies with the pod. */
export interface EphemeralVolume {
  sizeLimit?: Quantity;
}

/**
 * A cache of model files that several nodes use.
 * @rule has(self.existingClaim) != has(self.hostPath)
 *   message: give exactly one of existingClaim or hostPath
 */
export interface SharedVolume {
  existingClaim?: ObjectName;
  /**
   * A folder of the Kubernetes node.
   * @maxLength 1024
   * @rule self.matches('^/[^:]*$') && !self.matches('(^|/)[.][.](/|$)') && self != '/'
   *   message: is not a folder that can be shared; write an absolute path without "..", for example /var/lib/resultity/models
   */
  hostPath?: string;
}
