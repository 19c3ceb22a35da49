// Generated from src/api by hack/codegen; run `npm run generate` instead of editing.
/** Parsers for objects read from the API server; unknown fields pass through untouched, defaults are filled in. */
import { z } from 'zod';
import type * as api from './index.ts';

const zOwnerReference: z.ZodType<api.OwnerReference> = z.looseObject({
  apiVersion: z.string(),
  kind: z.string(),
  name: z.string(),
  uid: z.string(),
  controller: z.boolean().exactOptional(),
  blockOwnerDeletion: z.boolean().exactOptional(),
});

const zObjectMeta: z.ZodType<api.ObjectMeta> = z.looseObject({
  name: z.string().exactOptional(),
  generateName: z.string().exactOptional(),
  namespace: z.string().exactOptional(),
  uid: z.string().exactOptional(),
  resourceVersion: z.string().exactOptional(),
  generation: z.number().exactOptional(),
  creationTimestamp: z.string().exactOptional(),
  deletionTimestamp: z.string().exactOptional(),
  deletionGracePeriodSeconds: z.number().exactOptional(),
  labels: z.record(z.string(), z.string()).exactOptional(),
  annotations: z.record(z.string(), z.string()).exactOptional(),
  finalizers: z.array(z.string()).exactOptional(),
  ownerReferences: z.array(zOwnerReference).exactOptional(),
});

const zNetworkReference: z.ZodType<api.NetworkReference> = z.looseObject({
  name: z.string(),
});

const zModelRequirements: z.ZodType<api.ModelRequirements> = z.looseObject({
  gpus: z.int(),
  gpuMemoryMiB: z.int(),
  computeCapability: z.string().exactOptional(),
  diskMiB: z.int(),
});

const zApprovedModelSpec: z.ZodType<api.ApprovedModelSpec> = z.looseObject({
  networkRef: zNetworkReference,
  name: z.string(),
  version: z.string(),
  digest: z.string(),
  size: z.int(),
  state: z.enum(["active","inactive","archived"]),
  tasks: z.array(z.enum(["chat.completions","completions","embeddings"])),
  requires: zModelRequirements,
});

const zCondition: z.ZodType<api.Condition> = z.looseObject({
  type: z.string(),
  status: z.enum(["True","False","Unknown"]),
  observedGeneration: z.int().exactOptional(),
  lastTransitionTime: z.string(),
  reason: z.string(),
  message: z.string(),
});

const zModelNodeCounts: z.ZodType<api.ModelNodeCounts> = z.looseObject({
  pending: z.int().exactOptional(),
  active: z.int().exactOptional(),
  inactive: z.int().exactOptional(),
  failed: z.int().exactOptional(),
  archived: z.int().exactOptional(),
});

const zApprovedModelStatus: z.ZodType<api.ApprovedModelStatus> = z.looseObject({
  conditions: z.array(zCondition).exactOptional(),
  observedGeneration: z.int().exactOptional(),
  model: z.string().exactOptional(),
  sizeSummary: z.string().exactOptional(),
  nodes: zModelNodeCounts.exactOptional(),
});

export const zApprovedModel: z.ZodType<api.ApprovedModel> = z.looseObject({
  apiVersion: z.literal("resultity.com/v1alpha1"),
  kind: z.literal("ApprovedModel"),
  metadata: zObjectMeta,
  spec: zApprovedModelSpec,
  status: zApprovedModelStatus.exactOptional(),
});

const zToleration: z.ZodType<api.Toleration> = z.looseObject({
  key: z.string().exactOptional(),
  operator: z.enum(["Exists","Equal"]).exactOptional(),
  value: z.string().exactOptional(),
  effect: z.enum(["NoSchedule","PreferNoSchedule","NoExecute"]).exactOptional(),
  tolerationSeconds: z.int().exactOptional(),
});

const zGpu: z.ZodType<api.Gpu> = z.looseObject({
  resourceName: z.string().prefault("nvidia.com/gpu"),
  accelerator: z.enum(["nvidia","amd","cpu"]).exactOptional(),
  count: z.int().exactOptional(),
  product: z.string().exactOptional(),
  minMemory: z.string().exactOptional(),
  migProfile: z.string().exactOptional(),
});

