import { existsSync, mkdtempSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { cacheDir, execOk, type Progress, withLock } from '../lib/index.ts';

export type PrometheusProgram = 'prometheus' | 'promtool';

/**
 * Path of a program of Debian's package prometheus, unpacked into the cache: installing it would start its daemon. Two
 * programs in Go that need nothing else of Debian.
 */
export async function prometheusProgram(name: PrometheusProgram, progress: Progress): Promise<string> {
  const root = join(cacheDir('bin'), 'prometheus-debian');
  const path = join(root, 'usr/bin', name);
  if (existsSync(path)) return path;
  return withLock(join(cacheDir('lock'), 'prometheus.lock'), async () => {
    if (existsSync(path)) return path;
    return progress.step('Prometheus and promtool from Debian', async () => {
      const work = mkdtempSync(join(cacheDir('bin'), '.prometheus-'));
      try {
        await execOk(['apt-get', 'download', '-q', 'prometheus'], { cwd: work }).catch(async () => {
          await execOk(['apt-get', 'update', '-q']);
          await execOk(['apt-get', 'download', '-q', 'prometheus'], { cwd: work });
        });
        const deb = readdirSync(work).find((file) => file.endsWith('.deb'));
        if (!deb) throw new Error('apt-get download left no prometheus_*.deb');
        await execOk(['dpkg-deb', '-x', join(work, deb), join(work, 'root')]);
        rmSync(root, { recursive: true, force: true });
        renameSync(join(work, 'root'), root);
        return path;
      } finally {
        rmSync(work, { recursive: true, force: true });
      }
    });
  });
}
