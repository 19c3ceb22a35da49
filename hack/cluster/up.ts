import { mkdirSync } from 'node:fs';
import { createServer } from 'node:net';
import { join, resolve } from 'node:path';
import {
  cacheDir,
  defaultStateDir,
  ensureDebianPackages,
  isSameProcess,
  type ProcessRef,
  type Progress,
  quietProgress,
  requireRoot,
  withLock,
} from '../lib/index.ts';
import { applyAddonRights, coreDns, kwok, registry } from './addons.ts';
import { type Admin, adminOf, waitFor } from './admin.ts';
import { ensurePrograms, type Program, programPath } from './binaries.ts';
import { type Cluster, clusterOf } from './cluster.ts';
import {
  apiServer,
  type ControlPlaneAddresses,
  controllerManager,
  type Daemon,
  etcd,
  logTail,
  scheduler,
  writeControlPlaneFiles,
} from './control-plane.ts';
import { devicePlugin } from './devices.ts';
import { clearLeftovers } from './down.ts';
import { advertiseGpus, makeFakeNodes } from './gpus.ts';
import { API_PORT, BRIDGE_ADDRESS, type Layout, layoutOf, peerOf, REGISTRY_PORT } from './layout.ts';
import { containerd, emptyContainerd, kubelet, kubeProxy, makeCgroups, writeNodeFiles } from './node.ts';
import {
  hostSite,
  namespaceSite,
  prepareNamespaces,
  preparePeer,
  type Site,
  setPeerLink,
  startHolder,
} from './site.ts';
import { type ClusterState, type Profile, readState, writeState } from './state.ts';

/** The Debian packages that a node needs; the control plane needs none. */
export const NODE_PACKAGES = ['containerd', 'runc', 'containernetworking-plugins', 'nftables', 'conntrack', 'iproute2'];

export interface ClusterOptions {
  /** Default `dev`. Two clusters of different names run side by side. */
  readonly name?: string;
  readonly stateDir?: string;
  /**
   * `node` (default): all of Kubernetes with one real node; needs root. `control-plane`: API server, etcd, controller
   * manager, scheduler. `api`: API server and etcd alone. The latter two run on loopback and need no root.
   */
  readonly profile?: Profile;
  /** Simulated GPU nodes; not in profile `api`. */
  readonly fakeNodes?: number;
  /** Real nodes, 1 (default) or 2; only in profile `node`. */
  readonly realNodes?: 1 | 2;
  /** GPUs each real node advertises; default 2. */
  readonly gpus?: number;
  /** Two made-up devices of a device plug-in on the first real node (`devices`); only in profile `node`. */
  readonly devicePlugin?: boolean;
  readonly progress?: Progress;
  readonly signal?: AbortSignal;
}

const siteOf = (layout: Layout, state: ClusterState): Site =>
  state.holder ? namespaceSite(layout, state.holder) : hostSite(layout);

const runs = (state: ClusterState): boolean =>
  state.holder
    ? isSameProcess(state.holder) &&
      (!state.peer || isSameProcess(state.peer)) &&
      Object.values(state.processes).every(isSameProcess)
    : Object.values(state.processes).length > 0 && Object.values(state.processes).every(isSameProcess);

export const resolveLayout = (options: Pick<ClusterOptions, 'name' | 'stateDir'>): Layout => {
  const name = options.name ?? 'dev';
  return layoutOf(name, resolve(options.stateDir ?? defaultStateDir(name)));
};

/** The running cluster of that name, or undefined. Starts nothing. */
export function findCluster(options: Pick<ClusterOptions, 'name' | 'stateDir'> = {}): Cluster | undefined {
  const layout = resolveLayout(options);
  const state = readState(layout);
  return state?.phase === 'up' && runs(state) ? clusterOf(layout, state, siteOf(layout, state)) : undefined;
}

/**
 * Brings the cluster up, or returns the one that runs (with more simulated nodes when asked for). What an earlier,
 * killed run of the same name left is cleared first. On failure everything started is stopped again; logs stay.
 */
export async function clusterUp(options: ClusterOptions = {}): Promise<Cluster> {
  const layout = resolveLayout(options);
  const profile = options.profile ?? 'node';
  const progress = options.progress ?? quietProgress;
  const fakeNodes = options.fakeNodes ?? 0;
  if (profile === 'api' && fakeNodes > 0)
    throw new Error('simulated nodes need the control plane (profile control-plane or node)');
  if (profile === 'node') requireRoot('a cluster with a real node');
  const realNodes = options.realNodes ?? 1;
  if (profile !== 'node' && realNodes > 1) throw new Error('a second real node needs profile node');
  const plugin = options.devicePlugin ?? false;
  if (profile !== 'node' && plugin) throw new Error('a device plug-in needs profile node');
  return withLock(join(cacheDir('lock'), `cluster-${layout.name}.lock`), async () => {
    const found = readState(layout);
    const enough = (found?.peer || realNodes === 1) && (found?.processes['device-plugin'] || !plugin);
    if (found?.phase === 'up' && found.profile === profile && runs(found) && enough) {
      if (fakeNodes > found.fakeNodes) await addFakeNodes(layout, found, fakeNodes, progress, options.signal);
      return clusterOf(layout, found, siteOf(layout, found));
    }
    await clearLeftovers(layout);
    const start = new Starter(layout, profile, { ...options, progress, fakeNodes, realNodes, gpus: options.gpus ?? 2 });
    try {
      return await start.run();
    } catch (error) {
      await clearLeftovers(layout, { keepLogs: true });
      throw error;
    }
  });
}

