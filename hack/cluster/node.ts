import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { makeImage, packLayer, writeImageTar } from '../images/oci.ts';
import { cacheDir, type ExecResult, writeFileWhole } from '../lib/index.ts';
import { programPath } from './binaries.ts';
import type { Daemon } from './control-plane.ts';
import { BRIDGE, BRIDGE_ADDRESS, type Layout, POD_CIDR, REGISTRY_PORT, REGISTRY_PULL } from './layout.ts';
import { mustSucceed } from './site.ts';

/** The sandbox image's name in containerd; imported, never pulled. */
const PAUSE_IMAGE = 'localhost/pause:1';

/** Configuration of containerd, CNI, kubelet and kube-proxy, all inside the state folder. */
export function writeNodeFiles(layout: Layout): void {
  const { paths } = layout;
  for (const dir of [paths.kubelet, paths.podLogs, paths.containerdRun, paths.containerdRoot, paths.logs]) {
    mkdirSync(dir, { recursive: true });
  }
  const bridge = {
    type: 'bridge',
    bridge: BRIDGE,
    isGateway: true,
    hairpinMode: true,
    ipam: {
      type: 'host-local',
      dataDir: join(paths.containerdRun, 'ipam'),
      ranges: [[{ subnet: layout.podCidr }]],
      routes: [{ dst: '0.0.0.0/0' }],
    },
  };
  const portmap = { type: 'portmap', capabilities: { portMappings: true } };
  writeFileWhole(
    join(paths.cni, '10-bridge.conflist'),
    `${JSON.stringify({ cniVersion: '1.0.0', name: 'resultity', plugins: [bridge, portmap] }, null, 2)}\n`,
  );
  writeFileWhole(
    join(paths.containerdRun, 'config.toml'),
    `version = 2
root = "${paths.containerdRoot}"
state = "${paths.containerdRun}/state"
disabled_plugins = ["io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs", "io.containerd.tracing.processor.v1.otlp"]
[grpc]
  address = "${paths.containerdSocket}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "${PAUSE_IMAGE}"
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  [plugins."io.containerd.grpc.v1.cri".containerd]
    discard_unpacked_layers = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "${paths.cni}"
  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = "${paths.containerdRun}/registries"
`,
  );
  // one registry for all nodes, under the one name that manifests use
  const registryUrl = `http://${BRIDGE_ADDRESS}:${REGISTRY_PORT}`;
  writeFileWhole(
    join(paths.containerdRun, 'registries', REGISTRY_PULL, 'hosts.toml'),
    `server = "${registryUrl}"\n[host."${registryUrl}"]\n  capabilities = ["pull", "resolve"]\n`,
  );
  writeFileWhole(
    join(paths.kubelet, 'config.yaml'),
    `apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication: { anonymous: { enabled: false }, webhook: { enabled: true }, x509: { clientCAFile: ${paths.pki}/ca.crt } }
authorization: { mode: Webhook }
clusterDNS: [${BRIDGE_ADDRESS}]
clusterDomain: cluster.local
resolvConf: ${paths.kubelet}/resolv.conf
containerRuntimeEndpoint: unix://${paths.containerdSocket}
cgroupDriver: cgroupfs
cgroupRoot: ${layout.cgroup}
cgroupsPerQOS: true
enforceNodeAllocatable: []
failCgroupV1: false
failSwapOn: false
podLogsDir: ${paths.podLogs}
volumePluginDir: ${paths.kubelet}/volume-plugins
tlsCertFile: ${paths.pki}/kubelet${layout.suffix}.crt
tlsPrivateKeyFile: ${paths.pki}/kubelet${layout.suffix}.key
syncFrequency: 10s
configMapAndSecretChangeDetectionStrategy: Watch
nodeStatusUpdateFrequency: 5s
imageGCHighThresholdPercent: 100
evictionHard: { memory.available: 100Mi, nodefs.available: 1%, imagefs.available: 1% }
`,
  );
  writeFileWhole(join(paths.kubelet, 'resolv.conf'), `nameserver ${BRIDGE_ADDRESS}\n`);
  writeFileWhole(
    join(paths.kubelet, 'kube-proxy.yaml'),
    `apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
clientConnection: { kubeconfig: ${paths.pki}/proxy.kubeconfig }
mode: nftables
clusterCIDR: ${POD_CIDR}
hostnameOverride: ${layout.nodeName}
conntrack: { maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s }
`,
  );
}

