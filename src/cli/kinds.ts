import {
  type ApprovedModel,
  type ResultityFleet,
  type ResultityNetwork,
  type ResultityNode,
  resources,
} from '../api/index.ts';
import { BUILTIN, type KubeObject, resource } from '../kube/index.ts';
import type { ClusterNode, ClusterPod } from '../placement/index.ts';

/** The parts of other kinds that the plugin reads. */
export interface PodObject extends ClusterPod {
  readonly status?: {
    readonly phase?: string;
    readonly conditions?: readonly { readonly type: string; readonly status: string; readonly message?: string }[];
    readonly resourceClaimStatuses?: readonly { readonly name: string; readonly resourceClaimName?: string }[];
  };
}
export interface ClaimObject extends KubeObject {
  readonly status?: { readonly allocation?: unknown; readonly reservedFor?: readonly unknown[] };
}
export interface EventObject extends KubeObject {
  readonly eventTime?: string;
  readonly type?: string;
  readonly reason?: string;
  readonly note?: string;
  readonly regarding?: { readonly kind?: string; readonly name?: string };
  readonly series?: { readonly count?: number; readonly lastObservedTime?: string };
}
export interface SecretObject extends KubeObject {
  readonly type?: string;
  readonly immutable?: boolean;
  readonly data?: Readonly<Record<string, string>>;
  readonly stringData?: Readonly<Record<string, string>>;
}
export interface ConfigMapObject extends KubeObject {
  readonly data?: Readonly<Record<string, string>>;
  readonly binaryData?: Readonly<Record<string, string>>;
}

export const KIND = {
  node: resource<ResultityNode>(resources.ResultityNode),
  model: resource<ApprovedModel>(resources.ApprovedModel),
  network: resource<ResultityNetwork>(resources.ResultityNetwork),
  fleet: resource<ResultityFleet>(resources.ResultityFleet),
  pod: resource<PodObject>(BUILTIN.pod),
  secret: resource<SecretObject>(BUILTIN.secret),
  configMap: resource<ConfigMapObject>(BUILTIN.configMap),
  machine: resource<ClusterNode>(BUILTIN.node),
  event: resource<EventObject>({ group: 'events.k8s.io', version: 'v1', plural: 'events', kind: 'Event' }),
  claim: resource<ClaimObject>({
    group: 'resource.k8s.io',
    version: 'v1',
    plural: 'resourceclaims',
    kind: 'ResourceClaim',
  }),
} as const;
