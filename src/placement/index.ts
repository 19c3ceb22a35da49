/**
 * placement: which model a node serves, and whether any GPU of the cluster can hold it. Pure; knows no client.
 *
 * Reading order: inventory (Kubernetes nodes and pods → GPU offers), fit (a need against the offers, with its explanation),
 * assign (one model out of the approved ones).
 *
 * Invariants: a verdict is advice, never a place (no node is chosen here, the scheduler does that); what a label does not
 * say counts as unknown and never as too small; the same input gives the same words, so an unchanged cluster writes nothing.
 */
export * from './assign.ts';
export * from './fit.ts';
export * from './inventory.ts';
