import { existsSync, renameSync, rmSync } from 'node:fs';
import { chmod } from 'node:fs/promises';
import { join } from 'node:path';
import { cacheDir, downloadVerified, execOk, internetIsOpen, type Progress, withLock } from '../lib/index.ts';

/** One version for all; the cache keeps each version in a folder of its own. */
export const VERSIONS = {
  kubernetes: '1.36.3',
  etcd: '3.7.3',
  helm: '4.3.1',
  kwok: '0.8.0',
  registry: '3.0.0',
  coredns: '1.12.4',
  pause: '1',
  'helm-unittest': '1.1.2',
  'kube-score': '1.20.0',
} as const;

type Package = keyof typeof VERSIONS;

const PACKAGE_OF = {
  'kube-apiserver': 'kubernetes',
  'kube-controller-manager': 'kubernetes',
  'kube-scheduler': 'kubernetes',
  'kube-proxy': 'kubernetes',
  kubelet: 'kubernetes',
  kubectl: 'kubernetes',
  'sample-device-plugin': 'kubernetes',
  'dra-test-driver': 'kubernetes',
  etcd: 'etcd',
  helm: 'helm',
  kwok: 'kwok',
  registry: 'registry',
  coredns: 'coredns',
  pause: 'pause',
  'helm-unittest': 'helm-unittest',
  'kube-score': 'kube-score',
} as const satisfies Record<string, Package>;

export type Program = keyof typeof PACKAGE_OF;

/** Roughly, on two cores with an empty module cache. */
const BUILD_TIME: Record<Program, string> = {
  'kube-apiserver': '3.5 min',
  'kube-controller-manager': '50 s',
  'kube-scheduler': '10 s',
  'kube-proxy': '10 s',
  kubelet: '20 s',
  kubectl: '20 s, 2 min when it is the first',
  'sample-device-plugin': '15 s',
  'dra-test-driver': '20 s',
  etcd: '50 s',
  helm: '3 min',
  kwok: '75 s',
  registry: '85 s',
  coredns: '75 s',
  pause: '5 s',
  'helm-unittest': '2 min',
  'kube-score': '1 min',
};

/** Versions other than ours, for trying what we run against. */
export type Versions = Partial<Record<Package, string>>;

const versionOf = (program: Program, versions: Versions): string => {
  const pack = PACKAGE_OF[program];
  return versions[pack] ?? VERSIONS[pack];
};

export function programPath(program: Program, versions: Versions = {}): string {
  return join(cacheDir('bin', `${PACKAGE_OF[program]}-${versionOf(program, versions)}`), program);
}

interface Release {
  readonly url: string;
  /** Where the publisher lists the checksum: a bare hex digest, or `sha256sum` lines of which ours is taken by file name. */
  readonly sums: string;
  /** Path of the program inside the archive; the file itself is the program when absent. */
  readonly member?: string;
}

function releaseOf(program: Program, version: string): Release | undefined {
  // test programs of Kubernetes' own repository, never released
  if (program === 'sample-device-plugin' || program === 'dra-test-driver') return undefined;
  const pack = PACKAGE_OF[program];
  const arch = process.arch === 'arm64' ? 'arm64' : 'amd64';
  const github = (repo: string, file: string, sums: string) => ({
    url: `https://github.com/${repo}/releases/download/v${version}/${file}`,
    sums: `https://github.com/${repo}/releases/download/v${version}/${sums}`,
  });
  switch (pack) {
    case 'kubernetes': {
      const url = `https://dl.k8s.io/release/v${version}/bin/linux/${arch}/${program}`;
      return { url, sums: `${url}.sha256` };
    }
    case 'etcd': {
      const base = `etcd-v${version}-linux-${arch}`;
      return { ...github('etcd-io/etcd', `${base}.tar.gz`, 'SHA256SUMS'), member: `${base}/etcd` };
    }
    case 'helm': {
      const url = `https://get.helm.sh/helm-v${version}-linux-${arch}.tar.gz`;
      return { url, sums: `${url}.sha256sum`, member: `linux-${arch}/helm` };
    }
    case 'coredns': {
      const file = `coredns_${version}_linux_${arch}.tgz`;
      return { ...github('coredns/coredns', file, `${file}.sha256`), member: 'coredns' };
    }
    case 'registry': {
      const file = `registry_${version}_linux_${arch}.tar.gz`;
      return { ...github('distribution/distribution', file, `${file}.sha256`), member: 'registry' };
    }
    case 'helm-unittest': {
      const file = `helm-unittest-linux-${arch}-${version}.tgz`;
      return {
        ...github('helm-unittest/helm-unittest', file, 'helm-unittest-checksum.sha'),
        member: `untt-linux-${arch}`,
      };
    }
    case 'kube-score':
      return github('zegl/kube-score', `kube-score_${version}_linux_${arch}`, 'checksums.txt');
    case 'kwok': // publishes no checksum file
    case 'pause':
      return undefined;
  }
}

