import type { ResultityNetwork, ResultityNode, Rollout } from '../../src/api/index.ts';
import type { SnapshotDocument } from '../../src/config/document.ts';
import type { GpuOffer } from '../../src/placement/index.ts';
import type { NodeStatus } from '../../src/protocol/index.ts';
import type { Pod } from '../pod-types.ts';
import type { Turn } from './rollout.ts';

/** The node's network as the operator knows it. */
export type NetworkFacts =
  | { readonly at: 'missing' }
  | {
      readonly at: 'notReady';
      readonly object: ResultityNetwork;
      readonly message: string;
      /** This process has not looked at the network yet: nothing can be concluded. */
      readonly untried: boolean;
    }
  | {
      readonly at: 'ready';
      readonly object: ResultityNetwork;
      /** From its verified root. */
      readonly name: string;
      readonly environment: 'testnet' | 'mainnet';
      readonly epoch: number;
      readonly version: number;
      readonly digest: string;
      readonly document: SnapshotDocument;
    };

/** What the network said of this node when it was last asked. */
export type Sight =
  | { readonly kind: 'notAsked' }
  | { readonly kind: 'unreachable'; readonly message: string }
  | { readonly kind: 'absent' }
  | { readonly kind: 'seen'; readonly status: NodeStatus };

/** The API server would not have the pod. */
export interface Refusal {
  readonly message: string;
  readonly at: number;
}

/** The Kubernetes node that the pod is bound to. */
export interface Machine {
  readonly name: string;
  /**
   * unreachable: it does not answer, and whatever runs there may go on. outOfService, gone: a person or the cluster vouches
   * that nothing runs there any more. unknown: there is no pod on a machine, or the operator may not look.
   */
  readonly state: 'ready' | 'unreachable' | 'outOfService' | 'gone' | 'unknown';
  /** The pods there hold more of the GPU resource than the machine has left. */
  readonly gpuLost: boolean;
}

/** What holds for every node of this operator. */
export interface NodeSettings {
  /** Replaces the snapshot's agent image when not empty. */
  readonly agentImage: string;
  /** For networks that name no repositories. */
  readonly allowedRepositories: readonly string[];
  readonly agentLogLevel: 'trace' | 'debug' | 'info' | 'warn' | 'error';
}

/** Everything that one decision about a node rests on. Nothing else does. */
export interface NodeFacts {
  /** Wall clock, ms. */
  readonly now: number;
  readonly node: ResultityNode;
  readonly network: NetworkFacts;
  /** The object with the pod's name, whoever made it. */
  readonly pod: Pod | undefined;
  /** Whether the Secret with the key stands; unknown = not asked, as nothing depends on it now. */
  readonly keySecret: 'there' | 'missing' | 'unknown';
  /** GPUs of the cluster; undefined when the operator may not look. */
  readonly offers: readonly GpuOffer[] | undefined;
  /** How many other nodes of the network are assigned each model. */
  readonly servers: ReadonlyMap<string, number>;
  readonly sight: Sight;
  /** What the API server said when the pod was last tried to be made, and when (wall clock, ms); undefined when it was taken. */
  readonly refusal: Refusal | undefined;
  readonly settings: NodeSettings;
  /** The pod with the name of this node's pull pod, whoever made it. */
  readonly pull: Pod | undefined;
  readonly machine: Machine;
  /** What a queue (Kueue) says that the pod waits for. */
  readonly queue: string | undefined;
  /** The fleet's, or the network's for a single node. */
  readonly rollout: Rollout;
  /** Whether an update to these images may begin. Looks at the other nodes when it is called. */
  readonly turn: (images: readonly string[]) => Turn;
  /** Why no pod may be replaced now: too many machines have vanished together. Looks at the other nodes when it is called. */
  readonly brake: () => string | undefined;
}
