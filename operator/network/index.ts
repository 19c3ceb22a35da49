/**
 * network: one ResultityNetwork = one signed configuration that this operator verifies itself.
 *
 * Reading order: fetch (pinned root, CA bundle, connections, the bulk status call) → store (durable in a ConfigMap) →
 * session (what one process keeps of a network; polls) → decide (conditions, floor, what is in force; pure) → controller →
 * view (what the other rooms read).
 *
 * Invariants: nothing fetched or stored is used before src/config has verified it; the floor is in the status before the
 * configuration is in force and never falls; a refused configuration leaves the old one in force and says why.
 */
export { type NetworkControllerOptions, networkController } from './controller.ts';
export { NetworkViews } from './view.ts';
