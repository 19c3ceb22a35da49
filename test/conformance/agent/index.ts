/**
 * A minimal second agent, written from docs/protocol.md alone. Reading order: `engine` (the fake engine and what it says),
 * `client` (HTTP, signed calls), `minimal-agent` (registration, socket, heartbeat, jobs, receipts).
 *
 * Invariants: nothing is imported from src/; it never claims to compute anything (labels `engine: fake`, answers "fake
 * engine-1 …"); every misbehaviour is asked for by a case, none happens by itself.
 */
export type { CallMisbehaviour, HttpAnswer } from './client.ts';
export { type Answer, fakeAnswer } from './engine.ts';
export { MinimalAgent } from './minimal-agent.ts';
