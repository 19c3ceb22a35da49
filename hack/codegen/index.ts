/**
 * From the interfaces of src/api to everything that is derived from them.
 *
 * Read: tags.ts (the closed list of tags and how a comment is read), model.ts (the intermediate form, documented so that
 * further outputs can be built on it: chart schema, RBAC), read.ts (TypeScript → form), then the outputs crd.ts,
 * parsers.ts and docs.ts. hack/generate.ts runs them all.
 *
 * Invariants: outputs are pure functions of the form; the same sources give the same bytes; an unknown tag, type or
 * constant is an error that names the place.
 */
export { crdFiles } from './crd.ts';
export { docsFile } from './docs.ts';
export type { Api } from './model.ts';
export { parsersFile } from './parsers.ts';
export { readApi } from './read.ts';
