import { createHash } from 'node:crypto';
import { chmodSync, copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parse, stringify } from 'yaml';
import manifest from '../../package.json' with { type: 'json' };
import { bundle } from '../build.ts';
import { execOk, repoRoot } from '../lib/index.ts';

export interface KrewPackage {
  readonly archive: string;
  readonly manifest: string;
  readonly sha256: string;
}

/**
 * Packs the plugin for krew into `outDir`: the archive and the manifest that names it by its digest. The same sources give
 * the same bytes. `baseUri` is where the archive will lie.
 */
export const packPlugin = async (outDir: string, baseUri: string): Promise<KrewPackage> => {
  const version = `v${manifest.version}`;
  const work = mkdtempSync(join(tmpdir(), 'resultity-krew-'));
  try {
    await bundle('src/cli/main.ts', join(work, 'resultity.mjs'));
    chmodSync(join(work, 'resultity.mjs'), 0o755);
    copyFileSync(join(repoRoot, 'LICENSE'), join(work, 'LICENSE'));
    chmodSync(join(work, 'LICENSE'), 0o644);
    mkdirSync(outDir, { recursive: true });
    const archive = join(outDir, `resultity-${version}.tar.gz`);
    const sameEachTime = [
      '--sort=name',
      '--mtime=@0',
      '--owner=0',
      '--group=0',
      '--numeric-owner',
      '--use-compress-program=gzip -9n',
    ];
    await execOk(['tar', ...sameEachTime, '-cf', archive, '-C', work, 'LICENSE', 'resultity.mjs']);
    const sha256 = createHash('sha256').update(readFileSync(archive)).digest('hex');
    const plugin = parse(readFileSync(join(import.meta.dirname, 'resultity.yaml'), 'utf8'));
    plugin.spec.version = version;
    for (const platform of plugin.spec.platforms) {
      platform.uri = `${baseUri.replace(/\/$/, '')}/resultity-${version}.tar.gz`;
      platform.sha256 = sha256;
    }
    const file = join(outDir, 'resultity.yaml');
    writeFileSync(file, stringify(plugin));
    return { archive, manifest: file, sha256 };
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
};
