import { existsSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { cacheDir, isSameProcess, killProcess, type Progress, quietProgress, withLock } from '../lib/index.ts';
import { removeSampleDevices } from './devices.ts';
import { type Layout, peerOf } from './layout.ts';
import { removeCgroups } from './node.ts';
import { findHolders, killHolder, removeHostLink } from './site.ts';
import { readState } from './state.ts';

/** The order in which programs are asked to stop; the API server before etcd, or it waits for a minute. */
const STOP_FIRST = ['kwok', 'kube-scheduler', 'kube-controller-manager', 'kube-apiserver', 'etcd'];

/**
 * Removes what a run of this name left, whatever it got to: found by the state folder alone. Unpacked images stay
 * unless `purge`. Doing it twice is fine.
 */
export async function clearLeftovers(
  layout: Layout,
  options: { purge?: boolean; keepLogs?: boolean } = {},
): Promise<void> {
  const state = readState(layout);
  if (state && !state.holder) {
    const names = Object.keys(state.processes).sort((a, b) => STOP_FIRST.indexOf(a) - STOP_FIRST.indexOf(b));
    for (const name of names) {
      const ref = state.processes[name];
      if (ref) await killProcess(ref, 2000);
    }
  }
  // The holder of the state file and any that a killed run could not record: with it the kernel ends all inside.
  for (const holder of findHolders(layout)) await killHolder(holder);
  const inside = Object.values(state?.processes ?? {});
  for (const ref of inside) if (isSameProcess(ref)) await killProcess(ref, 0);
  if (state?.processes['device-plugin']) removeSampleDevices();
  await removeHostLink(layout);
  await removeCgroups(layout);
  if (!existsSync(layout.stateDir)) return;
  const kept = new Set([
    ...(options.purge ? [] : [layout.paths.containerdRoot, peerOf(layout).paths.containerdRoot]),
    ...(options.keepLogs ? [layout.paths.logs] : []),
  ]);
  for (const entry of readdirSync(layout.stateDir)) {
    const path = join(layout.stateDir, entry);
    if (!kept.has(path)) rmSync(path, { recursive: true, force: true });
  }
  if (readdirSync(layout.stateDir).length === 0) rmSync(layout.stateDir, { recursive: true });
}

/** Stops the cluster and removes what it made on the host. The unpacked images stay for the next `up`, unless `purge`. */
export async function clusterDownAt(layout: Layout, purge: boolean, progress: Progress = quietProgress): Promise<void> {
  await withLock(join(cacheDir('lock'), `cluster-${layout.name}.lock`), () =>
    progress.step(`cluster ${layout.name}: down`, () => clearLeftovers(layout, { purge })),
  );
}
