import { filesProblem, type ModelFile, modelDigest } from '../protocol/model-digest.ts';
import type { Sha256 } from '../protocol/values.ts';

export type { ModelFile };

/** The part of a snapshot's model entry that decides which bytes it is. */
export interface ModelManifest {
  readonly name: string;
  readonly version: string;
  readonly digest: Sha256;
  readonly files: readonly ModelFile[];
  readonly sources: readonly string[];
  /** Disk that the publisher asks for; counts where it is more than the files. */
  readonly requires: { readonly diskMiB: number };
}

export const modelBytes = (files: readonly ModelFile[]): number => files.reduce((sum, f) => sum + f.size, 0);

/**
 * What is wrong with a manifest, or undefined. The configuration has judged it already; this is the last look before
 * paths become files, so it depends on nobody.
 */
export const manifestProblem = (model: ModelManifest): string | undefined => {
  if (!/^sha256:[0-9a-f]{64}$/.test(model.digest)) return 'the digest is malformed';
  const odd = model.files.find((f) => !/^[0-9a-f]{64}$/.test(f.sha256) || !Number.isSafeInteger(f.size) || f.size < 0);
  if (odd) return `size or sha256 of file ${JSON.stringify(odd.path.slice(0, 80))} is malformed`;
  const problem = filesProblem(model.files);
  if (problem !== undefined) return problem;
  if (modelDigest(model.files) !== model.digest) return 'the digest is not that of the listed files';
  return model.sources.length === 0 ? 'lists no sources' : undefined;
};
