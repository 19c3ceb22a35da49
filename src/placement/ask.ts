import type { Placement, Pool, ResultityNodeSpec, Storage, Toleration } from '../api/index.ts';
import { type FitVerdict, planFit } from './fit.ts';
import { offersOf, resourceOf } from './groups.ts';
import {
  type FitLimits,
  type GpuNeed,
  isHard,
  type Obstacle,
  obstaclesOf,
  obstacleText,
  wantedCount,
} from './obstacles.ts';
import type { GpuOffer } from './offers.ts';
import { quantityMiB } from './quantity.ts';

export type Accelerator = 'nvidia' | 'amd' | 'cpu';

/** Which runtime image fits: as the owner says, else by the resource's name. */
export const acceleratorOf = (
  gpu: { readonly accelerator?: Accelerator; readonly resourceName?: string } | undefined,
): Accelerator => gpu?.accelerator ?? (gpu?.resourceName?.startsWith('amd.com/') ? 'amd' : 'nvidia');

/**
 * The least NVIDIA driver of the runtime images: vLLM since 0.18 is built with CUDA 12.8, which comes with driver 570. An
 * older one may still do by the image's compatibility libraries, so that it is no hard obstacle.
 */
const LEAST_NVIDIA_DRIVER = '570';

/** The GPU taint, the owner's own, and patience with machines that cannot be reached (or the cluster evicts after 300 s). */
export const podTolerations = (placement: Placement): Toleration[] => [
  { key: 'nvidia.com/gpu', operator: 'Exists' },
  ...(placement.tolerations ?? []),
  ...(['not-ready', 'unreachable'] as const).map(
    (state): Toleration => ({
      key: `node.kubernetes.io/${state}`,
      operator: 'Exists',
      effect: 'NoExecute',
      tolerationSeconds: placement.unreachableSeconds,
    }),
  ),
];

/** The placement of a fleet's template in one of its pools: the pool adds labels and tolerations, and replaces the GPU. */
export const placementIn = (placement: Placement, pool: Pool): Placement => ({
  ...placement,
  pool: pool.name,
  ...(pool.nodeSelector === undefined ? {} : { nodeSelector: { ...placement.nodeSelector, ...pool.nodeSelector } }),
  ...(pool.tolerations === undefined ? {} : { tolerations: [...(placement.tolerations ?? []), ...pool.tolerations] }),
  ...(pool.gpu === undefined ? {} : { gpu: pool.gpu }),
});

/** A model as the snapshot or an ApprovedModel describes it. */
export interface AskedModel {
  /** `name:version`. */
  readonly ref: string;
  readonly requires: {
    readonly gpus: number;
    /** Of each GPU. */
    readonly gpuMemoryMiB: number;
    readonly computeCapability?: string | undefined;
    readonly diskMiB: number;
  };
}

/** What the runtime asks for. An accelerator of kind cpu asks for nothing, unless a count is written down. */
export const gpuWanted = (
  placement: Placement,
  modelGpus: number,
): { readonly resourceName: string; readonly count: number; readonly product?: string } | undefined => {
  const { gpu } = placement;
  if (placement.resourceClaims !== undefined) return undefined;
  if (acceleratorOf(gpu) === 'cpu' && gpu?.count === undefined) return undefined;
  return {
    resourceName: resourceOf(withResource(gpu)),
    count: gpu?.count ?? Math.max(1, modelGpus),
    ...(gpu?.product === undefined ? {} : { product: gpu.product }),
  };
};

const withResource = (gpu: Placement['gpu']): Pick<FitLimits, 'resourceName' | 'migProfile'> => ({
  resourceName: gpu?.resourceName ?? 'nvidia.com/gpu',
  ...(gpu?.migProfile === undefined ? {} : { migProfile: gpu.migProfile }),
});

export const needOf = (model: AskedModel, placement: Placement): GpuNeed => {
  const { gpus, gpuMemoryMiB, computeCapability, diskMiB } = model.requires;
  return {
    model: model.ref,
    gpus,
    gpuMemoryMiB,
    diskMiB,
    // NVIDIA's notions: an engine built for another accelerator asks for neither.
    ...(acceleratorOf(placement.gpu) === 'nvidia'
      ? { driver: LEAST_NVIDIA_DRIVER, ...(computeCapability === undefined ? {} : { computeCapability }) }
      : {}),
  };
};

