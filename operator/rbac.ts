/** One rule of a Role or ClusterRole. */
export interface Rule {
  readonly apiGroups: readonly string[];
  readonly resources: readonly string[];
  readonly verbs: readonly string[];
  readonly resourceNames?: readonly string[];
  /** Why the operator needs it. */
  readonly why: string;
}

const RESULTITY = ['resultity.com'];

/** What the operator does in each namespace that it watches. The chart's Role or ClusterRole is made from this. */
export const NAMESPACED_RULES: readonly Rule[] = [
  {
    apiGroups: RESULTITY,
    resources: ['resultitynodes', 'approvedmodels', 'resultitynetworks', 'resultityfleets'],
    verbs: ['list', 'watch'],
    why: 'caches',
  },
  {
    apiGroups: RESULTITY,
    resources: ['approvedmodels', 'resultitynodes'],
    verbs: ['get', 'create', 'patch', 'delete'],
    why: 'mirrors of the snapshot; nodes of fleets; finalizers, read again where somebody else wrote meanwhile',
  },
  {
    apiGroups: RESULTITY,
    resources: ['resultitynodes/status', 'approvedmodels/status', 'resultitynetworks/status', 'resultityfleets/status'],
    verbs: ['patch'],
    why: 'conditions',
  },
  {
    apiGroups: RESULTITY,
    resources: ['resultitynodes/finalizers', 'resultitynetworks/finalizers', 'resultityfleets/finalizers'],
    verbs: ['update'],
    why: 'blockOwnerDeletion of children, where the cluster asks for it',
  },
  {
    apiGroups: [''],
    resources: ['pods'],
    verbs: ['list', 'watch', 'create', 'patch', 'delete'],
    why: 'a node’s one pod',
  },
  { apiGroups: [''], resources: ['secrets'], verbs: ['create'], why: 'a node’s key: created, never read' },
  {
    apiGroups: [''],
    resources: ['configmaps'],
    verbs: ['get', 'create', 'patch'],
    why: 'pinned roots and CA bundles; the verified configuration',
  },
  {
    apiGroups: ['policy'],
    resources: ['poddisruptionbudgets'],
    verbs: ['get', 'create', 'patch'],
    why: 'how many pods of a fleet an eviction must leave',
  },
  { apiGroups: [''], resources: ['serviceaccounts'], verbs: ['create', 'patch'], why: 'the agents’ account' },
  { apiGroups: [''], resources: ['persistentvolumeclaims'], verbs: ['create'], why: 'claim templates' },
  {
    apiGroups: ['rbac.authorization.k8s.io'],
    resources: ['rolebindings'],
    verbs: ['create', 'patch'],
    why: 'the agents’ right to their own status',
  },
  {
    apiGroups: ['networking.k8s.io'],
    resources: ['networkpolicies'],
    verbs: ['create', 'patch'],
    why: 'isolation PodPolicy',
  },
  {
    apiGroups: ['kueue.x-k8s.io'],
    resources: ['workloads'],
    verbs: ['list', 'watch'],
    why: 'where Kueue is installed: what a gated pod waits for',
  },
  { apiGroups: ['events.k8s.io'], resources: ['events'], verbs: ['create', 'patch'], why: 'events' },
];

/** Cluster-wide in any case. `AGENT_CLUSTER_ROLE` stands for the flag agent-cluster-role. */
export const CLUSTER_RULES: readonly Rule[] = [
  { apiGroups: [''], resources: ['nodes'], verbs: ['get', 'list', 'watch'], why: 'GPU inventory (flag watch-nodes)' },
  {
    apiGroups: ['apiextensions.k8s.io'],
    resources: ['customresourcedefinitions'],
    verbs: ['get'],
    why: 'refuses to start against an older CRD',
  },
  {
    apiGroups: ['rbac.authorization.k8s.io'],
    resources: ['clusterroles'],
    verbs: ['bind'],
    resourceNames: ['AGENT_CLUSTER_ROLE'],
    why: 'may hand out that one role and no other',
  },
];

/** In the operator's own namespace. */
export const LEASE_RULES: readonly Rule[] = [
  {
    apiGroups: ['coordination.k8s.io'],
    resources: ['leases'],
    verbs: ['get', 'create', 'update'],
    why: 'leader election',
  },
];

/** The ClusterRole of the agents: what each may do is narrowed to its own object by the admission policy. */
export const AGENT_RULES: readonly Rule[] = [
  { apiGroups: RESULTITY, resources: ['resultitynodes/status'], verbs: ['patch'], why: 'status.agent' },
];
