/**
 * placement: which model a node serves, and whether any GPU of the cluster can hold it. Pure; knows no client.
 *
 * Reading order: accelerators (what resources and labels mean, as data), offers (what a machine has), inventory (Kubernetes nodes and pods → those),
 * cluster (raw objects → those), select (selectors, affinity, taints as the scheduler judges them), obstacles (why an offer
 * does not hold a model, and the words for it), groups (equal offers are judged once), fit (a need against all offers, with
 * its explanation), ask (a ResultityNode and a model → need and limits), assign (one model out of the approved ones),
 * why-not (the whole answer for one node) with remedies (what to do).
 *
 * Invariants: a verdict is advice, never a place (no node is chosen here, the scheduler does that); what a label does not
 * say counts as unknown and never as too small; the same input gives the same words, so an unchanged cluster writes nothing;
 * conditions, events and the plugin take their words from here.
 */
export { gpuProblem, labelKeys, profileMiB } from './accelerators.ts';
export * from './ask.ts';
export * from './assign.ts';
export * from './cluster.ts';
export * from './fit.ts';
export * from './inventory.ts';
export type { FitLimits, GpuNeed, Obstacle } from './obstacles.ts';
export * from './offers.ts';
export * from './quantity.ts';
export type { AffinityTerms, Toleration } from './select.ts';
export * from './why-not.ts';