const zPool: z.ZodType<api.Pool> = z.looseObject({
  name: z.string(),
  nodeSelector: z.record(z.string(), z.string()).exactOptional(),
  tolerations: z.array(zToleration).exactOptional(),
  gpu: zGpu.exactOptional(),
  max: z.int().exactOptional(),
});

const zRollout: z.ZodType<api.Rollout> = z.looseObject({
  mode: z.enum(["InPlace","Replace"]).prefault("InPlace"),
  maxUnavailable: z.union([z.int(), z.string()]).prefault(1),
  maxSurge: z.union([z.int(), z.string()]).prefault(0),
  pauseOnFailure: z.boolean().prefault(true),
});

const zBindSecretReference: z.ZodType<api.BindSecretReference> = z.looseObject({
  name: z.string(),
  key: z.string().prefault("bind.json"),
});

const zOwner: z.ZodType<api.Owner> = z.looseObject({
  wallet: z.string().exactOptional(),
  email: z.string().exactOptional(),
  bindSecretRef: zBindSecretReference.exactOptional(),
});

const zLocalObjectReference: z.ZodType<api.LocalObjectReference> = z.looseObject({
  name: z.string(),
});

const zIdentity: z.ZodType<api.Identity> = z.looseObject({
  secretRef: zLocalObjectReference.exactOptional(),
  retain: z.boolean().prefault(true),
});

const zNodeSelectorRequirement: z.ZodType<api.NodeSelectorRequirement> = z.looseObject({
  key: z.string(),
  operator: z.enum(["In","NotIn","Exists","DoesNotExist","Gt","Lt"]),
  values: z.array(z.string()).exactOptional(),
});

const zNodeSelectorTerm: z.ZodType<api.NodeSelectorTerm> = z.looseObject({
  matchExpressions: z.array(zNodeSelectorRequirement).exactOptional(),
  matchFields: z.array(zNodeSelectorRequirement).exactOptional(),
});

const zNodeSelector: z.ZodType<api.NodeSelector> = z.looseObject({
  nodeSelectorTerms: z.array(zNodeSelectorTerm),
});

const zPreferredSchedulingTerm: z.ZodType<api.PreferredSchedulingTerm> = z.looseObject({
  weight: z.int(),
  preference: zNodeSelectorTerm,
});

const zNodeAffinity: z.ZodType<api.NodeAffinity> = z.looseObject({
  requiredDuringSchedulingIgnoredDuringExecution: zNodeSelector.exactOptional(),
  preferredDuringSchedulingIgnoredDuringExecution: z.array(zPreferredSchedulingTerm).exactOptional(),
});

const zLabelSelectorRequirement: z.ZodType<api.LabelSelectorRequirement> = z.looseObject({
  key: z.string(),
  operator: z.enum(["In","NotIn","Exists","DoesNotExist"]),
  values: z.array(z.string()).exactOptional(),
});

const zLabelSelector: z.ZodType<api.LabelSelector> = z.looseObject({
  matchLabels: z.record(z.string(), z.string()).exactOptional(),
  matchExpressions: z.array(zLabelSelectorRequirement).exactOptional(),
});

const zPodAffinityTerm: z.ZodType<api.PodAffinityTerm> = z.looseObject({
  labelSelector: zLabelSelector.exactOptional(),
  namespaces: z.array(z.string()).exactOptional(),
  namespaceSelector: zLabelSelector.exactOptional(),
  topologyKey: z.string(),
});

const zWeightedPodAffinityTerm: z.ZodType<api.WeightedPodAffinityTerm> = z.looseObject({
  weight: z.int(),
  podAffinityTerm: zPodAffinityTerm,
});

const zPodAffinity: z.ZodType<api.PodAffinity> = z.looseObject({
  requiredDuringSchedulingIgnoredDuringExecution: z.array(zPodAffinityTerm).exactOptional(),
  preferredDuringSchedulingIgnoredDuringExecution: z.array(zWeightedPodAffinityTerm).exactOptional(),
});

const zAffinity: z.ZodType<api.Affinity> = z.looseObject({
  nodeAffinity: zNodeAffinity.exactOptional(),
  podAffinity: zPodAffinity.exactOptional(),
  podAntiAffinity: zPodAffinity.exactOptional(),
});

const zPodResourceClaim: z.ZodType<api.PodResourceClaim> = z.looseObject({
  name: z.string(),
  resourceClaimName: z.string().exactOptional(),
  resourceClaimTemplateName: z.string().exactOptional(),
  request: z.string().exactOptional(),
});

