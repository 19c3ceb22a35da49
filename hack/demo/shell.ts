import { chmodSync, existsSync, mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { bundle } from '../build.ts';
import { ensurePrograms, programPath } from '../cluster/index.ts';
import { quietProgress } from '../lib/index.ts';

/**
 * Makes the folder `<dir>/bin` for a person's PATH: the plugin as `kubectl-resultity`, on the Node that runs this, and where
 * the machine may have none of their own, the cluster's kubectl and helm. Returns it.
 */
export const pluginBin = async (dir: string, ownPrograms: boolean): Promise<string> => {
  const bin = join(dir, 'bin');
  rmSync(bin, { recursive: true, force: true });
  mkdirSync(bin, { recursive: true });
  const program = join(dir, 'kubectl-resultity.mjs');
  await bundle('src/cli/main.ts', program);
  const plugin = join(bin, 'kubectl-resultity');
  writeFileSync(plugin, `#!/bin/sh\nexec '${process.execPath}' '${program}' "$@"\n`);
  chmodSync(plugin, 0o755);
  if (ownPrograms) {
    await ensurePrograms(['kubectl', 'helm'], quietProgress);
    for (const name of ['kubectl', 'helm'] as const)
      if (existsSync(programPath(name))) symlinkSync(programPath(name), join(bin, name));
  }
  return bin;
};
