/**
 * model: mirrors each model of a network's verified snapshot as an ApprovedModel.
 *
 * Reading order: decide (pure), controller. Invariants: only a verified snapshot makes or removes a mirror; an object made
 * by hand is judged and never touched; counts of nodes follow within ten seconds.
 */
export { type ModelControllerOptions, modelController } from './controller.ts';
