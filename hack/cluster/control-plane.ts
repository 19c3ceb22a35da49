import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { writeFileWhole } from '../lib/index.ts';
import { API_SERVICE_ADDRESS, BRIDGE_ADDRESS, type Layout, POD_CIDR, peerOf, SERVICE_CIDR } from './layout.ts';
import { kubeconfigOf, type Subject, writePki } from './pki.ts';
import type { Profile } from './state.ts';

/** Addresses of the control plane, which differ between the namespaces (fixed ports) and the host (free ports). */
export interface ControlPlaneAddresses {
  /** Where the host reaches the API server. */
  readonly server: string;
  /** Where the cluster's own programs reach it. */
  readonly innerServer: string;
  readonly bind: string;
  readonly port: number;
  readonly advertise: string;
  readonly etcdClient: string;
  readonly etcdPeer: string;
}

/** A program to run in the background. */
export interface Daemon {
  readonly name: string;
  readonly argv: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
}

export const USERS = ['admin', 'kcm', 'scheduler', 'kubelet', 'kubelet-2', 'proxy', 'coredns', 'kwok'] as const;

export async function writeControlPlaneFiles(layout: Layout, addresses: ControlPlaneAddresses): Promise<void> {
  const { pki, kubeconfig } = layout.paths;
  const subjects: Subject[] = [
    {
      file: 'apiserver',
      name: 'kube-apiserver',
      dns: [
        'localhost',
        'kubernetes',
        'kubernetes.default',
        'kubernetes.default.svc',
        'kubernetes.default.svc.cluster.local',
      ],
      ips: ['127.0.0.1', API_SERVICE_ADDRESS, BRIDGE_ADDRESS, layout.nodeAddress],
    },
    { file: 'admin', name: 'admin', organization: 'system:masters' },
    { file: 'kcm', name: 'system:kube-controller-manager' },
    { file: 'scheduler', name: 'system:kube-scheduler' },
    ...[layout, peerOf(layout)].map(({ suffix, nodeName, nodeAddress }) => ({
      file: `kubelet${suffix}`,
      name: `system:node:${nodeName}`,
      organization: 'system:nodes',
      dns: [nodeName],
      ips: [nodeAddress, '127.0.0.1'],
    })),
    { file: 'proxy', name: 'system:kube-proxy' },
    { file: 'coredns', name: 'system:coredns' },
    { file: 'kwok', name: 'resultity:kwok' },
  ];
  await writePki(pki, subjects);
  for (const user of USERS) {
    writeFileWhole(join(pki, `${user}.kubeconfig`), kubeconfigOf(pki, user, addresses.innerServer, layout.name), 0o600);
  }
  writeFileWhole(kubeconfig, kubeconfigOf(pki, 'admin', addresses.server, layout.name), 0o600);
  // Metadata only: tests read who did what, and no Secret gets into a log.
  writeFileWhole(
    join(pki, 'audit-policy.yaml'),
    'apiVersion: audit.k8s.io/v1\nkind: Policy\nomitStages: [RequestReceived]\nrules:\n- level: Metadata\n',
  );
}

export function etcd(program: string, layout: Layout, addresses: ControlPlaneAddresses): Daemon {
  return {
    name: 'etcd',
    argv: [
      program,
      `--data-dir=${layout.paths.etcd}`,
      `--listen-client-urls=${addresses.etcdClient}`,
      `--advertise-client-urls=${addresses.etcdClient}`,
      `--listen-peer-urls=${addresses.etcdPeer}`,
      `--initial-advertise-peer-urls=${addresses.etcdPeer}`,
      `--initial-cluster=default=${addresses.etcdPeer}`,
      '--unsafe-no-fsync', // a development cluster does not outlive its machine
      '--log-level=warn',
    ],
  };
}

export function apiServer(program: string, layout: Layout, addresses: ControlPlaneAddresses): Daemon {
  const { pki, audit } = layout.paths;
  return {
    name: 'kube-apiserver',
    argv: [
      program,
      `--etcd-servers=${addresses.etcdClient}`,
      `--bind-address=${addresses.bind}`,
      `--secure-port=${addresses.port}`,
      `--advertise-address=${addresses.advertise}`,
      `--tls-cert-file=${pki}/apiserver.crt`,
      `--tls-private-key-file=${pki}/apiserver.key`,
      `--client-ca-file=${pki}/ca.crt`,
      `--service-account-key-file=${pki}/sa.pub`,
      `--service-account-signing-key-file=${pki}/sa.key`,
      '--service-account-issuer=https://kubernetes.default.svc',
      `--service-cluster-ip-range=${SERVICE_CIDR}`,
      '--authorization-mode=Node,RBAC',
      '--enable-admission-plugins=NodeRestriction',
      '--allow-privileged=true', // as every cluster has it; the namespaces' Pod Security level decides
      `--kubelet-certificate-authority=${pki}/ca.crt`,
      `--kubelet-client-certificate=${pki}/admin.crt`,
      `--kubelet-client-key=${pki}/admin.key`,
      '--kubelet-preferred-address-types=InternalIP',
      `--audit-policy-file=${pki}/audit-policy.yaml`,
      `--audit-log-path=${audit}`,
      '--audit-log-maxsize=100',
      '--audit-log-maxbackup=2',
    ],
  };
}

export function controllerManager(program: string, layout: Layout, port: number, profile: Profile): Daemon {
  const { pki } = layout.paths;
  return {
    name: 'kube-controller-manager',
    argv: [
      program,
      `--kubeconfig=${pki}/kcm.kubeconfig`,
      `--root-ca-file=${pki}/ca.crt`,
      `--service-account-private-key-file=${pki}/sa.key`,
      '--use-service-account-credentials',
      '--bind-address=127.0.0.1',
      `--secure-port=${port}`,
      '--allocate-node-cidrs',
      `--cluster-cidr=${POD_CIDR}`,
      // Where all machines are simulated there may be thousands; no pod of theirs has an address.
      ...(profile === 'node' ? [] : ['--node-cidr-mask-size=28']),
      '--leader-elect=false',
      `--cluster-signing-cert-file=${pki}/ca.crt`,
      `--cluster-signing-key-file=${pki}/ca.key`,
    ],
  };
}

export function scheduler(program: string, layout: Layout, port: number): Daemon {
  return {
    name: 'kube-scheduler',
    argv: [
      program,
      `--kubeconfig=${layout.paths.pki}/scheduler.kubeconfig`,
      '--bind-address=127.0.0.1',
      `--secure-port=${port}`,
      '--leader-elect=false',
      // By default it binds 50 pods a second: fewer than an operator makes.
      '--kube-api-qps=1000',
      '--kube-api-burst=1000',
    ],
  };
}

/** The last lines of a program's log, for an error that says why it is not there. */
export function logTail(layout: Layout, name: string, lines = 8): string {
  try {
    return readFileSync(join(layout.paths.logs, `${name}.log`), 'utf8')
      .trimEnd()
      .split('\n')
      .slice(-lines)
      .join('\n');
  } catch {
    return '(no log)';
  }
}
