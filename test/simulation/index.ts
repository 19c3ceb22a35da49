/**
 * simulation: the real parts of agent and network service in one process, under a fake clock and a fake network, so that a
 * seed repeats a whole run to the byte (docs/faults.md).
 *
 * Reading order: world (time, machines, programs that may die at any point), link (sockets and calls that are delayed, cut,
 * half-open, closed one way), power-cut (journal and ledger on disks that forget), engine; network and pod (the real parts,
 * joined as service.ts and wiring.ts join them), callers, faults (what strikes), site (who starts again what died), run (one
 * seed, judged by the offline checker of test/chaos).
 *
 * Invariants: nothing waits for real time and nothing draws real randomness; a dead program has no further effect; a disk
 * keeps exactly what it promised and a random beginning of the rest.
 */
export { FAULTS } from './faults.ts';
export { type SimReport, simulate } from './run.ts';
export { type Published, publish, SimSite, unpublish } from './site.ts';
export { World } from './world.ts';
