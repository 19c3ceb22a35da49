/**
 * A real Kubernetes for development, the demo and the tests: etcd, API server, controller manager, scheduler, kubelet
 * with containerd, kube-proxy, CoreDNS and a registry, and simulated GPU nodes on request.
 *
 * Reading order: `layout` (what follows from a name: addresses, paths), `site` (the namespaces everything runs in),
 * `up` (the order things start in), `cluster` (what callers do with it), `down`, then the parts: `control-plane`, `node`, `addons`, `gpus` (by
 * a node's status), `devices` (by a device plug-in and a DRA driver), `pki`, `binaries`, `state`, `admin`.
 *
 * Invariants:
 * - All programs of a cluster with a node live in the mount, network and PID namespaces of one holder process. Killing
 *   it ends everything; on the host there are only the state folder, one veth pair, and one cgroup subtree.
 * - Nothing is found or killed by a program's name: holders by their own command line with the state folder in it,
 *   other processes by pid and start time.
 * - `up` works after a run that was killed at any point, and twice; `down` works twice.
 */
import type { Progress } from '../lib/index.ts';
import { isSameProcess } from '../lib/index.ts';
import { clusterDownAt } from './down.ts';
import { readState } from './state.ts';
import { type ClusterOptions, resolveLayout } from './up.ts';

export { ensurePrograms, type Program, programPath } from './binaries.ts';
export type { Cluster } from './cluster.ts';
export { DRA_DRIVER, SAMPLE_DEVICES, sampleDeviceFile } from './devices.ts';
export type { Profile } from './state.ts';
export { type ClusterOptions, clusterUp, findCluster } from './up.ts';

/** Stops the cluster and removes what it made; `purge` removes the unpacked images too. Twice is fine. */
export async function clusterDown(
  options: Pick<ClusterOptions, 'name' | 'stateDir'> & { purge?: boolean; progress?: Progress } = {},
): Promise<void> {
  await clusterDownAt(resolveLayout(options), options.purge ?? false, options.progress);
}

export interface ClusterStatus {
  readonly name: string;
  readonly phase: 'down' | 'starting' | 'up' | 'broken';
  readonly profile?: string;
  readonly server?: string;
  readonly stateDir: string;
  /** By program: whether it runs. */
  readonly programs: Readonly<Record<string, boolean>>;
}

/** What of the cluster runs, without asking it anything. `broken`: recorded as up, but a program is gone. */
export function clusterStatus(options: Pick<ClusterOptions, 'name' | 'stateDir'> = {}): ClusterStatus {
  const layout = resolveLayout(options);
  const state = readState(layout);
  if (!state) return { name: layout.name, phase: 'down', stateDir: layout.stateDir, programs: {} };
  const programs = Object.fromEntries(
    [...(state.holder ? [['namespaces', state.holder] as const] : []), ...Object.entries(state.processes)].map(
      ([name, ref]) => [name, isSameProcess(ref)],
    ),
  );
  const whole = Object.values(programs).every(Boolean);
  return {
    name: layout.name,
    phase: state.phase === 'up' && !whole ? 'broken' : state.phase,
    profile: state.profile,
    server: state.server,
    stateDir: layout.stateDir,
    programs,
  };
}
