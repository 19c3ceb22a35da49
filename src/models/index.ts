/**
 * models: from an entry of the snapshot to a read-only folder of exactly the signed bytes.
 *
 * Reading order: manifest (the last look at an entry; its rules and digest are the protocol's), sources (where from), fetch-file (one file, one attempt),
 * download (a whole model), store (the folder), verify (is it still that?), states (the model's life on a node).
 *
 * Invariants: no byte is written before there is room for all; never more bytes than signed; a folder named by a digest
 * appears whole, hashed and read-only, or not at all; a source is judged before it is asked, redirects too; wrong bytes
 * are thrown away at once; the state machine has no illegal transition to write.
 */
export * from './download.ts';
export * from './manifest.ts';
export * from './sources.ts';
export * from './states.ts';
export * from './store.ts';
export * from './verify.ts';