const zPlacement: z.ZodType<api.Placement> = z.looseObject({
  pool: z.string().exactOptional(),
  nodeSelector: z.record(z.string(), z.string()).exactOptional(),
  tolerations: z.array(zToleration).exactOptional(),
  affinity: zAffinity.exactOptional(),
  gpu: zGpu.exactOptional(),
  resourceClaims: z.array(zPodResourceClaim).exactOptional(),
  runtimeClassName: z.string().exactOptional(),
  priorityClassName: z.string().exactOptional(),
  unreachableSeconds: z.int().prefault(86400),
  fit: z.enum(["Advise","Require"]).prefault("Advise"),
});

const zModels: z.ZodType<api.Models> = z.looseObject({
  assigned: z.string().exactOptional(),
  include: z.array(z.string()).exactOptional(),
  exclude: z.array(z.string()).exactOptional(),
});

const zEnvVar: z.ZodType<api.EnvVar> = z.looseObject({
  name: z.string(),
  value: z.string(),
});

const zResourceRequirements: z.ZodType<api.ResourceRequirements> = z.looseObject({
  requests: z.record(z.string(), z.string()).exactOptional(),
  limits: z.record(z.string(), z.string()).exactOptional(),
});

const zSeLinuxOptions: z.ZodType<api.SeLinuxOptions> = z.looseObject({
  level: z.string().exactOptional(),
  role: z.string().exactOptional(),
  type: z.string().exactOptional(),
  user: z.string().exactOptional(),
});

const zSecurityContextOverlay: z.ZodType<api.SecurityContextOverlay> = z.looseObject({
  runAsUser: z.int().exactOptional(),
  runAsGroup: z.int().exactOptional(),
  fsGroup: z.int().exactOptional(),
  fsGroupChangePolicy: z.enum(["OnRootMismatch","Always"]).exactOptional(),
  supplementalGroups: z.array(z.int()).exactOptional(),
  seLinuxOptions: zSeLinuxOptions.exactOptional(),
});

const zRuntime: z.ZodType<api.Runtime> = z.looseObject({
  extraArgs: z.record(z.string(), z.string()).exactOptional(),
  env: z.array(zEnvVar).exactOptional(),
  resources: zResourceRequirements.exactOptional(),
  readOnlyRootFilesystem: z.boolean().prefault(false),
  securityContext: zSecurityContextOverlay.exactOptional(),
});

const zEphemeralVolume: z.ZodType<api.EphemeralVolume> = z.looseObject({
  sizeLimit: z.string().exactOptional(),
});

const zVolumeRequests: z.ZodType<api.VolumeRequests> = z.looseObject({
  storage: z.string(),
});

const zVolumeResources: z.ZodType<api.VolumeResources> = z.looseObject({
  requests: zVolumeRequests,
});

const zVolumeClaimTemplate: z.ZodType<api.VolumeClaimTemplate> = z.looseObject({
  storageClassName: z.string().exactOptional(),
  accessModes: z.array(z.enum(["ReadWriteOnce","ReadWriteMany","ReadWriteOncePod"])).prefault(["ReadWriteOnce"]),
  resources: zVolumeResources,
  volumeAttributesClassName: z.string().exactOptional(),
});

const zStateStorage: z.ZodType<api.StateStorage> = z.looseObject({
  ephemeral: zEphemeralVolume.exactOptional(),
  claimTemplate: zVolumeClaimTemplate.exactOptional(),
  existingClaim: z.string().exactOptional(),
});

const zSharedVolume: z.ZodType<api.SharedVolume> = z.looseObject({
  existingClaim: z.string().exactOptional(),
  hostPath: z.string().exactOptional(),
});

const zModelStorage: z.ZodType<api.ModelStorage> = z.looseObject({
  ephemeral: zEphemeralVolume.exactOptional(),
  claimTemplate: zVolumeClaimTemplate.exactOptional(),
  shared: zSharedVolume.exactOptional(),
});

const zStorage: z.ZodType<api.Storage> = z.looseObject({
  state: zStateStorage.exactOptional(),
  models: zModelStorage.exactOptional(),
});

const zSubclouds: z.ZodType<api.Subclouds> = z.looseObject({
  join: z.array(z.string()).exactOptional(),
  leave: z.array(z.string()).exactOptional(),
});

