import { canonicalJson } from './canonical.ts';
import { type Sha256, sha256Hex } from './values.ts';

/** One file of a model as the snapshot lists it. */
export interface ModelFile {
  /** Relative, `/` between segments. */
  readonly path: string;
  /** Bytes. */
  readonly size: number;
  /** 64 bare lower-case hex digits. */
  readonly sha256: string;
}

/**
 * Digest of a model's tree: sha256 of RFC 8785 of `[{path,sha256,size}…]`, sorted by the UTF-8 bytes of path
 * (docs/protocol.md §7). The order in which the files are given does not matter.
 */
export const modelDigest = (files: readonly ModelFile[]): Sha256 =>
  sha256Hex(
    canonicalJson(
      [...files]
        .sort((a, b) => Buffer.compare(Buffer.from(a.path, 'utf8'), Buffer.from(b.path, 'utf8')))
        .map(({ path, sha256, size }) => ({ path, sha256, size })),
    ),
  );

/** Endings that can carry code: refused in any case. */
export const FORBIDDEN_ENDINGS: readonly string[] = [
  '.py',
  '.pyc',
  '.pkl',
  '.pickle',
  '.pt',
  '.pth',
  '.bin',
  '.ckpt',
  '.so',
];

const MAX_PATH_BYTES = 512;

/** Why one path is not allowed in a model, or undefined. Links are a matter of the disk and are judged there. */
export const pathProblem = (path: string): string | undefined => {
  if (path === '' || Buffer.byteLength(path) > MAX_PATH_BYTES) return `is empty or longer than ${MAX_PATH_BYTES} bytes`;
  if (path.startsWith('/') || /^[A-Za-z]:/.test(path)) return 'is absolute';
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is refused
  if (/[\\\u0000-\u001f\u007f]/.test(path)) return 'has a backslash or a control character';
  for (const segment of path.split('/')) {
    if (segment === '' || segment === '.' || segment === '..') return 'has an empty segment, . or ..';
    if (Buffer.byteLength(segment) > 255) return 'has a segment longer than 255 bytes';
  }
  const lower = path.toLowerCase();
  const ending = FORBIDDEN_ENDINGS.find((e) => lower.endsWith(e));
  return ending === undefined ? undefined : `ends in ${ending}, which may carry code`;
};

/**
 * Why a list of files is no model's tree, or undefined: a path that is not allowed, the same path twice, paths that differ
 * in case only (folders too), a path that is a file and a folder.
 */
export const filesProblem = (files: readonly ModelFile[]): string | undefined => {
  if (files.length === 0) return 'lists no files';
  const seen = new Map<string, { exact: string; file: boolean }>();
  for (const { path } of files) {
    const problem = pathProblem(path);
    if (problem !== undefined) return `file "${path.slice(0, 80)}" ${problem}`;
    const segments = path.split('/');
    for (let i = 1; i <= segments.length; i++) {
      const exact = segments.slice(0, i).join('/');
      const file = i === segments.length;
      const key = exact.normalize('NFC').toLowerCase();
      const other = seen.get(key);
      if (other === undefined) seen.set(key, { exact, file });
      else if (other.exact !== exact)
        return `files "${other.exact.slice(0, 80)}" and "${exact.slice(0, 80)}" collide in case`;
      else if (file || other.file) return `file "${exact.slice(0, 80)}" is listed twice or is a folder too`;
    }
  }
  return undefined;
};
