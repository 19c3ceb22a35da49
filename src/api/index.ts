/**
 * The four resources, as plain interfaces: the one source of the CRDs, the parsers and the API reference.
 *
 * Read: meta.ts and values.ts (shared pieces), pod.ts (what passes through to pods), resultity-node.ts with
 * resultity-node-status.ts, approved-model.ts, resultity-network.ts, resultity-fleet.ts, then conditions.ts.
 * The tags in the comments are those of hack/codegen; `npm run generate` turns them into crds/, zz_generated.parsers.ts
 * and docs/api.md.
 *
 * Invariants:
 * - A field with a default is always there after parsing, so it is required here though a manifest may leave it out.
 * - v1alpha1 changes additively only.
 * - Only the operator writes status, but for ResultityNode's `status.agent`, which only the agent writes.
 */
export * from './allow-list.ts';
export type * from './approved-model.ts';
export * from './conditions.ts';
export * from './contract.ts';
export type * from './meta.ts';
export * from './names.ts';
export type * from './pod.ts';
export * from './resources.ts';
export type * from './resultity-fleet.ts';
export type * from './resultity-network.ts';
export type * from './resultity-node.ts';
export type * from './resultity-node-status.ts';
export type * from './rollout.ts';
export type * from './storage.ts';
export type * from './values.ts';