const zDrain: z.ZodType<api.Drain> = z.looseObject({
  timeoutSeconds: z.int().prefault(300),
  handoverSeconds: z.int().prefault(30),
});

const zTopologySpreadConstraint: z.ZodType<api.TopologySpreadConstraint> = z.looseObject({
  maxSkew: z.int(),
  topologyKey: z.string(),
  whenUnsatisfiable: z.enum(["DoNotSchedule","ScheduleAnyway"]),
  labelSelector: zLabelSelector.exactOptional(),
  minDomains: z.int().exactOptional(),
  nodeAffinityPolicy: z.enum(["Honor","Ignore"]).exactOptional(),
  nodeTaintsPolicy: z.enum(["Honor","Ignore"]).exactOptional(),
  matchLabelKeys: z.array(z.string()).exactOptional(),
});

const zPodTemplate: z.ZodType<api.PodTemplate> = z.looseObject({
  labels: z.record(z.string(), z.string()).exactOptional(),
  annotations: z.record(z.string(), z.string()).exactOptional(),
  imagePullSecrets: z.array(zLocalObjectReference).exactOptional(),
  topologySpreadConstraints: z.array(zTopologySpreadConstraint).exactOptional(),
});

const zResultityNodeSpec: z.ZodType<api.ResultityNodeSpec> = z.looseObject({
  networkRef: zNetworkReference,
  owner: zOwner,
  identity: zIdentity.prefault({}),
  placement: zPlacement.prefault({}),
  models: zModels.exactOptional(),
  runtime: zRuntime.exactOptional(),
  storage: zStorage.exactOptional(),
  subclouds: zSubclouds.exactOptional(),
  isolation: z.enum(["Auto","Sandbox","InitGuard","PodPolicy","None"]).prefault("Auto"),
  drain: zDrain.prefault({}),
  paused: z.boolean().prefault(false),
  podTemplate: zPodTemplate.exactOptional(),
});

const zResultityFleetSpec: z.ZodType<api.ResultityFleetSpec> = z.looseObject({
  replicas: z.int().prefault(1),
  pools: z.array(zPool).exactOptional(),
  rollout: zRollout.prefault({}),
  template: zResultityNodeSpec,
});

const zPoolStatus: z.ZodType<api.PoolStatus> = z.looseObject({
  name: z.string(),
  replicas: z.int(),
});

const zFleetIdentity: z.ZodType<api.FleetIdentity> = z.looseObject({
  name: z.string(),
  secretName: z.string(),
});

const zResultityFleetStatus: z.ZodType<api.ResultityFleetStatus> = z.looseObject({
  conditions: z.array(zCondition).exactOptional(),
  observedGeneration: z.int().exactOptional(),
  replicas: z.int().exactOptional(),
  readyReplicas: z.int().exactOptional(),
  updatedReplicas: z.int().exactOptional(),
  selector: z.string().exactOptional(),
  pools: z.array(zPoolStatus).exactOptional(),
  identities: z.array(zFleetIdentity).exactOptional(),
});

export const zResultityFleet: z.ZodType<api.ResultityFleet> = z.looseObject({
  apiVersion: z.literal("resultity.com/v1alpha1"),
  kind: z.literal("ResultityFleet"),
  metadata: zObjectMeta,
  spec: zResultityFleetSpec,
  status: zResultityFleetStatus.exactOptional(),
});

const zRootConfigMap: z.ZodType<api.RootConfigMap> = z.looseObject({
  name: z.string(),
  key: z.string().prefault("root.json"),
});

const zTrust: z.ZodType<api.Trust> = z.looseObject({
  rootConfigMap: zRootConfigMap.exactOptional(),
  root: z.string().exactOptional(),
});

const zEnrolmentSecretReference: z.ZodType<api.EnrolmentSecretReference> = z.looseObject({
  name: z.string(),
  key: z.string().prefault("token"),
});

const zRegistration: z.ZodType<api.Registration> = z.looseObject({
  enrolmentSecretRef: zEnrolmentSecretReference.exactOptional(),
});

const zImageMirror: z.ZodType<api.ImageMirror> = z.looseObject({
  from: z.string(),
  to: z.string(),
});

const zImages: z.ZodType<api.Images> = z.looseObject({
  allowedRepositories: z.array(z.string()).exactOptional(),
  mirrors: z.array(zImageMirror).exactOptional(),
  pullSecrets: z.array(zLocalObjectReference).exactOptional(),
});