export const limitsOf = (placement: Placement, storage?: Storage, own?: FitLimits['own']): FitLimits => {
  const { gpu, nodeSelector, affinity } = placement;
  const minMemoryMiB = gpu?.minMemory === undefined ? undefined : quantityMiB(gpu.minMemory);
  const terms = affinity?.nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution?.nodeSelectorTerms;
  const disk = diskOf(storage);
  return {
    ...withResource(gpu),
    ...(gpu?.count === undefined ? {} : { count: gpu.count }),
    ...(gpu?.product === undefined ? {} : { product: gpu.product }),
    ...(minMemoryMiB === undefined ? {} : { minMemoryMiB }),
    ...(nodeSelector === undefined ? {} : { nodeSelector }),
    ...(terms === undefined ? {} : { affinity: terms }),
    ...(disk === undefined ? {} : { disk }),
    ...(own === undefined ? {} : { own }),
    tolerations: podTolerations(placement),
  };
};

/** An existing claim or a shared folder is not known in size: not looked at. */
const diskOf = (storage: Storage | undefined): FitLimits['disk'] => {
  const models = storage?.models;
  if (models?.shared !== undefined) return undefined;
  const size = models?.claimTemplate?.resources.requests.storage ?? models?.ephemeral?.sizeLimit;
  const volumeMiB = size === undefined ? undefined : quantityMiB(size);
  return volumeMiB === undefined ? 'node' : { volumeMiB };
};

/**
 * Judges one model for one node's wishes: what the operator's GPUFit and the plugin's why-not both say.
 * @param offers undefined where Kubernetes nodes may not be looked at
 * @param own what the node's pod holds already
 */
export const fitOfNode = (
  spec: Pick<ResultityNodeSpec, 'placement' | 'storage'>,
  model: AskedModel,
  offers: readonly GpuOffer[] | undefined,
  own?: FitLimits['own'],
): FitVerdict => {
  const { placement, storage } = spec;
  if (placement.resourceClaims !== undefined)
    return unknown('resource claims are passed through; the scheduler decides');
  if (gpuWanted(placement, model.requires.gpus) === undefined)
    return { kind: 'now', reason: 'FitFound', message: `${model.ref} needs no GPU here`, pools: [] };
  if (offers === undefined) return unknown('this operator may not look at Kubernetes nodes; the scheduler decides');
  const need = needOf(model, placement);
  const limits = limitsOf(placement, storage, own);
  const verdict = planFit(need, limits, offers);
  if (own === undefined) return verdict;
  const kept = whereItIs(need, limits, own, offers);
  if (kept === undefined) return verdict;
  if (kept.misfit === undefined)
    return { ...verdict, kind: 'now', reason: 'FitFound', message: `${model.ref} fits where the pod is` };
  // Another place would do, but the pod would have to move for it: second to every model that needs no move.
  return verdict.kind === 'now'
    ? {
        ...verdict,
        kind: 'later',
        reason: 'NoSpareGPU',
        message: `${model.ref} fits elsewhere; where the pod is, it ${kept.misfit}`,
      }
    : verdict;
};

/** Whether the GPUs that the pod holds can do: cordons and taints no longer matter there. undefined = its machine is not known. */
const whereItIs = (
  need: GpuNeed,
  limits: FitLimits,
  own: NonNullable<FitLimits['own']>,
  offers: readonly GpuOffer[],
): { readonly misfit: string | undefined } | undefined => {
  const offer = offersOf(offers, own.resourceName).find((o) => o.node.name === own.node);
  if (offer === undefined) return undefined;
  const wanted = wantedCount(need, limits);
  const hard: Obstacle | undefined =
    own.count < wanted ? { kind: 'count', has: own.count, wanted } : obstaclesOf(offer, need, limits).find(isHard);
  return { misfit: hard && obstacleText(hard) };
};

const unknown = (message: string): FitVerdict => ({ kind: 'later', reason: 'FitUnknown', message, pools: [] });
