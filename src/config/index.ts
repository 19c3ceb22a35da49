/**
 * config: the signed configuration of a network (docs/protocol.md §7): a pure verifier, the durable floor, the publisher's
 * side. Agent, operator, network service and the command line all use this one.
 *
 * Reading order: document (what a snapshot says), model-entry and model-rules; evidence (signatures and thresholds), root (the chain);
 * verify (one check after another); floor and store (what is remembered), source (where answers come from); update (the
 * whole of it); publish (the signing side); rules and versions (what follows from a document).
 *
 * Invariants: nothing fetched is trusted; the checks run in one order and the first that fails names the refusal; what is
 * verified is durable before anybody sees it; (epoch, version) never falls but by a person's reset; a floor that cannot be
 * read refuses everything.
 */
export * from './document.ts';
export type { Role, SignatureEntry } from './evidence.ts';
export { compareVersions, type Floor, MAX_ACCEPTED } from './floor.ts';
export type { FailedModel, ModelAdminState, ModelEntry } from './model-entry.ts';
export type { JudgeOptions } from './model-rules.ts';
export * from './publish.ts';
export * from './reset.ts';
export * from './root.ts';
export * from './rules.ts';
export * from './source.ts';
export * from './store.ts';
export * from './update.ts';
export { readConfigAnswer } from './verify.ts';
export * from './versions.ts';
