import type { ResultityNode } from '../api/index.ts';

/** What a person can do about a reason; {node} is the ResultityNode, {network} its network. */
const FIXES: Readonly<Record<string, string>> = {
  NetworkNotFound: 'kubectl get rnet shows those that exist; apply the network, or correct spec.networkRef.name',
  NetworkNotReady: 'kubectl describe rnet {network}',
  ModelNotApproved: 'kubectl resultity models lists what the network approves; correct spec.models',
  ModelInactive:
    'name an active model in spec.models.assigned, or leave it out; only the network’s signers can activate one',
  ModelArchived: 'name an active model in spec.models.assigned, or leave it out',
  NoSpareGPU: 'wait for a GPU, add one, or scale something else down',
  InsufficientGPUs: 'add machines with more GPUs, lower spec.placement.gpu.count, or allow a smaller model',
  InsufficientGPUMemory: 'add a GPU with more memory, or allow a smaller model',
  InsufficientDisk: 'give the machine more disk, or spec.storage.models a larger claimTemplate',
  ComputeCapabilityTooLow: 'add newer GPUs, or allow another model',
  DriverTooOld: 'update the GPU driver of the machines',
  NoMatchingProduct: 'correct spec.placement.gpu.product; kubectl get nodes -L nvidia.com/gpu.product shows them',
  NoMatchingMIGProfile: 'cut a GPU into such slices, or correct spec.placement.gpu.migProfile',
  TaintNotTolerated: 'add the toleration to spec.placement.tolerations, or take the taint off',
  NoNodeSelected:
    'correct spec.placement.nodeSelector or affinity; where an autoscaler makes such nodes, nothing is to be done',
  NoGPUNodes: 'add a GPU node, or let the autoscaler: the pod is there for it; is the GPU device plug-in running?',
  NodeCordoned: 'kubectl uncordon MACHINE when its upkeep is done',
  NodeNotReady: 'kubectl describe node MACHINE',
  GPUProblem: 'kubectl describe node MACHINE: its GPU needs a reset or repair',
  ClaimPending: 'kubectl describe resourceclaim; is the DRA driver running, and does a device match the class?',
  ImageNotAllowed:
    'add the repository where the message says: spec.images.allowedRepositories of the ResultityNetwork {network}, or the chart’s operator.allowedRepositories',
  NoRuntimeImage: 'the network must publish a runtime for this accelerator; check spec.placement.gpu.accelerator',
  ImagePullError: 'kubectl describe pod; check pull secrets, mirrors and the registry',
  PausedByUser: 'kubectl resultity resume {node}',
  PausedByNetwork: 'ask the network’s operator',
  SpecInvalid: 'correct the named field',
  OwnerInvalid: 'correct spec.owner',
  IdentitySecretMissing: 'kubectl resultity identity import {node} --from BACKUP',
  NotAdmitted: 'ask the network’s operator to admit the node, or give an enrolment token',
  PodRefused: 'see the message: a quota, a policy, or a pod of the same name is in the way',
  Unschedulable: 'see the message of the scheduler; other resources than GPUs may be short',
};

/** What to do, or '' where nothing general can be said. */
export const fixOf = (reason: string, node: ResultityNode): string =>
  (FIXES[reason] ?? '')
    .replaceAll('{node}', node.metadata.name ?? '')
    .replaceAll('{network}', node.spec.networkRef.name);

/** Reasons that the planner gives itself, or that only say that something takes its time. */
const NOT_TOLD: ReadonlySet<string> = new Set([
  ...['FitFound', 'FitUnknown', 'NoSpareGPU', 'InsufficientGPUs', 'InsufficientGPUMemory', 'InsufficientDisk'],
  ...['ComputeCapabilityTooLow', 'DriverTooOld', 'NoMatchingProduct', 'NoMatchingMIGProfile', 'TaintNotTolerated'],
  ...['NoNodeSelected', 'NoGPUNodes', 'NodeCordoned', 'NodeNotReady', 'GPUProblem', 'NoModelFits', 'ClaimPending'],
  ...['NetworkNotFound', 'ModelNotApproved', 'ModelInactive', 'ModelArchived', 'PausedByUser'],
]);

/** Blocking conditions that the operator wrote and that no planner can know: images, identity, the scheduler, the network. */
export const notOfPlacement = (node: ResultityNode): { readonly reason: string; readonly message: string }[] =>
  (node.status?.conditions ?? [])
    .filter(
      (c) => c.status === (c.type === 'Degraded' ? 'True' : 'False') && c.reason in FIXES && !NOT_TOLD.has(c.reason),
    )
    .filter((c, i, all) => all.findIndex((o) => o.reason === c.reason) === i)
    .map(({ reason, message }) => ({ reason, message }));
