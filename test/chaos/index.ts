/**
 * chaos: nodes and network torn apart under load, and judged by records that neither of them can colour (docs/faults.md).
 *
 * Reading order: random (seeds), ws-frames → proxy (what breaks between the two), failpoints (where a program kills itself),
 * records (the forms), checker (the judgement, pure), clients (the load), schedule (what breaks when); agent-process and
 * network-process (what is killed), processes → node-site → site, strike (one fault done), run (the driver), table.
 *
 * Invariants: everything listens on loopback; every process started is ended; a seed repeats its schedule, though not the
 * machine's timing; the checker sees only files.
 */
export { check, type Verdict, type Violation } from './checker.ts';
export { Failpoints, journalWithFailpoints, pointsOf, storeWithFailpoints } from './failpoints.ts';
export { FaultProxy, type Toxic } from './proxy.ts';
export { seeded } from './random.ts';
export { type History, readHistory } from './records.ts';
export { type RunReport, run } from './run.ts';
export { KINDS, type Kind, plan } from './schedule.ts';
export { table, tableOf } from './table.ts';
