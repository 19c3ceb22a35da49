/** A version of an agent, a runtime or an engine: numbers, then an optional pre-release. Build metadata does not count. */
export interface Version {
  readonly numbers: readonly number[];
  /** Dot-separated identifiers; empty for a release. */
  readonly pre: readonly string[];
}

/** Reads `1`, `1.2`, `v1.2.3-rc.1+build`; also `0.32.0rc1`, as Python packages write it. Undefined for anything else. */
export const parseVersion = (text: string): Version | undefined => {
  const match =
    /^v?(\d{1,9}(?:\.\d{1,9}){0,3})(?:-([0-9A-Za-z.-]+)|\.?((?:a|b|rc|dev)\d*))?(?:\+[0-9A-Za-z.-]+)?$/.exec(text);
  if (!match?.[1]) return undefined;
  const pre = match[2] ?? match[3];
  return { numbers: match[1].split('.').map(Number), pre: pre === undefined ? [] : pre.split('.') };
};

/** Order of semantic versions: a pre-release is below its release. What is no version is below every version. */
export const compareSemver = (a: string, b: string): number => {
  const left = parseVersion(a);
  const right = parseVersion(b);
  if (!left || !right) return Number(left !== undefined) - Number(right !== undefined);
  for (let i = 0; i < 4; i++) {
    const diff = (left.numbers[i] ?? 0) - (right.numbers[i] ?? 0);
    if (diff !== 0) return diff;
  }
  if (left.pre.length === 0 || right.pre.length === 0) return right.pre.length - left.pre.length;
  for (let i = 0; i < Math.max(left.pre.length, right.pre.length); i++) {
    const diff = compareIdentifier(left.pre[i], right.pre[i]);
    if (diff !== 0) return diff;
  }
  return 0;
};

const compareIdentifier = (a: string | undefined, b: string | undefined): number => {
  if (a === undefined || b === undefined) return Number(a !== undefined) - Number(b !== undefined);
  const numeric = (t: string): boolean => /^\d+$/.test(t);
  if (numeric(a) && numeric(b)) return Number(a) - Number(b);
  if (numeric(a) !== numeric(b)) return numeric(a) ? -1 : 1;
  return a < b ? -1 : a > b ? 1 : 0;
};

/** True when `version` is a version and not below `minimum`. */
export const meetsMinimum = (version: string, minimum: string): boolean =>
  parseVersion(version) !== undefined && compareSemver(version, minimum) >= 0;

/** The higher of two versions. */
export const higherVersion = (a: string, b: string): string => (compareSemver(a, b) >= 0 ? a : b);
