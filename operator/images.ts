import type { ImageMirror } from '../src/api/index.ts';
import { compareSemver } from '../src/config/index.ts';
import type { Accelerator } from '../src/placement/index.ts';

const IMAGE =
  /^([a-z0-9](?:[a-z0-9.-]*[a-z0-9])?(?::[0-9]{1,5})?(?:\/[a-z0-9]+(?:[._-]+[a-z0-9]+)*)*)(?::[\w][\w.-]{0,127})?@(sha256:[0-9a-f]{64})$/;

export type ImageVerdict =
  | { readonly ok: true /** What the pod pulls, mirrors applied. */; readonly image: string; readonly digest: string }
  | { readonly ok: false; readonly message: string };

/** Where images may come from. */
export interface ImageRules {
  /** What the operator was told (the chart's list): every image is pulled from inside it. The admission policy says the same. */
  readonly pulledFrom: readonly string[];
  /** The network's own list, for the names that its snapshots may give; undefined = any. */
  readonly listed: readonly string[] | undefined;
  readonly mirrors?: readonly ImageMirror[] | undefined;
}

/**
 * Whether an image of a signed snapshot may run: by digest, and in both lists a repository itself or a path below it. The
 * network's list judges the name in the snapshot; then mirrors replace its repository, the digest stays, and what is pulled
 * is judged by the operator's list. Pure.
 */
export const resolveImage = (
  what: string,
  image: string,
  { pulledFrom, listed, mirrors = [] }: ImageRules,
): ImageVerdict => {
  const match = IMAGE.exec(image);
  const [, repository = '', digest = ''] = match ?? [];
  if (!match)
    return {
      ok: false,
      message: `the ${what} image ${image.slice(0, 120)} is not given by digest (repository@sha256:…)`,
    };
  if (listed !== undefined && !inside(repository, listed))
    return {
      ok: false,
      message: `the ${what} image's repository ${repository} is not allowed; ${told(listed)}; add it to images.allowedRepositories`,
    };
  const mirror = mirrors.find((m) => within(repository, m.from));
  const pulled = mirror === undefined ? repository : mirror.to + repository.slice(mirror.from.length);
  return inside(pulled, pulledFrom)
    ? { ok: true, image: `${pulled}@${digest}`, digest }
    : {
        ok: false,
        message: `the ${what} image's repository ${pulled} is not allowed in this cluster; ${told(pulledFrom)}; add it to the chart's operator.allowedRepositories`,
      };
};

const told = (allowed: readonly string[]): string =>
  allowed.length === 0 ? 'none is allowed' : `allowed are ${allowed.slice(0, 4).join(', ')}`;

const inside = (repository: string, allowed: readonly string[]): boolean =>
  allowed.some((prefix) => within(repository, prefix));

const within = (repository: string, prefix: string): boolean =>
  repository === prefix || repository.startsWith(`${prefix}/`);

/** The newest runtime of the snapshot for an engine and an accelerator that is at least `minVersion`. */
export const chooseRuntime = <
  R extends { readonly engine: string; readonly version: string; readonly accelerator: string },
>(
  runtimes: readonly R[],
  accelerator: Accelerator,
  minVersion = '0',
  engine = 'vllm',
): R | undefined =>
  runtimes
    .filter((r) => r.engine === engine && r.accelerator === accelerator && compareSemver(r.version, minVersion) >= 0)
    .toSorted((a, b) => compareSemver(b.version, a.version))[0];
