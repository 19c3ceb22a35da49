import type { IntOrPercent } from './meta.ts';

/**
 * How an update goes over several nodes.
 * @rule !has(self.maxUnavailable) || !has(self.maxSurge) || !((type(self.maxUnavailable) == int ? self.maxUnavailable == 0 : self.maxUnavailable == '0%') && (type(self.maxSurge) == int ? self.maxSurge == 0 : self.maxSurge == '0%'))
 *   message: maxUnavailable and maxSurge cannot both be 0; write maxUnavailable 1
 */
export interface Rollout {
  /**
   * InPlace keeps the pod and its GPU and patches images; Replace makes a new pod.
   * @default "InPlace"
   */
  mode: 'InPlace' | 'Replace';
  /**
   * How many nodes may be out of service at a time.
   * @default 1
   */
  maxUnavailable: IntOrPercent;
  /**
   * How many nodes more than wanted may exist at a time, where a spare GPU fits.
   * @default 0
   */
  maxSurge: IntOrPercent;
  /**
   * Stop when an updated node does not come back healthy.
   * @default true
   */
  pauseOnFailure: boolean;
}
