import type { ResultityNetwork, ResultityNode } from '../../src/api/index.ts';
import type { Accelerator } from '../../src/placement/index.ts';

/** All that a pod is made from. Equal inputs give equal pods. */
export interface PodInput {
  readonly node: ResultityNode;
  readonly network: {
    /** The ResultityNetwork object. */
    readonly object: ResultityNetwork;
    /** Name and environment as its verified root says. */
    readonly name: string;
    readonly environment: 'testnet' | 'mainnet';
  };
  /** As they are pulled. */
  readonly images: { readonly agent: string; readonly runtime: string };
  /** Those of them that are not what was published, as that was patched back on this node. */
  readonly heldBack: readonly ('agent' | 'runtime')[];
  readonly agentVersion: string;
  readonly accelerator: Accelerator;
  /** What the runtime asks for; undefined = no GPU resource. */
  readonly gpu: { readonly resourceName: string; readonly count: number; readonly product?: string } | undefined;
  /** What the assigned model needs of each GPU, in MiB: for the scheduler, when the pod is made; no part of the template. */
  readonly gpuMemoryMiB: number;
  /** The Secret with the key. */
  readonly keySecret: string;
  readonly assignedModel: string;
  /** spec.runtime.extraArgs and env, already checked. */
  readonly engineArgs: Readonly<Record<string, string>>;
  readonly engineEnv: Readonly<Record<string, string>>;
  readonly agentLogLevel: 'trace' | 'debug' | 'info' | 'warn' | 'error';
}
