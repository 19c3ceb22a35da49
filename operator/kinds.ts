import {
  type ApprovedModel,
  type ResultityFleet,
  type ResultityNetwork,
  type ResultityNode,
  resources,
} from '../src/api/index.ts';
import { BUILTIN, type KubeObject, type ResourceType, resource } from '../src/kube/index.ts';
import type {
  ConfigMap,
  Deployment,
  DisruptionBudget,
  KubernetesNode,
  NetworkPolicy,
  Pod,
  RoleBinding,
  SecretObject,
  VolumeClaim,
  Workload,
} from './pod-types.ts';

/** Every kind that the operator reads or writes; what it may do with each stands in rbac.ts. */
export const KIND = {
  node: resource<ResultityNode>(resources.ResultityNode),
  model: resource<ApprovedModel>(resources.ApprovedModel),
  network: resource<ResultityNetwork>(resources.ResultityNetwork),
  fleet: resource<ResultityFleet>(resources.ResultityFleet),
  pod: resource<Pod>(BUILTIN.pod),
  kubernetesNode: resource<KubernetesNode>(BUILTIN.node),
  configMap: resource<ConfigMap>(BUILTIN.configMap),
  secret: resource<SecretObject>(BUILTIN.secret),
  networkPolicy: resource<NetworkPolicy>({
    group: 'networking.k8s.io',
    version: 'v1',
    plural: 'networkpolicies',
    kind: 'NetworkPolicy',
  }),
  claim: resource<VolumeClaim>({
    group: '',
    version: 'v1',
    plural: 'persistentvolumeclaims',
    kind: 'PersistentVolumeClaim',
  }),
  deployment: resource<Deployment>({ group: 'apps', version: 'v1', plural: 'deployments', kind: 'Deployment' }),
  budget: resource<DisruptionBudget>({
    group: 'policy',
    version: 'v1',
    plural: 'poddisruptionbudgets',
    kind: 'PodDisruptionBudget',
  }),
  serviceAccount: resource<KubeObject>({ group: '', version: 'v1', plural: 'serviceaccounts', kind: 'ServiceAccount' }),
  /** Kueue's, where it is installed: why a gated pod waits. */
  workload: resource<Workload>({ group: 'kueue.x-k8s.io', version: 'v1beta1', plural: 'workloads', kind: 'Workload' }),
  roleBinding: resource<RoleBinding>({
    group: 'rbac.authorization.k8s.io',
    version: 'v1',
    plural: 'rolebindings',
    kind: 'RoleBinding',
  }),
} as const satisfies Record<string, ResourceType>;