export const containerd = (layout: Layout): Daemon => ({
  name: `containerd${layout.suffix}`,
  argv: ['containerd', '-c', join(layout.paths.containerdRun, 'config.toml')],
});

export const kubelet = (program: string, layout: Layout): Daemon => ({
  name: `kubelet${layout.suffix}`,
  argv: [
    program,
    `--config=${layout.paths.kubelet}/config.yaml`,
    `--kubeconfig=${layout.paths.pki}/kubelet${layout.suffix}.kubeconfig`,
    `--root-dir=${layout.paths.kubelet}`,
    `--cert-dir=${layout.paths.kubelet}/pki`,
    `--hostname-override=${layout.nodeName}`,
    `--node-ip=${layout.nodeAddress}`,
  ],
});

export const kubeProxy = (program: string, layout: Layout): Daemon => ({
  name: `kube-proxy${layout.suffix}`,
  argv: [program, `--config=${layout.paths.kubelet}/kube-proxy.yaml`],
});

/** Removes an earlier cluster's containers from a running containerd, and imports the sandbox image when it has none. */
export async function emptyContainerd(ctr: (...args: string[]) => Promise<ExecResult>): Promise<void> {
  const old = (await ctr('containers', 'list', '-q')).stdout.split('\n').filter(Boolean);
  if (old.length > 0) await ctr('containers', 'delete', ...old);
  const images = (await ctr('images', 'list', '-q')).stdout.split('\n');
  if (images.includes(PAUSE_IMAGE)) return;
  const tar = await pauseImage();
  await ctr('images', 'import', tar).then(mustSucceed('importing the sandbox image'));
}

async function pauseImage(): Promise<string> {
  const tar = join(cacheDir('images'), 'pause-1.tar');
  if (existsSync(tar)) return tar;
  const root = mkdtempSync(join(cacheDir('images'), 'pause-'));
  try {
    copyFileSync(programPath('pause'), join(root, 'pause'));
    const layer = await packLayer(root, 'gzip');
    await writeImageTar(makeImage([layer], { entrypoint: ['/pause'], user: '65535:65535' }), PAUSE_IMAGE, tar);
    return tar;
  } finally {
    rmSync(root, { recursive: true, force: true });
  }
}

const CGROUP = '/sys/fs/cgroup';

/** The hierarchies to make the subtree in: each v1 controller, or the one of v2. */
function cgroupRoots(): string[] {
  if (existsSync(join(CGROUP, 'cgroup.controllers'))) return [CGROUP];
  return readdirSync(CGROUP).map((controller) => join(CGROUP, controller));
}

/** Makes the cluster's own cgroup subtree, so that what the kubelet makes lies in one place and can be removed. */
export function makeCgroups(layout: Layout): void {
  for (const root of cgroupRoots()) {
    const dir = join(root, layout.cgroup);
    mkdirSync(dir, { recursive: true });
    for (const file of ['cpuset.cpus', 'cpuset.mems']) {
      if (existsSync(join(root, file)) && existsSync(join(dir, file)) && root !== CGROUP) {
        writeFileSync(join(dir, file), readFileSync(join(root, file))); // v1 starts empty and then takes no process
      }
    }
    if (root === CGROUP) {
      const all = readFileSync(join(root, 'cgroup.controllers'), 'utf8').trim().split(' ');
      for (const at of [root, dir])
        writeFileSync(join(at, 'cgroup.subtree_control'), all.map((c) => `+${c}`).join(' '));
    }
  }
}

/** Removes the subtree. Its processes are dead by now, but the kernel may take a moment to let go of them. */
export async function removeCgroups(layout: Layout): Promise<void> {
  const remove = (dir: string): void => {
    for (const entry of readdirSync(dir, { withFileTypes: true })) {
      if (entry.isDirectory()) remove(join(dir, entry.name));
    }
    rmdirSync(dir);
  };
  for (const root of cgroupRoots()) {
    const dir = join(root, layout.cgroup);
    for (let attempt = 0; existsSync(dir); attempt++) {
      try {
        remove(dir);
      } catch (error) {
        if (attempt > 40) throw new Error(`cgroup ${dir} could not be removed`, { cause: error });
        await sleep(100);
      }
    }
  }
}
