import { spawn } from 'node:child_process';
import { closeSync, existsSync, mkdirSync, openSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  type ExecOptions,
  type ExecResult,
  exec,
  execOk,
  isSameProcess,
  killProcess,
  type ProcessRef,
  processRef,
} from '../lib/index.ts';
import { BRIDGE, type Layout, PEER_GATEWAY, PEER_LINK } from './layout.ts';

/** Where the cluster's programs run: namespaces of their own, or the host itself. */
export interface Site {
  /** Starts a long-running program in the background; what it prints goes to `log/<name>.log` of the state folder. */
  start(name: string, argv: readonly string[], env?: Readonly<Record<string, string>>): Promise<ProcessRef>;
  /** Runs a program to its end where the cluster's programs run. */
  exec(argv: readonly string[], options?: ExecOptions): Promise<ExecResult>;
  /** The argv that runs `argv` there, for callers that spawn themselves. */
  wrap(argv: readonly string[]): string[];
}

/** On the host, as whoever we are: the control plane alone. */
export function hostSite(layout: Layout): Site {
  return {
    wrap: (argv) => [...argv],
    exec: (argv, options) => exec(argv, options),
    start: (name, argv, env) => startDetached(layout, name, argv, env),
  };
}

async function startDetached(
  layout: Layout,
  name: string,
  argv: readonly string[],
  env?: Readonly<Record<string, string>>,
): Promise<ProcessRef> {
  const [file, ...args] = argv;
  if (!file) throw new Error(`${name}: empty command`);
  mkdirSync(layout.paths.logs, { recursive: true });
  const log = openSync(join(layout.paths.logs, `${name}.log`), 'a');
  try {
    const child = spawn(file, args, { detached: true, stdio: ['ignore', log, log], env: { ...process.env, ...env } });
    await new Promise((resolve, reject) => child.once('spawn', resolve).once('error', reject));
    child.unref();
    if (child.pid === undefined) throw new Error(`${name} did not start`);
    return processRef(child.pid);
  } finally {
    closeSync(log);
  }
}

/**
 * Makes the namespaces: one process in mount, network and PID namespaces of its own. It is PID 1 in there, so when it
 * is killed the kernel ends every other process in them, and with the last one go the mounts, the bridge, the nft
 * rules and the pods' network namespaces. Returns that process, as the host sees it.
 */
export async function startHolder(layout: Layout, pause: string): Promise<ProcessRef> {
  const unshare = await startDetached(layout, `holder${layout.suffix}`, [
    ...['unshare', '--mount', '--net', '--pid', '--fork', '--mount-proc', '--propagation', 'private', '--kill-child'],
    ...['--', pause, 'resultity-holder', layout.stateDir],
  ]);
  for (let attempt = 0; attempt < 100; attempt++) {
    const child = holderOf(layout, unshare.pid);
    if (child) return child;
    if (!isSameProcess(unshare)) break;
    await sleep(20);
  }
  const log = readFileSync(join(layout.paths.logs, `holder${layout.suffix}.log`), 'utf8').trim();
  throw new Error(`could not make namespaces: ${log || 'unshare did not start its child'}`);
}

const isHolder = (layout: Layout, pid: number): boolean => {
  try {
    const argv = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
    return argv[1] === 'resultity-holder' && argv[2] === layout.stateDir;
  } catch {
    return false;
  }
};

function holderOf(layout: Layout, unsharePid: number): ProcessRef | undefined {
  try {
    const children = readFileSync(`/proc/${unsharePid}/task/${unsharePid}/children`, 'utf8').trim().split(/\s+/);
    const pid = children.map(Number).find((child) => child > 0 && isHolder(layout, child));
    return pid === undefined ? undefined : processRef(pid);
  } catch {
    return undefined;
  }
}

/** Holders of this state folder that still run, found by their own command line: what a killed `up` left. */
export function findHolders(layout: Layout): ProcessRef[] {
  return readdirSync('/proc')
    .map(Number)
    .filter((pid) => pid > 0 && isHolder(layout, pid))
    .flatMap((pid) => {
      try {
        return [processRef(pid)];
      } catch {
        return [];
      }
    });
}

/** A site inside the holder's namespaces. Programs become children of its PID 1, which reaps them. */
export function namespaceSite(layout: Layout, holder: ProcessRef): Site {
  const wrap = (argv: readonly string[]): string[] => [
    ...['nsenter', '-t', String(holder.pid), '-m', '-n', '-p', '--'],
    ...argv,
  ];
  const alive = () => {
    if (!isSameProcess(holder))
      throw new Error(`cluster ${layout.name}: its namespaces are gone (holder ${holder.pid})`);
  };
  return {
    wrap,
    exec: (argv, options) => {
      alive();
      return exec(wrap(argv), options);
    },
    async start(name, argv, env) {
      alive();
      mkdirSync(layout.paths.logs, { recursive: true });
      const log = join(layout.paths.logs, `${name}.log`);
      // The shell ends at once, so the program's parent is the namespace's PID 1 and nothing of it is left outside.
      const out = await execOk(
        wrap(['sh', '-c', 'log=$1; shift; setsid "$@" >>"$log" 2>&1 </dev/null & echo $!', 'start', log, ...argv]),
        { env: { ...process.env, ...env } },
      );
      return hostPidOf(holder, Number(out.trim()));
    },
  };
}

