import { createHash } from 'node:crypto';
import { lstat } from 'node:fs/promises';
import { join } from 'node:path';
import type { ModelFile } from './manifest.ts';

/**
 * A mark of the listed files as the file system holds them: inode, size, and the times of the last change of content and of
 * the inode. No user can set the latter, so a file that was written, replaced or exchanged for a link and back has another
 * seal, and only what has the seal of a hashed folder may be taken for hashed. Costs one lstat a file, reads no content.
 */
export const sealOf = async (folder: string, files: readonly ModelFile[]): Promise<string> => {
  const hash = createHash('sha256');
  const paths = ['', ...new Set(files.flatMap((f) => parents(f.path))), ...files.map((f) => f.path)].sort();
  for (const path of paths) {
    const at = await lstat(join(folder, path), { bigint: true }).catch(() => null);
    hash.update(
      at === null
        ? `${path}\0gone\n`
        : `${path}\0${at.dev} ${at.ino} ${at.mode} ${at.size} ${at.mtimeNs} ${at.ctimeNs}\n`,
    );
  }
  return hash.digest('hex');
};

const parents = (path: string): string[] =>
  path
    .split('/')
    .slice(0, -1)
    .map((_, i, parts) => parts.slice(0, i + 1).join('/'));
