/**
 * chaos: node and network torn apart under load, and judged by records that neither of them can colour (docs/faults.md).
 *
 * Reading order: random (seeds), ws-frames → proxy (what breaks between the two), records (the forms), checker (the
 * judgement, pure), clients (the load), schedule (what breaks when), site (the processes), run (the driver), table.
 *
 * Invariants: everything listens on loopback; every process started is ended; a seed repeats its schedule, though not the
 * machine's timing; the checker sees only files.
 */
export { check, type Verdict, type Violation } from './checker.ts';
export { FaultProxy, type Toxic } from './proxy.ts';
export { seeded } from './random.ts';
export { type History, readHistory } from './records.ts';
export { type RunReport, run } from './run.ts';
export { KINDS, plan } from './schedule.ts';
export { table } from './table.ts';
