import { createHash } from 'node:crypto';
import { join } from 'node:path';

/** Everything about one cluster, as one of its real nodes sees it, that follows from its name and its state folder. Pure. */
export interface Layout {
  readonly name: string;
  readonly stateDir: string;
  /** Ends the names of what each real node has of its own: files, programs, folders. */
  readonly suffix: '' | '-2';
  readonly nodeName: string;
  /** The node's pods, and its bridge: their gateway. */
  readonly podCidr: string;
  readonly bridgeAddress: string;
  /** The host's end of the one veth pair, and its addresses (a /30). */
  readonly hostLink: string;
  readonly hostAddress: string;
  readonly nodeAddress: string;
  /** Path of the cluster's subtree in each cgroup hierarchy, with a leading slash. */
  readonly cgroup: string;
  readonly paths: {
    readonly state: string;
    readonly pki: string;
    readonly logs: string;
    readonly audit: string;
    readonly kubeconfig: string;
    readonly etcd: string;
    readonly cni: string;
    readonly kubelet: string;
    readonly podLogs: string;
    readonly containerdRun: string;
    readonly containerdSocket: string;
    /** Kept by `down`: unpacked images, so that a warm start does not unpack them again. */
    readonly containerdRoot: string;
  };
}

export const POD_CIDR = '10.244.0.0/16';
export const BRIDGE = 'cni0';
/** The first node's bridge: where CoreDNS, the registry and the API server are for every node. */
export const BRIDGE_ADDRESS = '10.244.0.1';
/** The veth pair between the two real nodes: its end in the first one's namespace, and the first one's address. */
export const PEER_LINK = 'peer0';
export const PEER_GATEWAY = '10.246.0.1';
export const SERVICE_CIDR = '10.96.0.0/16';
export const API_SERVICE_ADDRESS = '10.96.0.1';
export const API_PORT = 6443;
export const REGISTRY_PORT = 5000;
/** How images are named in pods: the registry on the node's loopback. */
export const REGISTRY_PULL = `127.0.0.1:${REGISTRY_PORT}`;

const UNIX_PATH_MAX = 107;

/** Derives a cluster's layout. Two names give two /30 networks (one chance in 16 384 that they are the same) and two sets of names. */
export function layoutOf(name: string, stateDir: string): Layout {
  if (!/^[a-z][a-z0-9-]{0,19}$/.test(name)) {
    throw new Error(`cluster name ${JSON.stringify(name)}: give 1 to 20 of a-z, 0-9 and -, starting with a letter`);
  }
  if (!stateDir.startsWith('/') || /^\/(run|var\/lib|var\/log|proc|sys)(\/|$)/.test(stateDir)) {
    throw new Error(`state folder ${stateDir}: give an absolute path outside /run, /var/lib, /var/log, /proc and /sys`);
  }
  const hash = createHash('sha256').update(name).digest();
  // 10.245.0.0/16 has 2^14 networks of four addresses: .0 network, .1 host, .2 node, .3 broadcast
  const block = (hash.readUInt16BE(0) % 16384) * 4;
  const address = (offset: number) => `10.245.${(block + offset) >> 8}.${(block + offset) & 255}`;
  const at = (...parts: string[]) => join(stateDir, ...parts);
  const containerdSocket = at('containerd', 'c.sock');
  if (Buffer.byteLength(`${containerdSocket}.ttrpc`) > UNIX_PATH_MAX) {
    throw new Error(`state folder ${stateDir} is too long: Unix socket paths end at ${UNIX_PATH_MAX} bytes`);
  }
  return {
    name,
    stateDir,
    suffix: '',
    nodeName: `${name}-node`,
    podCidr: '10.244.0.0/24',
    bridgeAddress: BRIDGE_ADDRESS,
    hostLink: `rs${hash.toString('hex').slice(0, 8)}`,
    hostAddress: address(1),
    nodeAddress: address(2),
    cgroup: `/resultity-${name}`,
    paths: {
      state: at('state.json'),
      pki: at('pki'),
      logs: at('log'),
      audit: at('log', 'audit.jsonl'),
      kubeconfig: at('kubeconfig'),
      etcd: at('etcd'),
      cni: at('cni'),
      kubelet: at('kubelet'),
      podLogs: at('pods'),
      containerdRun: at('containerd'),
      containerdSocket,
      containerdRoot: at('containerd-root'),
    },
  };
}

/**
 * The same cluster as its second real node sees it: namespaces, folders, cgroup and pod range of its own, tied to the
 * first node's namespace by a veth pair. The first node is its way to everything.
 */
export function peerOf(layout: Layout): Layout {
  const at = (...parts: string[]) => join(layout.stateDir, ...parts);
  return {
    ...layout,
    suffix: '-2',
    nodeName: `${layout.nodeName}-2`,
    podCidr: '10.244.1.0/24',
    bridgeAddress: '10.244.1.1',
    nodeAddress: '10.246.0.2',
    cgroup: `${layout.cgroup}/node-2`,
    paths: {
      ...layout.paths,
      cni: at('cni-2'),
      kubelet: at('kubelet-2'),
      podLogs: at('pods-2'),
      containerdRun: at('containerd-2'),
      containerdSocket: at('containerd-2', 'c.sock'),
      containerdRoot: at('containerd-root-2'),
    },
  };
}
