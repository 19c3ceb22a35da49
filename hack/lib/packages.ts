import { existsSync } from 'node:fs';
import { ExecError, exec, execOk } from './exec.ts';
import type { Progress } from './progress.ts';

/** What someone does who has no root, no Debian or a cluster already. */
export const OTHER_CLUSTER_HINT =
  'use a cluster that exists instead: npm run demo -- --context NAME --registry HOST (kind, k3s, or a GPU cluster)';

export const isRoot = (): boolean => process.getuid?.() === 0;

/** Throws, with the way out, when this process is not root on Linux. */
export function requireRoot(what: string): void {
  if (process.platform !== 'linux') throw new Error(`${what} needs Linux; ${OTHER_CLUSTER_HINT}`);
  if (!isRoot()) throw new Error(`${what} needs root (run it with sudo), or ${OTHER_CLUSTER_HINT}`);
}

/** Of `names`, those that dpkg does not have installed. */
export async function missingDebianPackages(names: readonly string[]): Promise<string[]> {
  // biome-ignore lint/suspicious/noTemplateCurlyInString: dpkg's own placeholders
  const query = await exec(['dpkg-query', '-W', '-f', '${Package} ${db:Status-Status}\n', ...names]);
  const installed = new Set(
    query.stdout.split('\n').flatMap((line) => (line.endsWith(' installed') ? [line.split(' ')[0]] : [])),
  );
  return names.filter((name) => !installed.has(name));
}

/**
 * Installs those of `names` that are missing, after saying which. Does nothing, and needs no root, when none is
 * missing. Services that come with them are not started: the project runs its own.
 */
export async function ensureDebianPackages(names: readonly string[], progress: Progress): Promise<void> {
  if (!existsSync('/usr/bin/dpkg-query') || !existsSync('/usr/bin/apt-get')) {
    throw new Error(
      `this is not a Debian system, so these cannot be installed: ${names.join(' ')}; ${OTHER_CLUSTER_HINT}`,
    );
  }
  const missing = await missingDebianPackages(names);
  if (missing.length === 0) return;
  requireRoot(`installing the Debian packages ${missing.join(' ')}`);
  progress.line(`will install Debian packages: ${missing.join(' ')}`);
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive', RUNLEVEL: '1' };
  const install = ['apt-get', 'install', '-y', '-q', '--no-install-recommends', ...missing];
  await progress.step(`apt-get install ${missing.join(' ')}`, async () => {
    const first = await exec(install, { env });
    if (first.code === 0) return;
    await execOk(['apt-get', 'update', '-q'], { env });
    const second = await exec(install, { env });
    if (second.code !== 0) throw new ExecError(install, second);
  });
}
