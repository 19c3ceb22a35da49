import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { cacheDir, exec, execOk, type Progress, repoRoot, withLock, writeFileWhole } from '../lib/index.ts';
import { hashOf } from './layers.ts';

/** Debian packages every image starts from: the C and C++ libraries of the node binary, and certificates. */
export const BASE_PACKAGES = [
  'base-files',
  'ca-certificates',
  'libc6',
  'libgcc-s1',
  'libstdc++6',
  'libatomic1',
  'netbase',
  'tzdata',
];

/** Packages that only maintainer scripts or an interactive system need; leaving them out halves the images. */
const UNNEEDED =
  /^(dpkg|debconf.*|perl.*|libperl.*|tar|openssl|media-types|mailcap|mime-support|install-info|readline-common|libselinux1|libpcre2.*|libacl1|gcc-\d+-base|libgdbm.*|libtirpc.*|libnsl2|libgssapi.*|libk.*|libcom-err2|awk|mawk|sensible-utils|ucf|coreutils)$/;

/** Package → what it depends on, from the output of `apt-cache depends --recurse`. */
export function parseDepends(output: string): Map<string, string[]> {
  const graph = new Map<string, string[]>();
  let current: string[] = [];
  for (const line of output.split('\n')) {
    if (/^[a-z0-9]/.test(line)) {
      current = graph.get(line.trim()) ?? [];
      graph.set(line.trim(), current);
    }
    const match = /^\s*\|?(?:Pre)?Depends: ([a-z0-9][^:\s]*)/.exec(line);
    if (match?.[1]) current.push(match[1]);
  }
  return graph;
}

/** The packages and what they depend on in the graph, less what a container does not need. Sorted. */
export function closureOf(packages: readonly string[], graph: ReadonlyMap<string, readonly string[]>): string[] {
  const found = new Set<string>();
  const queue = [...packages];
  for (let name = queue.pop(); name !== undefined; name = queue.pop()) {
    if (found.has(name)) continue;
    found.add(name);
    queue.push(...(graph.get(name) ?? []).filter((dependency) => graph.has(dependency) && !UNNEEDED.test(dependency)));
  }
  return [...found].sort();
}

/** Of each package, the file name apt gives its candidate, without the architecture: `name_version_`. */
async function candidates(packages: readonly string[]): Promise<string[]> {
  const flags = ['recommends', 'suggests', 'conflicts', 'breaks', 'replaces', 'enhances'].map((f) => `--no-${f}`);
  const closure = closureOf(
    packages,
    parseDepends(await execOk(['apt-cache', 'depends', '--recurse', ...flags, ...packages])),
  );
  const policy = await execOk(['apt-cache', 'policy', ...closure]);
  const versions = new Map<string, string>();
  let current = '';
  for (const line of policy.split('\n')) {
    current = /^([a-z0-9][^\s:]*):/.exec(line)?.[1] ?? current;
    const candidate = /^\s+Candidate: (\S+)/.exec(line)?.[1];
    if (candidate && candidate !== '(none)') versions.set(current, candidate);
  }
  return closure.map((name) => {
    const version = versions.get(name);
    if (!version) throw new Error(`apt knows no candidate of ${name}`);
    return `${name}_${version.replaceAll(':', '%3a')}_`;
  });
}

/**
 * Downloads packages and their closure (once) without installing them; returns their .deb files. No root needed, but
 * for `apt-get update` where apt has no lists. Asks apt again when its lists have changed.
 */
export async function fetchDebs(packages: readonly string[], progress: Progress): Promise<string[]> {
  const dir = cacheDir('debs');
  const lists = '/var/lib/apt/lists';
  const stamp = existsSync(lists) ? Math.round(statSync(lists).mtimeMs) : 0;
  const record = join(dir, `${hashOf(packages, UNNEEDED.source, stamp)}.json`);
  if (existsSync(record)) {
    const known = JSON.parse(readFileSync(record, 'utf8')) as string[];
    if (known.every((file) => existsSync(file))) return known;
  }
  return withLock(join(cacheDir('lock'), 'debs.lock'), () =>
    progress.step('Debian packages for images', async (note) => {
      const prefixes = await candidates(packages).catch(async () => {
        note('apt-get update');
        await execOk(['apt-get', 'update', '-q']);
        return candidates(packages);
      });
      const find = (prefix: string) =>
        readdirSync(dir).find((file) => file.startsWith(prefix) && file.endsWith('.deb'));
      const missing = prefixes.filter((prefix) => !find(prefix)).map((prefix) => prefix.slice(0, prefix.indexOf('_')));
      note(`${prefixes.length}, ${missing.length} downloaded`);
      if (missing.length > 0) {
        const first = await exec(['apt-get', 'download', '-q', ...missing], { cwd: dir });
        if (first.code !== 0) {
          await execOk(['apt-get', 'update', '-q']);
          await execOk(['apt-get', 'download', '-q', ...missing], { cwd: dir });
        }
      }
      const files = prefixes.map((prefix) => {
        const file = find(prefix);
        if (!file) throw new Error(`apt-get download left no file ${prefix}*.deb`);
        return join(dir, file);
      });
      writeFileWhole(record, JSON.stringify(files));
      return files;
    }),
  );
}

/** Unpacks packages into a folder as the start of an image: no scripts run, so certificates and users are made here. */
export async function unpackDebs(debs: readonly string[], root: string): Promise<void> {
  mkdirSync(root, { recursive: true });
  for (const deb of debs) await execOk(['dpkg-deb', '-x', deb, root]);
  for (const dir of [
    'usr/share/doc',
    'usr/share/man',
    'usr/share/locale',
    'usr/share/lintian',
    'usr/share/gcc',
    'usr/share/info',
  ]) {
    rmSync(join(root, dir), { recursive: true, force: true });
  }
  writeCertificates(root);
}

function writeCertificates(root: string): void {
  const source = join(root, 'usr/share/ca-certificates/mozilla');
  if (!existsSync(source)) return;
  const bundle = readdirSync(source)
    .sort()
    .map((file) => readFileSync(join(source, file), 'utf8').trimEnd());
  mkdirSync(join(root, 'etc/ssl/certs'), { recursive: true });
  writeFileSync(join(root, 'etc/ssl/certs/ca-certificates.crt'), `${bundle.join('\n')}\n`);
  rmSync(join(root, 'usr/share/ca-certificates'), { recursive: true, force: true });
}

/** The image's users: root, one of our own, and nobody. */
export function writeUsers(root: string, user: { name: string; id: number; home: string }): void {
  mkdirSync(join(root, 'etc'), { recursive: true });
  const { name, id, home } = user;
  writeFileSync(
    join(root, 'etc/passwd'),
    `root:x:0:0:root:/root:/sbin/nologin\n${name}:x:${id}:${id}:${name}:${home}:/sbin/nologin\nnobody:x:65534:65534:nobody:/:/sbin/nologin\n`,
  );
  writeFileSync(join(root, 'etc/group'), `root:x:0:\n${name}:x:${id}:\nnogroup:x:65534:\n`);
}

/** The node binary that package.json pins, as the package `node` has it. */
export function copyNode(root: string): void {
  const target = join(root, 'usr/local/bin/node');
  mkdirSync(join(target, '..'), { recursive: true });
  cpSync(realpathSync(join(repoRoot, 'node_modules/.bin/node')), target);
}

/** What the layers with Debian packages depend on: the packages' files, which name their versions. */
export const debNames = (debs: readonly string[]): string[] => debs.map((deb) => deb.slice(deb.lastIndexOf('/') + 1));
