/**
 * models: from an entry of the snapshot to a read-only folder of exactly the signed bytes.
 *
 * Reading order: manifest (the last look at an entry; its rules and digest are the protocol's), sources (where from),
 * admission (is there room, and who goes if not; pure), rate-limit and progress; source-request (one GET, with the
 * credential of its host) → fetch-file (one file, one attempt) → download (a whole model) → store (the folder); verify (is
 * it still that?) and seal (can it have changed since?); lease and use-leases (agents that share the folder), tidy (what
 * goes); states (the model's life on a node).
 *
 * Invariants: no byte is asked for before there is room for all; never more bytes than signed; a folder named by a digest
 * appears whole, hashed and read-only, or not at all; a source is judged before it is asked, redirects too; wrong bytes
 * are thrown away at once; one agent downloads or removes a model at a time, and never removes what another has in its
 * engine; the state machine has no illegal transition to write.
 */
export * from './download.ts';
export * from './lease.ts';
export * from './manifest.ts';
export type { Progress } from './progress.ts';
export * from './rate-limit.ts';
export * from './seal.ts';
export type { SourceCredentials } from './source-request.ts';
export * from './sources.ts';
export * from './states.ts';
export * from './store.ts';
export * from './tidy.ts';
export * from './use-leases.ts';
export * from './verify.ts';
