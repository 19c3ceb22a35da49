import { existsSync, readFileSync } from 'node:fs';
import { type ProcessRef, writeFileWhole } from '../lib/index.ts';
import type { Layout } from './layout.ts';

export type Profile = 'api' | 'control-plane' | 'node';

/** What `up` records as it goes, so that `down` after a kill at any point finds everything. */
export interface ClusterState {
  readonly v: 1;
  readonly name: string;
  readonly profile: Profile;
  /** `starting` until everything answered; a cluster that is found in it was killed on its way up. */
  readonly phase: 'starting' | 'up';
  readonly server: string;
  /** The process that holds the namespaces; profile `node` only. */
  readonly holder?: ProcessRef;
  /** The same for the second real node. */
  readonly peer?: ProcessRef;
  /** The node's ends of what is outside the namespaces, by host pid; profiles without namespaces. */
  readonly processes: Readonly<Record<string, ProcessRef>>;
  readonly fakeNodes: number;
  readonly gpus: number;
}

export function readState(layout: Layout): ClusterState | undefined {
  if (!existsSync(layout.paths.state)) return undefined;
  try {
    const state = JSON.parse(readFileSync(layout.paths.state, 'utf8')) as ClusterState;
    return state.v === 1 ? state : undefined;
  } catch {
    return undefined; // written whole by rename, so this is somebody else's file or an old one
  }
}

export function writeState(layout: Layout, state: ClusterState): void {
  writeFileWhole(layout.paths.state, `${JSON.stringify(state, null, 2)}\n`, 0o600);
}
