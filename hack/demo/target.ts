import { spawn } from 'node:child_process';
import { existsSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  type Cluster,
  type ClusterOptions,
  clusterDown,
  clusterUp,
  ensurePrograms,
  findCluster,
  programPath,
} from '../cluster/index.ts';
import type { RegistryTarget } from '../images/registry.ts';
import { claim, defaultStateDir, exec, execOk, type Progress, quietProgress, release } from '../lib/index.ts';

/** Where the demo runs: a cluster of its own, or one that exists. */
export interface Target {
  /** Folder of the demo's own files: keys, certificates, model files, receipts. Removed by `down`. */
  readonly dir: string;
  readonly cluster?: Cluster;
  /** True when the cluster ran before this demo. */
  readonly found: boolean;
  readonly registry: RegistryTarget;
  /** kubectl and helm with their cluster chosen. */
  kubectl(args: readonly string[], input?: string): Promise<string>;
  helm(args: readonly string[]): Promise<string>;
  /** The same kubectl for callers that spawn. */
  readonly kubectlArgv: readonly string[];
  /** What a person appends to kubectl for the same, behind a space; empty where KUBECONFIG says it. */
  readonly kubectlFlags: string;
  /** Forwards a local port to a Service; ends with `close`. */
  forward(namespace: string, service: string, port: number): Promise<{ port: number; close(): void }>;
  /** Stops a cluster of the demo's own; nothing on one that exists. */
  down(): Promise<void>;
}

export const CLUSTER = 'demo';

/** A real Kubernetes of our own; needs root and Debian. */
export const ownCluster = async (
  progress: Progress,
  name = CLUSTER,
  size: Pick<ClusterOptions, 'gpus' | 'fakeNodes' | 'realNodes' | 'devicePlugin'> = { gpus: 1 },
): Promise<Target> => {
  use(name);
  const found = existsSync(keptMark(name)) && findCluster({ name }) !== undefined;
  if (!found) await downOwnCluster(quietProgress, name); // what a killed run left
  use(name);
  await ensurePrograms(['kubectl', 'helm'], progress);
  const cluster = await clusterUp({ name, ...size, progress });
  const kube = ['--kubeconfig', cluster.kubeconfig];
  return target({
    dir: filesDir(name),
    found,
    cluster,
    registry: cluster.registry,
    kubectl: [programPath('kubectl'), ...kube],
    helm: [programPath('helm'), ...kube],
    kubectlFlags: '',
    down: () => downOwnCluster(progress, name),
  });
};

/** Stops a cluster of ours and removes the demo's files; `purge` also the unpacked images, which a next start would reuse. */
export const downOwnCluster = async (progress: Progress, name = CLUSTER, purge = false): Promise<void> => {
  use(name);
  await clusterDown({ name, progress, purge });
  rmSync(filesDir(name), { recursive: true, force: true });
  release(userMark(name));
};

const userMark = (name: string): string => defaultStateDir(`${name}-in-use`);

/** Marks the cluster as this process's: another run would take it for the leftover of a killed one, and remove it. */
const use = (name: string): void => {
  const holder = claim(userMark(name));
  if (holder !== undefined && holder !== process.pid)
    throw new Error(`cluster ${name} is in use by process ${holder}: wait until that has ended, or end it`);
};

/** Says that the cluster was left up on purpose. Without it a cluster that runs is the leftover of a killed run. */
const keptMark = (name: string): string => join(filesDir(name), 'kept');
export const markKept = (name = CLUSTER): void => writeFileSync(keptMark(name), '');

const filesDir = (name: string): string => defaultStateDir(`${name}-files`);

/** A cluster that exists, by its kubeconfig context, with a registry that it pulls from. */
export const otherCluster = async (context: string, registry: string): Promise<Target> => {
  for (const program of ['kubectl', 'helm'])
    if ((await exec([program, program === 'helm' ? 'version' : 'options']).catch(() => ({ code: 1 }))).code !== 0)
      throw new Error(`--context needs ${program} on the PATH`);
  const local = /^(localhost|127\.)/.test(registry);
  const dir = filesDir(`context-${context.replace(/[^A-Za-z0-9-]/g, '-')}`);
  return target({
    dir,
    found: existsSync(dir),
    registry: { url: `${local ? 'http' : 'https'}://${registry}`, pull: registry },
    kubectl: ['kubectl', '--context', context],
    helm: ['helm', '--kube-context', context],
    kubectlFlags: ` --context ${context}`,
    down: () => Promise.resolve(),
  });
};

const target = (parts: {
  dir: string;
  found: boolean;
  cluster?: Cluster;
  registry: RegistryTarget;
  kubectl: readonly string[];
  helm: readonly string[];
  kubectlFlags: string;
  down: () => Promise<void>;
}): Target => ({
  dir: parts.dir,
  found: parts.found,
  ...(parts.cluster && { cluster: parts.cluster }),
  registry: parts.registry,
  kubectlFlags: parts.kubectlFlags,
  kubectlArgv: parts.kubectl,
  down: parts.down,
  kubectl: (args, input) => execOk([...parts.kubectl, ...args], input === undefined ? {} : { input }),
  helm: (args) => execOk([...parts.helm, ...args]),
  async forward(namespace, service, port) {
    const [program = '', ...args] = parts.kubectl;
    const child = spawn(program, [...args, '-n', namespace, 'port-forward', `svc/${service}`, `:${port}`], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let said = '';
    const local = await new Promise<number>((resolve, reject) => {
      const read = (chunk: Buffer): void => {
        said += chunk.toString();
        const match = /127\.0\.0\.1:(\d+)/.exec(said);
        if (match) resolve(Number(match[1]));
      };
      child.stdout.on('data', read);
      child.stderr.on('data', read);
      child.on('error', reject);
      child.on('exit', () => reject(new Error(`kubectl port-forward ended: ${said.trim()}`)));
    });
    return { port: local, close: () => child.kill() };
  },
});
