/**
 * fleet: as many ResultityNodes as a ResultityFleet asks for, over its pools in order of preference.
 *
 * Reading order: decide (pure), budget, controller. How an update goes over the nodes is theirs (operator/node/turns.ts);
 * maxSurge is not acted upon.
 *
 * Invariants: the identity of a node is on record before the node is scaled away; a name comes back with its own identity.
 */
export { BY_FLEET, type FleetControllerOptions, fleetController, fleetUidOf } from './controller.ts';
