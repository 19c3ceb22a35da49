/**
 * The project's container images, made without a container engine: Debian packages unpacked into a folder, packed as
 * OCI layers, pushed to a registry. `Dockerfile` makes the same `resultity` image with docker or buildah.
 *
 * Reading order: `oci` (layers, manifests), `rootfs` (what is in a base), `layers` (cached by what they depend on),
 * this file (the images), `vllm` and `model` (the real runtime and its small model), `registry` (pushing).
 *
 * Invariants: the same inputs give the same digest; an image that is in the cache and the registry costs no time; nothing
 * runs as root in an image; no package's maintainer script runs.
 */
import { cpSync, existsSync, mkdirSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { basename, join } from 'node:path';
import { buildAll, bundle, EXTERNAL } from '../build.ts';
import { cacheDir, execOk, formatElapsed, type Progress, quietProgress, repoRoot } from '../lib/index.ts';
import { hashFiles, hashOf, layerOf } from './layers.ts';
import { type Image, type Layer, makeImage } from './oci.ts';
import { hasImage, pushImage, type RegistryTarget } from './registry.ts';
import { BASE_PACKAGES, copyNode, debNames, fetchDebs, unpackDebs, writeUsers } from './rootfs.ts';
import { ensureVllmSite, VLLM_VERSION } from './vllm.ts';

export { ensureModel } from './model.ts';
export type { Image } from './oci.ts';
export type { RegistryTarget } from './registry.ts';
export { ensureStandinModel } from './standin-model.ts';

export interface ImageOptions {
  /** Where to push; `cluster.registry` of hack/cluster fits. */
  readonly registry: RegistryTarget;
  readonly progress?: Progress;
  /** The same files under another digest, with a label and an environment of its own: something to roll out. */
  readonly variant?: { readonly name: string; readonly env?: Readonly<Record<string, string>> };
}

/** An image in the registry. `ref` is what a pod names: `host/name@sha256:…`. */
export interface PushedImage {
  readonly name: string;
  readonly ref: string;
  readonly digest: string;
}

const RESULTITY_UID = 10001;
const RUNTIME_UID = 2000;

/** Bumped when the code here changes what it puts into a layer. */
const LAYERS_VERSION = 1;

async function baseLayer(progress: Progress): Promise<Layer> {
  const debs = await fetchDebs([...BASE_PACKAGES, 'nftables'], progress); // nft: isolation InitGuard
  return layerOf('base', hashOf(LAYERS_VERSION, debNames(debs), process.version), async (root) => {
    await unpackDebs(debs, root);
    copyNode(root);
    writeUsers(root, { name: 'resultity', id: RESULTITY_UID, home: '/' });
  });
}

/** Debian's python3 for the launcher: ctypes is in it, a compiler is not. */
async function pythonLayer(progress: Progress): Promise<Layer> {
  const debs = await fetchDebs([...BASE_PACKAGES, 'python3', 'libnuma1', 'libgomp1'], progress);
  return layerOf('python', hashOf(LAYERS_VERSION, debNames(debs)), async (root) => {
    await unpackDebs(debs, root);
    writeUsers(root, { name: 'vllm', id: RUNTIME_UID, home: '/tmp' });
  });
}

/** vLLM's CPU back end asks `lscpu` through a shell which cores there are; of the two packages it gets just these. */
async function shellLayer(progress: Progress): Promise<Layer> {
  const wanted = ['dash', 'util-linux', 'libsmartcols1'];
  const debs = (await fetchDebs(wanted, progress)).filter((deb) => wanted.includes(basename(deb).split('_')[0] ?? ''));
  return layerOf('shell', hashOf(LAYERS_VERSION, debNames(debs)), async (root) => {
    const all = `${root}.all`;
    try {
      await unpackDebs(debs, all);
      for (const [from, to] of [
        ['bin/dash', 'bin/sh'],
        ['usr/bin/dash', 'bin/sh'],
        ['usr/bin/lscpu', 'usr/bin/lscpu'],
      ] as const) {
        if (existsSync(join(all, from))) cpSync(join(all, from), join(root, to), { dereference: true });
      }
      const libraries = join('usr/lib', process.arch === 'arm64' ? 'aarch64-linux-gnu' : 'x86_64-linux-gnu');
      for (const file of readdirSync(join(all, libraries)).filter((name) => name.startsWith('libsmartcols'))) {
        cpSync(join(all, libraries, file), join(root, libraries, file), { verbatimSymlinks: true });
      }
    } finally {
      rmSync(all, { recursive: true, force: true });
    }
  });
}

/** Copies a package and what it needs into an image's node_modules. */
function copyPackages(names: readonly string[], target: string): void {
  const done = new Set<string>();
  const queue = [...names];
  for (let name = queue.pop(); name !== undefined; name = queue.pop()) {
    if (done.has(name)) continue;
    done.add(name);
    const source = join(repoRoot, 'node_modules', name);
    if (!existsSync(source)) throw new Error(`node_modules has no ${name}, which the image needs; run npm ci`);
    cpSync(source, join(target, name), { recursive: true, dereference: true });
    const manifest = createRequire(import.meta.url)(join(source, 'package.json')) as {
      dependencies?: Record<string, string>;
    };
    queue.push(...Object.keys(manifest.dependencies ?? {}));
  }
}

const RESULTITY_CONFIG = {
  user: `${RESULTITY_UID}:${RESULTITY_UID}`,
  workdir: '/app',
  entrypoint: ['/usr/local/bin/node'],
  env: { NODE_ENV: 'production' },
  labels: { 'org.opencontainers.image.title': 'resultity' },
};

/** The image of operator, agent, network service and command line; `/app/<program>.mjs`, no default program. */
export async function makeResultityImage(progress: Progress = quietProgress): Promise<Image> {
  const base = await baseLayer(progress);
  const dist = join(cacheDir('images', 'work'), `dist-${process.pid}`);
  await buildAll(dist);
  const key = hashOf(LAYERS_VERSION, hashDist(dist), EXTERNAL.map(versionOf));
  try {
    const app = await layerOf('app', key, async (root) => {
      const target = join(root, 'app');
      cpSync(dist, target, { recursive: true });
      writeFileSync(join(target, 'package.json'), '{"type":"module"}\n');
      copyPackages(EXTERNAL, join(target, 'node_modules'));
    });
    return makeImage([base, app], RESULTITY_CONFIG);
  } finally {
    await execOk(['rm', '-rf', dist]);
  }
}

const hashDist = (dist: string): string =>
  hashOf(
    ...readdirSync(dist)
      .sort()
      .map((file) => [file, hashFiles([join(dist, file)])]),
  );

const versionOf = (name: string): string =>
  (createRequire(import.meta.url)(join(repoRoot, 'node_modules', name, 'package.json')) as { version: string }).version;

/** A runtime image whose `vllm` is the stand-in of the tests. It says so in its name, its label and its answers. */
export async function makeSimImage(progress: Progress = quietProgress): Promise<Image> {
  const python = await pythonLayer(progress);
  const node = await layerOf('node', hashOf(LAYERS_VERSION, process.version), async (root) => {
    copyNode(root);
    const debs = await fetchDebs(['libatomic1'], progress);
    await unpackDebs(
      debs.filter((deb) => deb.includes('libatomic1_')),
      root,
    );
  });
  const file = join(cacheDir('images', 'work'), `vllm-sim-${process.pid}.mjs`);
  await bundle('test/standin/vllm-sim.ts', file);
  try {
    const sim = await layerOf('sim', hashOf(LAYERS_VERSION, hashFiles([file]).slice(0, 24)), async (root) => {
      mkdirSync(join(root, 'usr/local/bin'), { recursive: true });
      mkdirSync(join(root, 'usr/local/lib/vllm-sim'), { recursive: true });
      cpSync(file, join(root, 'usr/local/lib/vllm-sim/vllm-sim.mjs'));
      const script = "#!/usr/local/bin/node\nimport('/usr/local/lib/vllm-sim/vllm-sim.mjs');\n";
      writeFileSync(join(root, 'usr/local/bin/vllm'), script, { mode: 0o755 });
    });
    return makeImage([python, node, sim], {
      user: `${RUNTIME_UID}:${RUNTIME_UID}`,
      entrypoint: ['vllm', 'serve'],
      labels: { 'org.opencontainers.image.title': 'resultity-runtime-sim', 'resultity.com/stand-in': 'true' },
    });
  } finally {
    await execOk(['rm', '-f', file]);
  }
}

/** The guard is for multiprocessing, which imports the main script again in each worker. */
const VLLM_COMMAND = `#!/usr/bin/python3
import sys
if __name__ == '__main__':
    from vllm.entrypoints.cli.main import main
    sys.exit(main())
`;

/** A real vLLM for CPUs. Serve with `--enforce-eager`: the image carries no compiler. */
export async function makeVllmCpuImage(progress: Progress = quietProgress): Promise<Image> {
  const python = await pythonLayer(progress);
  const site = await ensureVllmSite(progress);
  const key = hashOf(LAYERS_VERSION, VLLM_VERSION, readdirSync(site).sort());
  const pack = (note: (text: string) => void) => {
    const start = performance.now();
    return layerOf(
      'vllm',
      key,
      async (root) => {
        mkdirSync(join(root, 'opt'), { recursive: true });
        await execOk(['cp', '-al', site, join(root, 'opt/vllm')]); // links: the packages are not copied
      },
      {
        compression: 'zstd',
        onBytes: (bytes) => note(`${(bytes / 2 ** 30).toFixed(1)} GiB in ${formatElapsed(performance.now() - start)}`),
      },
    );
  };
  const vllm = await progress.step('packing vLLM as one layer', pack);
  const command = await layerOf('vllm-command', hashOf(LAYERS_VERSION, VLLM_COMMAND), async (root) => {
    mkdirSync(join(root, 'usr/lib/python3/dist-packages'), { recursive: true });
    writeFileSync(join(root, 'usr/lib/python3/dist-packages/vllm.pth'), '/opt/vllm\n');
    mkdirSync(join(root, 'usr/local/bin'), { recursive: true });
    writeFileSync(join(root, 'usr/local/bin/vllm'), VLLM_COMMAND, { mode: 0o755 });
  });
  return makeImage([python, await shellLayer(progress), vllm, command], {
    user: `${RUNTIME_UID}:${RUNTIME_UID}`,
    entrypoint: ['vllm', 'serve'],
    env: {
      HOME: '/tmp',
      HF_HUB_OFFLINE: '1',
      VLLM_NO_USAGE_STATS: '1',
      VLLM_CPU_KVCACHE_SPACE: '1',
      PYTHONDONTWRITEBYTECODE: '1',
    },
    labels: { 'org.opencontainers.image.title': 'resultity-runtime-vllm-cpu' },
  });
}

/** The resultity image with a folder of models as /models, for clusters whose nodes do not share a disk with this machine. */
export const buildModelsImage = (folder: string, options: ImageOptions): Promise<PushedImage> =>
  publish(
    'resultity-demo-models',
    async (progress) => {
      const image = await makeResultityImage(progress);
      const files = readdirSync(folder, { recursive: true, encoding: 'utf8' }).sort();
      const layer = await layerOf(
        'models',
        hashOf(LAYERS_VERSION, hashFiles(files.map((f) => join(folder, f)).filter((f) => statSync(f).isFile()))),
        async (root) => cpSync(folder, join(root, 'models'), { recursive: true }),
      );
      return makeImage([...image.layers, layer], RESULTITY_CONFIG);
    },
    options,
  );

const varied = (image: Image, variant: ImageOptions['variant']): Image =>
  variant === undefined
    ? image
    : makeImage(image.layers, {
        ...image.settings,
        env: { ...image.settings.env, ...variant.env },
        labels: { ...image.settings.labels, 'resultity.com/variant': variant.name },
      });

async function publish(
  name: string,
  make: (progress: Progress) => Promise<Image>,
  options: ImageOptions,
): Promise<PushedImage> {
  const progress = options.progress ?? quietProgress;
  const image = varied(await make(progress), options.variant);
  if (!(await hasImage(options.registry, name, image.digest))) {
    await progress.step(`pushing ${name}`, () => pushImage(options.registry, name, image));
  }
  return { name, digest: image.digest, ref: `${options.registry.pull}/${name}@${image.digest}` };
}

/** Builds what is not in the cache and pushes what is not in the registry. */
export const buildResultityImage = (options: ImageOptions): Promise<PushedImage> =>
  publish('resultity', makeResultityImage, options);
export const buildSimImage = (options: ImageOptions): Promise<PushedImage> =>
  publish('resultity-runtime-sim', makeSimImage, options);
export const buildVllmCpuImage = (options: ImageOptions): Promise<PushedImage> =>
  publish('resultity-runtime-vllm-cpu', makeVllmCpuImage, options);
