import { createHash } from 'node:crypto';
import { existsSync, readFileSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { bundle } from '../../../hack/build.ts';
import { cacheDir, execOk, terminalProgress, withLock } from '../../../hack/lib/index.ts';

const FOLDER = join(import.meta.dirname, 'controller-runtime');

/** Path of the Go peer, built from modules (2 min on two cores) unless these very sources were built before. Needs Go 1.26. */
export const ensurePeer = async (): Promise<string> => {
  const hash = createHash('sha256');
  for (const file of ['go.mod', 'go.sum', 'main.go']) hash.update(readFileSync(join(FOLDER, file)));
  const version = `stamps-peer-${hash.digest('hex').slice(0, 12)}`;
  const path = join(cacheDir('bin', version), 'stamps-peer');
  const progress = terminalProgress();
  await withLock(
    join(cacheDir('lock'), 'programs.lock'),
    async () => {
      if (existsSync(path)) return;
      await progress.step('building the controller-runtime peer (about 2 min)', () =>
        execOk(['go', 'build', '-ldflags', '-s -w', '-o', `${path}.tmp`, '.'], {
          cwd: FOLDER,
          env: { ...process.env, CGO_ENABLED: '0' },
        }),
      );
      renameSync(`${path}.tmp`, path);
    },
    { onWait: (pid) => progress.line(`waiting for process ${pid}, which builds programs into the same cache`) },
  );
  return path;
};

/** Path of ours as one file, as the operator is shipped. */
export const bundleOurs = async (): Promise<string> => {
  const path = join(cacheDir('bench'), 'stamps.mjs');
  await bundle('test/bench/peers/ours.ts', path);
  return path;
};