const zSourceMirror: z.ZodType<api.SourceMirror> = z.looseObject({
  from: z.string(),
  to: z.string(),
});

const zSources: z.ZodType<api.Sources> = z.looseObject({
  mirrors: z.array(zSourceMirror).exactOptional(),
  credentialsSecretRef: zLocalObjectReference.exactOptional(),
  maxMiBPerSecond: z.int().exactOptional(),
});

const zCaConfigMap: z.ZodType<api.CaConfigMap> = z.looseObject({
  name: z.string(),
  key: z.string().prefault("ca.crt"),
});

const zCaBundle: z.ZodType<api.CaBundle> = z.looseObject({
  configMap: zCaConfigMap.exactOptional(),
  inline: z.string().exactOptional(),
});

const zTls: z.ZodType<api.Tls> = z.looseObject({
  caBundle: zCaBundle.exactOptional(),
  proxy: z.string().exactOptional(),
  allowInsecureHosts: z.array(z.string()).exactOptional(),
});

const zResultityNetworkSpec: z.ZodType<api.ResultityNetworkSpec> = z.looseObject({
  endpoint: z.string(),
  environment: z.enum(["testnet","mainnet"]).exactOptional(),
  trust: zTrust,
  registration: zRegistration.exactOptional(),
  images: zImages.exactOptional(),
  sources: zSources.exactOptional(),
  tls: zTls.exactOptional(),
  updates: z.enum(["Automatic","Manual"]).prefault("Automatic"),
  rollout: zRollout.prefault({}),
});

const zRootStatus: z.ZodType<api.RootStatus> = z.looseObject({
  version: z.int(),
  epoch: z.int().exactOptional(),
  expiresAt: z.string().exactOptional(),
});

const zHeldStatus: z.ZodType<api.HeldStatus> = z.looseObject({
  reason: z.string(),
  digest: z.string().exactOptional(),
  since: z.string().exactOptional(),
  nodes: z.int().exactOptional(),
});

const zResultityNetworkStatus: z.ZodType<api.ResultityNetworkStatus> = z.looseObject({
  conditions: z.array(zCondition).exactOptional(),
  observedGeneration: z.int().exactOptional(),
  network: z.string().exactOptional(),
  environment: z.enum(["testnet","mainnet"]).exactOptional(),
  chainId: z.int().exactOptional(),
  root: zRootStatus.exactOptional(),
  epoch: z.int().exactOptional(),
  version: z.int().exactOptional(),
  digest: z.string().exactOptional(),
  shortDigest: z.string().exactOptional(),
  expiresAt: z.string().exactOptional(),
  ticketAge: z.enum(["Fresh","Stale","Expired"]).exactOptional(),
  held: zHeldStatus.exactOptional(),
  configMapName: z.string().exactOptional(),
});

export const zResultityNetwork: z.ZodType<api.ResultityNetwork> = z.looseObject({
  apiVersion: z.literal("resultity.com/v1alpha1"),
  kind: z.literal("ResultityNetwork"),
  metadata: zObjectMeta,
  spec: zResultityNetworkSpec,
  status: zResultityNetworkStatus.exactOptional(),
});

const zGpuStatus: z.ZodType<api.GpuStatus> = z.looseObject({
  summary: z.string().exactOptional(),
  resourceName: z.string().exactOptional(),
  count: z.int().exactOptional(),
  product: z.string().exactOptional(),
  memoryMiB: z.int().exactOptional(),
  migProfile: z.string().exactOptional(),
});

const zNodeConfigStatus: z.ZodType<api.NodeConfigStatus> = z.looseObject({
  desiredDigest: z.string().exactOptional(),
  heldAt: z.string().exactOptional(),
  shortDigest: z.string().exactOptional(),
});

const zConfigVersion: z.ZodType<api.ConfigVersion> = z.looseObject({
  epoch: z.int(),
  version: z.int(),
});

const zAgentConfigBlocked: z.ZodType<api.AgentConfigBlocked> = z.looseObject({
  step: z.enum(["validate","prefetch","drain","switch","test","record"]),
  reason: z.string(),
});