/** The SHA-256 of `file` in a checksum file: a bare digest, or lines of `digest  name`. Throws when there is none. */
export function checksumOf(sums: string, file: string): string {
  const bare = sums.trim();
  if (/^[0-9a-f]{64}$/i.test(bare)) return bare.toLowerCase();
  for (const line of bare.split('\n')) {
    const match = /^([0-9a-f]{64})\s+\*?(?:.*\/)?([^\s/]+)$/i.exec(line.trim());
    if (match?.[1] && match[2] === file) return match[1].toLowerCase();
  }
  throw new Error(`the checksum file does not name ${file}`);
}

async function download(release: Release, path: string, signal?: AbortSignal): Promise<void> {
  const response = await fetch(release.sums, signal ? { signal } : {});
  if (!response.ok) throw new Error(`${release.sums}: HTTP ${response.status}`);
  const sum = checksumOf(await response.text(), release.url.slice(release.url.lastIndexOf('/') + 1));
  const file = `${path}.download`;
  await downloadVerified(release.url, file, sum, signal);
  if (release.member) {
    await execOk(['tar', '-xzf', file, '-C', join(path, '..'), '--transform', `s,.*/,,;s,^,.,`, release.member]);
    rmSync(file, { force: true });
    renameSync(join(path, '..', `.${release.member.slice(release.member.lastIndexOf('/') + 1)}`), file);
  }
  await chmod(file, 0o755);
  renameSync(file, path);
}

async function ensure(program: Program, progress: Progress, versions: Versions, signal?: AbortSignal): Promise<string> {
  const path = programPath(program, versions);
  if (existsSync(path)) return path;
  const pack = PACKAGE_OF[program];
  const version = versionOf(program, versions);
  // One program is built at a time on the whole machine: each Go build uses every core anyway.
  await withLock(
    join(cacheDir('lock'), 'programs.lock'),
    async () => {
      if (existsSync(path)) return;
      const release = releaseOf(program, version);
      if (release && (await internetIsOpen())) {
        try {
          await progress.step(`downloading ${program} ${version}`, () => download(release, path, signal));
          return;
        } catch (error) {
          progress.line(`  ${(error as Error).message}; building it instead`);
        }
      }
      const log = join(cacheDir('log'), `${program}-${version}.log`);
      await progress.step(`building ${program} ${version} from Go modules (about ${BUILD_TIME[program]})`, () =>
        execOk(['bash', join(import.meta.dirname, 'from-modules.sh'), pack, version, join(path, '..'), program], {
          logFile: log,
          ...(signal && { signal }),
        }),
      );
    },
    {
      ...(signal && { signal }),
      onWait: (pid) => progress.line(`waiting for process ${pid}, which builds programs into the same cache`),
    },
  );
  if (!existsSync(path)) throw new Error(`${program} ${version} was not made at ${path}`);
  return path;
}

/**
 * Paths of the programs, in the cache or put there: released and checksummed where the internet is open, built from
 * Go modules where it is not. A caller names only what it needs; nothing else is built.
 */
export async function ensurePrograms<P extends Program>(
  programs: readonly P[],
  progress: Progress,
  signal?: AbortSignal,
  versions: Versions = {},
): Promise<Record<P, string>> {
  const paths: Partial<Record<P, string>> = {};
  for (const program of programs) paths[program] = await ensure(program, progress, versions, signal);
  return paths as Record<P, string>;
}
