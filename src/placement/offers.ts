import type { GpuLabels } from './accelerators.ts';

/** A Kubernetes node as the planner sees it. */
export interface NodeFacts {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly allocatable: Readonly<Record<string, string>>;
  readonly cordoned: boolean;
  readonly taints: readonly { readonly key: string; readonly value?: string; readonly effect: string }[];
  /** The condition that tells of a broken GPU, if one does. */
  readonly problem?: string;
  /** What the kubelet gives to pods' files, in MiB; absent = unknown. */
  readonly diskMiB?: number;
}

/** A pod that uses, or will use, extended resources. */
export interface PodUse {
  readonly nodeName?: string;
  /** Succeeded and Failed pods use nothing. */
  readonly finished: boolean;
  /** By extended resource name. */
  readonly requests: Readonly<Record<string, number>>;
}

/** What one Kubernetes node offers of one extended resource. Memory is of one GPU (or slice, or share), in MiB. */
export interface GpuOffer extends GpuLabels {
  readonly node: NodeFacts;
  readonly resourceName: string;
  readonly total: number;
  readonly free: number;
}
