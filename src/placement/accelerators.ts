import { quantityMiB } from './quantity.ts';

/** What the labels of a Kubernetes node say of one of its resources; a field is absent where they say nothing. */
export interface GpuLabels {
  readonly product?: string;
  /** Of one GPU, slice or share. */
  readonly memoryMiB?: number;
  /** As ResultityNode writes it, for example 3g.40gb or 1g.10gb+me. */
  readonly migProfile?: string;
  /** `8.0` and so on. */
  readonly computeCapability?: string;
  /** Version of the driver, for example 570.86.15. */
  readonly driver?: string;
  /** How many shares one GPU (or slice) is cut into; absent when it is whole. */
  readonly shares?: number;
}

type Labels = Readonly<Record<string, string>>;

/** One maker of accelerators, as data: what its resources are called and what its labels mean. */
interface Accelerator {
  readonly resource: RegExp;
  readonly read: (labels: Labels, resource: string) => GpuLabels;
  /** The label that names the product. */
  readonly product: string;
  /** The label with the memory of one GPU as a whole number, by which the scheduler can compare; undefined = there is none. */
  readonly memory?: (resource: string) => string;
}

/** Above this a memory label is in bytes, not in MiB (GPU feature discovery has written both). */
const BYTES_ABOVE = 10_000_000;
const MIG = /^nvidia\.com\/mig-(.+?)(\.shared)?$/;

const number = (label: string | undefined): number | undefined => {
  const value = Number.parseInt(label ?? '', 10);
  return value > 0 ? value : undefined;
};

const mebibytes = (label: string | undefined): number | undefined => {
  const value = number(label);
  return value !== undefined && value > BYTES_ABOVE ? Math.floor(value / 1024 ** 2) : value;
};

/** The memory that a profile's name promises: `3g.40gb` → 40 × 1024 MiB less what the slice itself costs (about 2 %). */
export const profileMiB = (profile: string): number | undefined => {
  const gigabytes = number(/^\d+g\.(\d+)gb/.exec(profile)?.[1]);
  return gigabytes === undefined ? undefined : Math.floor(gigabytes * 1024 * 0.98);
};

/** Attributes of a profile are written `+me` by people and `.me` in names of resources, which may hold no plus sign. */
export const migResource = (profile: string): string => `nvidia.com/mig-${profile.replaceAll('+', '.')}`;
const profileOf = (name: string): string => name.replace(/^(\d+g\.\d+gb)\./, '$1+');

/** The labels of GPU feature discovery (MIG strategies: `single` overwrites product, count and memory, `mixed` adds its own). */
const nvidia = (labels: Labels, resource: string): GpuLabels => {
  const slice = MIG.exec(resource)?.[1];
  const migProfile = slice === undefined ? undefined : profileOf(slice);
  const prefix = slice === undefined ? 'nvidia.com/gpu' : `nvidia.com/mig-${slice}`;
  const memory =
    mebibytes(labels[`${prefix}.memory`]) ?? (migProfile === undefined ? undefined : profileMiB(migProfile));
  const shares = number(labels[`${prefix}.replicas`]) ?? 1;
  const [product, major, driver] = [
    labels['nvidia.com/gpu.product'],
    labels['nvidia.com/gpu.compute.major'],
    labels['nvidia.com/cuda.driver-version.full'] ??
      labels['nvidia.com/cuda.driver-version.major'] ??
      labels['nvidia.com/cuda.driver.major'],
  ];
  return {
    ...(product === undefined ? {} : { product }),
    ...(memory === undefined ? {} : { memoryMiB: Math.floor(memory / shares) }),
    ...(migProfile === undefined ? {} : { migProfile }),
    ...(major === undefined ? {} : { computeCapability: `${major}.${labels['nvidia.com/gpu.compute.minor'] ?? '0'}` }),
    ...(driver === undefined ? {} : { driver }),
    ...(shares > 1 ? { shares } : {}),
  };
};

/** The labels of AMD's node labeller: product-name, vram as `192G`. */
const amd = (labels: Labels): GpuLabels => {
  const product = labels['amd.com/gpu.product-name'];
  const vram = labels['amd.com/gpu.vram']?.replace(/^(\d+)G$/, '$1Gi');
  const memoryMiB = vram === undefined ? undefined : quantityMiB(vram);
  return {
    ...(product === undefined ? {} : { product }),
    ...(memoryMiB === undefined ? {} : { memoryMiB }),
  };
};

const ACCELERATORS: readonly Accelerator[] = [
  {
    resource: /^nvidia\.com\/(gpu(\.shared)?|mig-.+)$/,
    read: nvidia,
    product: 'nvidia.com/gpu.product',
    memory: (resource) => `${resource.replace(/\.shared$/, '')}.memory`,
  },
  { resource: /^amd\.com\/gpu$/, read: amd, product: 'amd.com/gpu.product-name' },
];

/** Made-up resources in test clusters are read by NVIDIA's labels. */
const acceleratorFor = (resource: string): Accelerator | undefined =>
  ACCELERATORS.find((a) => a.resource.test(resource)) ?? ACCELERATORS[0];

/** The labels by which a pod can ask for a product and for memory; memory is missing where no label can be compared. */
export const labelKeys = (resource: string): { readonly product: string; readonly memory?: string } => {
  const a = acceleratorFor(resource);
  const known = ACCELERATORS.some((x) => x.resource.test(resource));
  const memory = a?.memory?.(known ? resource : 'nvidia.com/gpu');
  return { product: a?.product ?? 'nvidia.com/gpu.product', ...(memory === undefined ? {} : { memory }) };
};

/** Whether an extended resource is known to be GPUs. */
export const isGpuResource = (name: string): boolean => ACCELERATORS.some((a) => a.resource.test(name));

/** What the labels say of a resource. */
export const gpuLabels = (labels: Labels, resource: string): GpuLabels =>
  acceleratorFor(resource)?.read(labels, resource) ?? {};

/** Node conditions that tell of a broken GPU, whoever writes them (node problem detector, EKS, AKS, GKE). */
const ABOUT_GPU = /gpu|accelerat|nvlink|nvidia|xid/i;
/** Such a condition is good when True; all others are bad when True. */
const GOOD_WHEN_TRUE = /(healthy|ready|available|ok)$/i;

/** The first condition that says a GPU of the node has a problem; undefined when none does. */
export const gpuProblem = (
  conditions: readonly { readonly type: string; readonly status: string }[],
): string | undefined =>
  conditions.find((c) => ABOUT_GPU.test(c.type) && c.status === (GOOD_WHEN_TRUE.test(c.type) ? 'False' : 'True'))?.type;