async function addFakeNodes(
  layout: Layout,
  state: ClusterState,
  count: number,
  progress: Progress,
  signal?: AbortSignal,
): Promise<void> {
  const programs = await ensurePrograms(['kwok'], progress, signal);
  const admin = adminOf(layout, state.server);
  try {
    const next = state.processes.kwok
      ? state
      : {
          ...state,
          processes: {
            ...state.processes,
            kwok: await siteOf(layout, state).start('kwok', kwok(programs.kwok, layout).argv),
          },
        };
    await makeFakeNodes(admin, count);
    writeState(layout, { ...next, fakeNodes: count });
  } finally {
    await admin.close();
  }
}

async function freePorts(count: number): Promise<number[]> {
  const servers = await Promise.all(
    Array.from({ length: count }, () => {
      const server = createServer();
      return new Promise<typeof server>((done, fail) =>
        server.once('error', fail).listen(0, '127.0.0.1', () => done(server)),
      );
    }),
  );
  const ports = servers.map((server) => (server.address() as { port: number }).port);
  await Promise.all(servers.map((server) => new Promise((done) => server.close(done))));
  return ports;
}

type StarterOptions = ClusterOptions & {
  readonly progress: Progress;
  readonly fakeNodes: number;
  readonly realNodes: 1 | 2;
  readonly gpus: number;
};

/** One `up`, from nothing. Records each process as soon as it runs. */
class Starter {
  readonly #layout: Layout;
  readonly #profile: Profile;
  readonly #options: StarterOptions;
  #state: ClusterState;
  #site: Site;