const zAgentConfigStatus: z.ZodType<api.AgentConfigStatus> = z.looseObject({
  applied: z.string().exactOptional(),
  pending: z.string().exactOptional(),
  restrictedBy: z.string().exactOptional(),
  ticketAge: z.enum(["Stale","Expired"]).exactOptional(),
  blocked: zAgentConfigBlocked.exactOptional(),
});

const zAgentModelStatus: z.ZodType<api.AgentModelStatus> = z.looseObject({
  model: z.string(),
  digest: z.string().exactOptional(),
  state: z.enum(["pending","active","inactive","failed","archived"]),
  progress: z.int().exactOptional(),
  reason: z.string().exactOptional(),
});

const zAgentRuntimeStatus: z.ZodType<api.AgentRuntimeStatus> = z.looseObject({
  image: z.string().exactOptional(),
  version: z.string().exactOptional(),
  phase: z.enum(["waiting","downloading","loading","compiling","capturing","ready","draining","crashed","wedged","stopped"]).exactOptional(),
});

const zAgentIsolationStatus: z.ZodType<api.AgentIsolationStatus> = z.looseObject({
  tier: z.enum(["none","podpolicy","sandbox","sandbox+policy"]).exactOptional(),
  provedAt: z.string().exactOptional(),
});

const zAgentNetworkStatus: z.ZodType<api.AgentNetworkStatus> = z.looseObject({
  state: z.enum(["unregistered","pending","registered","active","out_of_rotation","paused","draining","revoked"]).exactOptional(),
  reason: z.string().exactOptional(),
});

const zAgentError: z.ZodType<api.AgentError> = z.looseObject({
  code: z.string(),
  message: z.string(),
  at: z.string().exactOptional(),
});

const zAgentStatus: z.ZodType<api.AgentStatus> = z.looseObject({
  nodeId: z.string().exactOptional(),
  version: z.string().exactOptional(),
  image: z.string().exactOptional(),
  phase: z.enum(["Starting","Registering","Syncing","Installing","Loading","Proving","Testing","Active","Paused","Draining","Drained","Handover","Failed"]).exactOptional(),
  readyBy: z.string().exactOptional(),
  floor: zConfigVersion.exactOptional(),
  config: zAgentConfigStatus.exactOptional(),
  models: z.array(zAgentModelStatus).exactOptional(),
  runtime: zAgentRuntimeStatus.exactOptional(),
  isolation: zAgentIsolationStatus.exactOptional(),
  network: zAgentNetworkStatus.exactOptional(),
  lastError: zAgentError.exactOptional(),
});

const zResultityNodeStatus: z.ZodType<api.ResultityNodeStatus> = z.looseObject({
  nodeId: z.string().exactOptional(),
  phase: z.enum(["Pending","Unplaced","Preparing","Registering","Active","Updating","Draining","Paused","Degraded","Terminating"]).exactOptional(),
  conditions: z.array(zCondition).exactOptional(),
  observedGeneration: z.int().exactOptional(),
  podName: z.string().exactOptional(),
  podUID: z.string().exactOptional(),
  incarnation: z.int().exactOptional(),
  kubernetesNode: z.string().exactOptional(),
  gpu: zGpuStatus.exactOptional(),
  assignedModel: z.string().exactOptional(),
  modelSummary: z.string().exactOptional(),
  config: zNodeConfigStatus.exactOptional(),
  agent: zAgentStatus.exactOptional(),
});

export const zResultityNode: z.ZodType<api.ResultityNode> = z.looseObject({
  apiVersion: z.literal("resultity.com/v1alpha1"),
  kind: z.literal("ResultityNode"),
  metadata: zObjectMeta,
  spec: zResultityNodeSpec,
  status: zResultityNodeStatus.exactOptional(),
});

/** @throws z.ZodError naming the field that is not as the CRD says. */
export function parseApprovedModel(value: unknown): api.ApprovedModel {
  return zApprovedModel.parse(value);
}

/** @throws z.ZodError naming the field that is not as the CRD says. */
export function parseResultityFleet(value: unknown): api.ResultityFleet {
  return zResultityFleet.parse(value);
}

/** @throws z.ZodError naming the field that is not as the CRD says. */
export function parseResultityNetwork(value: unknown): api.ResultityNetwork {
  return zResultityNetwork.parse(value);
}

/** @throws z.ZodError naming the field that is not as the CRD says. */
export function parseResultityNode(value: unknown): api.ResultityNode {
  return zResultityNode.parse(value);
}
