/**
 * fleet: as many ResultityNodes as a ResultityFleet asks for, over its pools in order of preference.
 *
 * Reading order: decide (pure), controller. Thin on purpose: ordinals, pools, scale and counts are there; rollout, surge,
 * disruption budgets and the brake are not, and the conditions say so.
 */
export { BY_FLEET, type FleetControllerOptions, fleetController, fleetUidOf } from './controller.ts';