  constructor(layout: Layout, profile: Profile, options: StarterOptions) {
    this.#layout = layout;
    this.#profile = profile;
    this.#options = options;
    this.#site = hostSite(layout);
    this.#state = {
      v: 1,
      name: layout.name,
      profile,
      phase: 'starting',
      server: '',
      processes: {},
      fakeNodes: options.fakeNodes,
      gpus: profile === 'node' ? options.gpus : 0,
    };
  }

  #record(change: Partial<ClusterState>): void {
    this.#state = { ...this.#state, ...change };
    writeState(this.#layout, this.#state);
  }

  async #start(daemon: Daemon, site = this.#site): Promise<ProcessRef> {
    const ref = await site.start(daemon.name, daemon.argv, daemon.env);
    this.#record({ processes: { ...this.#state.processes, [daemon.name]: ref } });
    return ref;
  }

  /** Names the first program that has ended, with the end of its log. */
  #dead(): string | undefined {
    for (const [name, ref] of Object.entries(this.#state.processes)) {
      if (!isSameProcess(ref)) return `${name} ended:\n${logTail(this.#layout, name)}`;
    }
    return undefined;
  }

  #wait(what: string, timeoutMs: number, check: () => Promise<boolean>): Promise<void> {
    const { signal } = this.#options;
    return waitFor(what, timeoutMs, check, { failed: () => this.#dead(), ...(signal && { signal }) });
  }

  async run(): Promise<Cluster> {
    const { progress, signal, fakeNodes } = this.#options;
    const full = this.#profile === 'node';
    const controllers = this.#profile !== 'api';
    if (full) await ensureDebianPackages(NODE_PACKAGES, progress);
    const wanted: Program[] = ['etcd', 'kube-apiserver'];
    if (controllers) wanted.push('kube-controller-manager', 'kube-scheduler');
    if (full) wanted.push('kubelet', 'kube-proxy', 'kubectl', 'pause', 'coredns', 'registry');
    if (fakeNodes > 0) wanted.push('kwok');
    if (this.#options.devicePlugin) wanted.push('sample-device-plugin');
    await ensurePrograms(wanted, progress, signal);
    mkdirSync(this.#layout.stateDir, { recursive: true, mode: 0o700 });
    this.#record({});

    const name = this.#layout.name;
    const admin = await progress.step(`cluster ${name}: control plane`, () => this.#controlPlane(controllers));
    try {
      if (controllers) await applyAddonRights(admin);
      if (full) await progress.step(`cluster ${name}: node`, () => this.#firstNode(admin));
      if (this.#options.devicePlugin) await this.#start(devicePlugin(programPath('sample-device-plugin')));
      if (this.#options.realNodes > 1) await progress.step(`cluster ${name}: second node`, () => this.#peerNode(admin));
      if (fakeNodes > 0) {
        await this.#start(kwok(programPath('kwok'), this.#layout));
        await progress.step(`cluster ${name}: ${fakeNodes} simulated GPU nodes`, () => makeFakeNodes(admin, fakeNodes));
      }
    } finally {
      await admin.close();
    }
    const dead = this.#dead();
    if (dead) throw new Error(dead);
    this.#record({ phase: 'up' });
    return clusterOf(this.#layout, this.#state, this.#site);
  }

  async #addresses(): Promise<ControlPlaneAddresses> {
    if (this.#profile === 'node') {
      return {
        server: `https://${this.#layout.nodeAddress}:${API_PORT}`,
        innerServer: `https://${BRIDGE_ADDRESS}:${API_PORT}`,
        bind: '0.0.0.0',
        port: API_PORT,
        advertise: BRIDGE_ADDRESS,
        etcdClient: 'http://127.0.0.1:2379',
        etcdPeer: 'http://127.0.0.1:2380',
      };
    }
    const [api, client, peer] = await freePorts(3);
    if (!api || !client || !peer) throw new Error('no free ports');
    const server = `https://127.0.0.1:${api}`;
    return {
      server,
      innerServer: server,
      bind: '127.0.0.1',
      port: api,
      advertise: '127.0.0.1',
      etcdClient: `http://127.0.0.1:${client}`,
      etcdPeer: `http://127.0.0.1:${peer}`,
    };
  }

  async #controlPlane(controllers: boolean): Promise<Admin> {
    const layout = this.#layout;
    if (this.#profile === 'node') {
      const holder = await startHolder(layout, programPath('pause'));
      this.#record({ holder });
      this.#site = namespaceSite(layout, holder);
      await prepareNamespaces(layout, holder, this.#site);
    }
    const addresses = await this.#addresses();
    this.#record({ server: addresses.server });
    await writeControlPlaneFiles(layout, addresses);
    await this.#start(etcd(programPath('etcd'), layout, addresses));
    await this.#start(apiServer(programPath('kube-apiserver'), layout, addresses));
    const admin = adminOf(layout, addresses.server);
    await this.#wait('the API server', 60_000, async () => (await admin.call('GET', '/readyz')).status === 200);
    if (controllers) {
      const [manager, schedule] = this.#profile === 'node' ? [10257, 10259] : await freePorts(2);
      await this.#start(controllerManager(programPath('kube-controller-manager'), layout, manager ?? 0, this.#profile));
      await this.#start(scheduler(programPath('kube-scheduler'), layout, schedule ?? 0));
      await this.#wait('the default service account', 30_000, async () => {
        const answer = await admin.call('GET', '/api/v1/namespaces/default/serviceaccounts/default');
        return answer.status === 200;
      });
    }
    return admin;
  }

  async #firstNode(admin: Admin): Promise<void> {
    const layout = this.#layout;
    writeNodeFiles(layout);
    await this.#start(registry(programPath('registry'), layout));
    await this.#start(coreDns(programPath('coredns'), layout));
    await this.#node(admin, layout, this.#site);
    await this.#wait('the registry', 20_000, async () => {
      const answer = await fetch(`http://${layout.nodeAddress}:${REGISTRY_PORT}/v2/`, {
        signal: AbortSignal.timeout(1000),
      });
      return answer.ok;
    });
  }

  async #peerNode(admin: Admin): Promise<void> {
    const first = this.#state.holder;
    if (!first) throw new Error('the second node comes after the first');
    const layout = peerOf(this.#layout);
    const peer = await startHolder(layout, programPath('pause'));
    this.#record({ peer });
    const site = namespaceSite(layout, peer);
    await preparePeer(layout, peer, site, first);
    await setPeerLink(layout, this.#site, true);
    writeNodeFiles(layout);
    await this.#node(admin, layout, site);
  }

  /** Starts what makes a Kubernetes node, on the images that an earlier cluster left unpacked. */
  async #node(admin: Admin, layout: Layout, site: Site): Promise<void> {
    makeCgroups(layout);
    await this.#start(containerd(layout), site);
    const ctr = (...args: string[]) => site.exec(['ctr', '-a', layout.paths.containerdSocket, '-n', 'k8s.io', ...args]);
    await this.#wait('containerd', 30_000, async () => (await ctr('version')).code === 0);
    await emptyContainerd(ctr);
    await this.#start(kubeProxy(programPath('kube-proxy'), layout), site);
    await this.#start(kubelet(programPath('kubelet'), layout), site);
    const path = `/api/v1/nodes/${layout.nodeName}`;
    await this.#wait(`node ${layout.nodeName}`, 90_000, async () => {
      const { status, body } = await admin.call('GET', path);
      if (status !== 200) return false;
      const conditions = (body as { status?: { conditions?: { type: string; status: string }[] } }).status?.conditions;
      return conditions?.some((c) => c.type === 'Ready' && c.status === 'True') ?? false;
    });
    if (this.#options.gpus > 0) await advertiseGpus(admin, layout.nodeName, this.#options.gpus);
  }
}
