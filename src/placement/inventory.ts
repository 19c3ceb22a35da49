/** A Kubernetes node as the planner sees it. */
export interface NodeFacts {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly allocatable: Readonly<Record<string, string>>;
  readonly cordoned: boolean;
  readonly taints: readonly { readonly key: string; readonly value?: string; readonly effect: string }[];
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
export interface GpuOffer {
  readonly node: NodeFacts;
  readonly resourceName: string;
  readonly total: number;
  readonly free: number;
  readonly product?: string;
  readonly memoryMiB?: number;
  readonly migProfile?: string;
  /** `8.0` and so on. */
  readonly computeCapability?: string;
}

/** Above this a memory label is in bytes, not in MiB (GPU feature discovery has written both). */
const BYTES_ABOVE = 10_000_000;
const MIG = /^nvidia\.com\/mig-(.+)$/;
const GPU_RESOURCE = /^(nvidia\.com\/(gpu|mig-.+)|amd\.com\/gpu)$/;

/**
 * All GPU offers, free = allocatable minus the requests of live pods.
 * @param resourceNames more extended resources that count as GPUs (a made-up one in a test cluster, say)
 */
export const gpuOffers = (
  nodes: Iterable<NodeFacts>,
  pods: Iterable<PodUse>,
  resourceNames: readonly string[] = [],
): GpuOffer[] => {
  const used = new Map<string, number>();
  for (const pod of pods) {
    if (pod.finished || pod.nodeName === undefined) continue;
    for (const [name, count] of Object.entries(pod.requests)) {
      const key = `${pod.nodeName} ${name}`;
      used.set(key, (used.get(key) ?? 0) + count);
    }
  }
  const offers: GpuOffer[] = [];
  for (const node of nodes) {
    for (const [resourceName, amount] of Object.entries(node.allocatable)) {
      if (!GPU_RESOURCE.test(resourceName) && !resourceNames.includes(resourceName)) continue;
      const total = Number.parseInt(amount, 10);
      if (!(total > 0)) continue;
      const free = Math.max(0, total - (used.get(`${node.name} ${resourceName}`) ?? 0));
      offers.push({ node, resourceName, total, free, ...labelled(node.labels, resourceName) });
    }
  }
  return offers.sort((a, b) => (a.node.name < b.node.name ? -1 : a.node.name > b.node.name ? 1 : 0));
};

/** What the labels of GPU feature discovery say of a resource; nothing where they are missing. */
const labelled = (
  labels: Readonly<Record<string, string>>,
  resourceName: string,
): Pick<GpuOffer, 'product' | 'memoryMiB' | 'migProfile' | 'computeCapability'> => {
  const migProfile = MIG.exec(resourceName)?.[1];
  const prefix = migProfile === undefined ? 'nvidia.com/gpu' : `nvidia.com/mig-${migProfile}`;
  const product = labels['nvidia.com/gpu.product'] ?? labels['amd.com/gpu.product-name'];
  const whole =
    mebibytes(labels[`${prefix}.memory`]) ?? (migProfile === undefined ? undefined : profileMiB(migProfile));
  // Time slicing: replicas of one GPU share its memory.
  const replicas = Math.max(1, Number.parseInt(labels['nvidia.com/gpu.replicas'] ?? '1', 10) || 1);
  const memoryMiB = whole === undefined ? undefined : Math.floor(migProfile === undefined ? whole / replicas : whole);
  const major = labels['nvidia.com/gpu.compute.major'];
  const minor = labels['nvidia.com/gpu.compute.minor'];
  return {
    ...(product === undefined ? {} : { product }),
    ...(memoryMiB === undefined ? {} : { memoryMiB }),
    ...(migProfile === undefined ? {} : { migProfile }),
    ...(major === undefined ? {} : { computeCapability: `${major}.${minor ?? '0'}` }),
  };
};

const mebibytes = (label: string | undefined): number | undefined => {
  const value = Number.parseInt(label ?? '', 10);
  if (!(value > 0)) return undefined;
  return value > BYTES_ABOVE ? Math.floor(value / 1024 ** 2) : value;
};

/** The memory that a profile's name promises: `3g.40gb` → 40 × 1024 MiB less what the slice itself costs (about 2 %). */
export const profileMiB = (profile: string): number | undefined => {
  const gigabytes = Number.parseInt(/^\d+g\.(\d+)gb/.exec(profile)?.[1] ?? '', 10);
  return gigabytes > 0 ? Math.floor(gigabytes * 1024 * 0.98) : undefined;
};

const UNITS: Readonly<Record<string, number>> = {
  '': 1,
  k: 1e3,
  M: 1e6,
  G: 1e9,
  T: 1e12,
  Ki: 1024,
  Mi: 1024 ** 2,
  Gi: 1024 ** 3,
  Ti: 1024 ** 4,
};

/** A Kubernetes quantity of bytes as MiB, rounded down; undefined when it is none. */
export const quantityMiB = (quantity: string): number | undefined => {
  const match = /^(\d+(?:\.\d+)?)(k|M|G|T|Ki|Mi|Gi|Ti)?$/.exec(quantity);
  if (!match) return undefined;
  return Math.floor((Number(match[1]) * (UNITS[match[2] ?? ''] ?? 1)) / 1024 ** 2);
};
