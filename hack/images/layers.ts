import { createHash } from 'node:crypto';
import { chmodSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { cacheDir, withLock, writeFileWhole } from '../lib/index.ts';
import { type Layer, packLayer } from './oci.ts';

export const hashOf = (...parts: readonly unknown[]): string =>
  createHash('sha256').update(JSON.stringify(parts)).digest('hex').slice(0, 24);

/** A hash over the names and bytes of files and folders. */
export function hashFiles(paths: readonly string[]): string {
  const hash = createHash('sha256');
  const visit = (path: string, name: string): void => {
    if (statSync(path).isDirectory()) {
      for (const entry of readdirSync(path).sort()) visit(join(path, entry), `${name}/${entry}`);
    } else {
      hash.update(`${name}\0`).update(readFileSync(path));
    }
  };
  for (const path of paths) visit(path, path.slice(path.lastIndexOf('/') + 1));
  return hash.digest('hex').slice(0, 24);
}

/**
 * The layer of `key`: from the cache, or filled by `fill` in an empty folder and packed. `key` must name everything the
 * content depends on. One process builds a layer at a time.
 */
export async function layerOf(
  name: string,
  key: string,
  fill: (root: string) => Promise<void>,
  options: { compression?: 'gzip' | 'zstd'; onBytes?: (bytes: number) => void } = {},
): Promise<Layer> {
  const record = join(cacheDir('images', 'layers'), `${name}-${key}.json`);
  const known = readLayer(record);
  if (known) return known;
  return withLock(join(cacheDir('lock'), `layer-${name}-${key}.lock`), async () => {
    const made = readLayer(record);
    if (made) return made;
    const root = mkdtempSync(join(cacheDir('images', 'work'), `${name}-`));
    chmodSync(root, 0o755); // it becomes the image's /
    try {
      await fill(root);
      const layer = await packLayer(root, options.compression ?? 'gzip', options.onBytes);
      writeFileWhole(record, JSON.stringify(layer));
      return layer;
    } finally {
      rmSync(root, { recursive: true, force: true });
    }
  });
}

function readLayer(record: string): Layer | undefined {
  if (!existsSync(record)) return undefined;
  const layer = JSON.parse(readFileSync(record, 'utf8')) as Layer;
  return existsSync(layer.path) ? layer : undefined;
}
