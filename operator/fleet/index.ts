/**
 * fleet: as many ResultityNodes as a ResultityFleet asks for, over its pools in order of preference.
 *
 * Reading order: decide (pure) with surge (one more than wanted while an update lasts) and spare (whether a GPU is left for
 * it), budget, controller. How an update goes over the nodes is theirs (operator/node/turns.ts, surge.ts).
 *
 * Invariants: no more nodes than replicas and maxSurge are made, and one above the replicas only on a spare GPU; the identity of a node is on record before the node is scaled away; a name comes back with its own identity.
 */
export { BY_FLEET, type FleetControllerOptions, fleetController, fleetUidOf } from './controller.ts';
