import { rmSync } from 'node:fs';
import type { Progress } from '../lib/index.ts';
import { NODE_NAMESPACE, SYSTEM_NAMESPACE } from './names.ts';
import type { Target } from './target.ts';

/** Removes what the demo made on a cluster that goes on living: nodes first, so that they drain under their operator. */
export const uninstall = async (target: Target, progress: Progress): Promise<void> => {
  await progress.step('removing the demo from the cluster', async (note) => {
    note('nodes');
    const crd = await target.kubectl([
      'get',
      'crd',
      'resultitynodes.resultity.com',
      '--ignore-not-found',
      '-o',
      'name',
    ]);
    if (crd !== '')
      await target.kubectl([
        '-n',
        NODE_NAMESPACE,
        'delete',
        'rnode,rnet',
        '--all',
        '--ignore-not-found',
        '--timeout=180s',
      ]);
    note('chart');
    await target.helm(['uninstall', 'resultity', '-n', SYSTEM_NAMESPACE, '--ignore-not-found', '--wait']);
    note('namespaces');
    await target.kubectl([
      'delete',
      'namespace',
      NODE_NAMESPACE,
      SYSTEM_NAMESPACE,
      '--ignore-not-found',
      '--timeout=180s',
    ]);
    progress.line('the four CRDs stay: kubectl get crd -o name | grep resultity.com | xargs kubectl delete');
    rmSync(target.dir, { recursive: true, force: true });
  });
};