/** The host's view of a process in the holder's PID namespace. */
function hostPidOf(holder: ProcessRef, inner: number): ProcessRef {
  for (const entry of readdirSync('/proc')) {
    const pid = Number(entry);
    if (!(pid > 0)) continue;
    try {
      const status = readFileSync(`/proc/${pid}/status`, 'utf8');
      const ids = /^NSpid:\s+(.*)$/m.exec(status)?.[1]?.split(/\s+/).map(Number) ?? [];
      if (ids.length < 2 || ids.at(-1) !== inner) continue;
      const parent = Number(/^PPid:\s+(\d+)$/m.exec(status)?.[1]);
      if (parent === holder.pid) return processRef(pid);
    } catch {
      // ended while we looked
    }
  }
  throw new Error('the program ended as soon as it was started; its log says why');
}

/** Prepares fresh namespaces: tmpfs where programs have hard-coded paths, and the pods' bridge. */
async function furnish(layout: Layout, site: Site): Promise<void> {
  const script = `
    set -e
    mount --make-rshared /
    for d in /run /var/lib /var/log; do mount -t tmpfs -o mode=0755 tmpfs $d; done
    mkdir -p /run/lock
    ip link set lo up
    ip link add ${BRIDGE} type bridge
    ip addr add ${layout.bridgeAddress}/24 dev ${BRIDGE}
    ip link set ${BRIDGE} up
    echo 1 > /proc/sys/net/ipv4/ip_forward
    # pods on one bridge reach each other through a Service only when bridged packets pass nftables
    if [ -e /proc/sys/net/bridge/bridge-nf-call-iptables ]; then echo 1 > /proc/sys/net/bridge/bridge-nf-call-iptables; fi`;
  await site.exec(['sh', '-c', script]).then(mustSucceed('preparing the namespaces'));
}

/** Gives the node its way out by `gateway`, the other end of its one link. */
async function bringUpLink(layout: Layout, site: Site, gateway: string): Promise<void> {
  const script = `
    set -e
    ip addr add ${layout.nodeAddress}/30 dev eth0
    ip link set eth0 up
    ip route add default via ${gateway}`;
  await site.exec(['sh', '-c', script]).then(mustSucceed('preparing the node’s link'));
}

/** Prepares the first node's namespaces, tied to the host. */
export async function prepareNamespaces(layout: Layout, holder: ProcessRef, site: Site): Promise<void> {
  await furnish(layout, site);
  await execOk([
    ...['ip', 'link', 'add', layout.hostLink, 'type', 'veth'],
    ...['peer', 'name', 'eth0', 'netns', String(holder.pid)],
  ]);
  await execOk(['ip', 'addr', 'add', `${layout.hostAddress}/30`, 'dev', layout.hostLink]);
  await execOk(['ip', 'link', 'set', layout.hostLink, 'up']);
  await bringUpLink(layout, site, layout.hostAddress);
}

/** Prepares the second node's namespaces, tied to those of the first (`first`), not to the host. */
export async function preparePeer(peer: Layout, holder: ProcessRef, site: Site, first: ProcessRef): Promise<void> {
  await furnish(peer, site);
  await execOk([
    ...['nsenter', '-t', String(first.pid), '-n', '--'], // its network alone: the pid below is the host's
    ...['ip', 'link', 'add', PEER_LINK, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', String(holder.pid)],
  ]);
  await execOk([
    ...['nsenter', '-t', String(first.pid), '-n', '--'],
    ...['ip', 'addr', 'add', `${PEER_GATEWAY}/30`, 'dev', PEER_LINK],
  ]);
  await bringUpLink(peer, site, PEER_GATEWAY);
}

/** Joins the second node to the first, or cuts it off as a pulled cable would; both ways, until it is joined again. */
export async function setPeerLink(peer: Layout, firstSite: Site, joined: boolean): Promise<void> {
  const script = joined
    ? `ip link set ${PEER_LINK} up && ip route replace ${peer.podCidr} via ${peer.nodeAddress}`
    : `ip link set ${PEER_LINK} down`;
  await firstSite.exec(['sh', '-c', script]).then(mustSucceed('the link of the second node'));
}

export const mustSucceed =
  (what: string) =>
  (result: ExecResult): ExecResult => {
    if (result.code !== 0) throw new Error(`${what}: ${(result.stderr || result.stdout).trim()}`);
    return result;
  };

/** Ends the namespaces and with them everything inside. */
export async function killHolder(holder: ProcessRef): Promise<void> {
  await killProcess(holder, 0);
}

/** Removes the host's end of the veth pair when it is there. The kernel does so too, a moment after the namespace is gone. */
export async function removeHostLink(layout: Layout): Promise<void> {
  if (existsSync(`/sys/class/net/${layout.hostLink}`)) await exec(['ip', 'link', 'del', layout.hostLink]);
}
