import { open, rename, unlink } from 'node:fs/promises';
import { dirname } from 'node:path';

/**
 * Writes `path` so that a reader or a crash sees the old bytes or the new ones, never a part: temp, fsync, rename,
 * fsync of the folder. Leftovers end in `.tmp`.
 */
export const writeDurably = async (path: string, bytes: string | Uint8Array, mode = 0o644): Promise<void> => {
  const temp = `${path}.${process.pid}.tmp`;
  try {
    const file = await open(temp, 'w', mode);
    try {
      await file.writeFile(bytes);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temp, path);
  } catch (error) {
    await unlink(temp).catch(() => {});
    throw error;
  }
  await syncFolder(dirname(path));
};

/** fsync of a folder: makes a rename or an unlink in it durable. */
export const syncFolder = async (path: string): Promise<void> => {
  const folder = await open(path, 'r');
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
};
