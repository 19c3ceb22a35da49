import { randomBytes } from 'node:crypto';
import { mkdirSync, renameSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { dirname, join, resolve } from 'node:path';

/** The repository's root folder. */
export const repoRoot: string = resolve(import.meta.dirname, '..', '..');

/** A folder under `${XDG_CACHE_HOME:-~/.cache}/resultity`, made when missing. What lies here may be deleted at any time. */
export function cacheDir(...parts: string[]): string {
  const dir = join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'resultity', ...parts);
  mkdirSync(dir, { recursive: true });
  return dir;
}

/** Where the cluster `name` keeps its state when the caller does not say: `${XDG_STATE_HOME:-~/.local/state}/resultity/<name>`. */
export function defaultStateDir(name: string): string {
  return join(process.env.XDG_STATE_HOME || join(homedir(), '.local', 'state'), 'resultity', name);
}

/** Writes by temp + rename, so a reader never sees half a file. */
export function writeFileWhole(path: string, data: string | Uint8Array, mode = 0o644): void {
  mkdirSync(dirname(path), { recursive: true });
  const temp = `${path}.${randomBytes(4).toString('hex')}.tmp`;
  writeFileSync(temp, data, { mode });
  renameSync(temp, path);
}
