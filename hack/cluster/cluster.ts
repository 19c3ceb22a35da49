import {
  type ExecOptions,
  type ExecResult,
  execOk,
  isSameProcess,
  killProcess,
  type Progress,
  quietProgress,
} from '../lib/index.ts';
import { ensurePrograms, type Program, programPath } from './binaries.ts';
import { draDriver } from './devices.ts';
import { type Layout, peerOf, REGISTRY_PORT, REGISTRY_PULL } from './layout.ts';
import { type Site, setPeerLink } from './site.ts';
import type { ClusterState, Profile } from './state.ts';

/** A running cluster. */
export interface Cluster {
  readonly name: string;
  readonly profile: Profile;
  readonly stateDir: string;
  /** Administrator's kubeconfig for programs on the host; self-contained. */
  readonly kubeconfig: string;
  /** The API server as the host reaches it, `https://address:port`. */
  readonly server: string;
  /** The real node's name and address, which the host reaches too (node ports). Only in profile `node`. */
  readonly nodeName: string;
  readonly nodeAddress: string;
  /** The host as pods reach it. Only in profile `node`. */
  readonly hostAddress: string;
  /** The second real node, when there is one. `join(false)` cuts it off as a pulled cable would, `join(true)` heals it. */
  readonly peer?: { readonly nodeName: string; join(joined: boolean): Promise<void> };
  /** Stops a program of the cluster dead, or lets it go on: an API server that answers nobody. */
  freeze(program: 'kube-apiserver', frozen: boolean): void;
  /** Starts a driver of dynamic resource allocation with made-up devices on the first real node; gives what stops it. */
  startDraDriver(devices: number, progress?: Progress): Promise<() => Promise<void>>;
  readonly auditLog: string;
  readonly logDir: string;
  readonly registry: { readonly url: string; readonly pull: string };
  /** Path of a cached program, e.g. `kubectl`; call `ensurePrograms` for one that `up` did not need. */
  program(name: Program): string;
  /** Runs a program where the cluster's programs run: inside its namespaces, or on the host in the smaller profiles. */
  exec(argv: readonly string[], options?: ExecOptions): Promise<ExecResult>;
  /** The argv that does the same, for callers that spawn. */
  wrap(argv: readonly string[]): string[];
  /** `kubectl` with this cluster's kubeconfig. Throws unless it ends with 0; returns stdout. */
  kubectl(args: readonly string[], options?: ExecOptions): Promise<string>;
}

/** What callers do with a cluster that runs. */
export function clusterOf(layout: Layout, state: ClusterState, site: Site): Cluster {
  return {
    name: layout.name,
    profile: state.profile,
    stateDir: layout.stateDir,
    kubeconfig: layout.paths.kubeconfig,
    server: state.server,
    nodeName: layout.nodeName,
    nodeAddress: layout.nodeAddress,
    hostAddress: layout.hostAddress,
    ...(state.peer && {
      peer: { nodeName: peerOf(layout).nodeName, join: (joined) => setPeerLink(peerOf(layout), site, joined) },
    }),
    freeze: (program, frozen) => {
      const ref = state.processes[program];
      if (!ref || !isSameProcess(ref)) throw new Error(`${program} does not run`);
      process.kill(ref.pid, frozen ? 'SIGSTOP' : 'SIGCONT');
    },
    startDraDriver: async (devices, progress = quietProgress) => {
      const programs = await ensurePrograms(['dra-test-driver'], progress);
      const { name, argv, env } = draDriver(programs['dra-test-driver'], layout, devices);
      const ref = await site.start(name, argv, env);
      return () => killProcess(ref, 5000);
    },
    auditLog: layout.paths.audit,
    logDir: layout.paths.logs,
    registry: { url: `http://${layout.nodeAddress}:${REGISTRY_PORT}`, pull: REGISTRY_PULL },
    program: programPath,
    exec: (argv, options) => site.exec(argv, options),
    wrap: (argv) => site.wrap(argv),
    kubectl: async (args, options) => {
      await ensurePrograms(['kubectl'], quietProgress);
      return execOk([programPath('kubectl'), '--kubeconfig', layout.paths.kubeconfig, ...args], options);
    },
  };
}
