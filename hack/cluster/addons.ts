import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { cacheDir, writeFileWhole } from '../lib/index.ts';
import type { Admin } from './admin.ts';
import type { Daemon } from './control-plane.ts';
import { BRIDGE_ADDRESS, type Layout, REGISTRY_PORT } from './layout.ts';

/** The registry of the node's loopback (and of the veth address, where the host pushes). Its blobs outlive the cluster. */
export function registry(program: string, layout: Layout): Daemon {
  const root = cacheDir('registry');
  mkdirSync(root, { recursive: true });
  const config = join(layout.stateDir, 'registry.yml');
  writeFileWhole(
    config,
    `version: 0.1
log: { level: warn, accesslog: { disabled: true } }
storage:
  filesystem: { rootdirectory: ${root} }
  delete: { enabled: true }
  maintenance: { uploadpurging: { enabled: true, age: 1h, interval: 1h, dryrun: false } }
http: { addr: ":${REGISTRY_PORT}", secret: development }
`,
  );
  return { name: 'registry', argv: [program, 'serve', config], env: { OTEL_TRACES_EXPORTER: 'none' } };
}

/** Cluster DNS as a program of the node: no image to pull before names resolve. */
export function coreDns(program: string, layout: Layout): Daemon {
  const file = join(layout.stateDir, 'Corefile');
  writeFileWhole(
    file,
    `.:53 {
  bind ${BRIDGE_ADDRESS}
  errors
  kubernetes cluster.local in-addr.arpa ip6.arpa {
    kubeconfig ${layout.paths.pki}/coredns.kubeconfig ${layout.name}
    fallthrough in-addr.arpa ip6.arpa
    ttl 5
  }
  cache 5
}
`,
  );
  return { name: 'coredns', argv: [program, '-conf', file] };
}

/** Simulated nodes: only those that carry the annotation, and the pods on them. */
export const kwok = (program: string, layout: Layout): Daemon => ({
  name: 'kwok',
  argv: [
    program,
    `--kubeconfig=${layout.paths.pki}/kwok.kubeconfig`,
    `--config=${join(import.meta.dirname, 'kwok-stages.yaml')}`,
    '--manage-all-nodes=false',
    '--manage-nodes-with-annotation-selector=kwok.x-k8s.io/node=fake',
    '--node-lease-duration-seconds=40',
    '--server-address=',
  ],
});

const RBAC = '/apis/rbac.authorization.k8s.io/v1';

/** Rights of the programs that are not Kubernetes' own. */
export async function applyAddonRights(admin: Admin): Promise<void> {
  const bind = (name: string, role: string, user: string) =>
    admin.apply(`${RBAC}/clusterrolebindings/${name}`, {
      apiVersion: 'rbac.authorization.k8s.io/v1',
      kind: 'ClusterRoleBinding',
      metadata: { name },
      roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: role },
      subjects: [{ apiGroup: 'rbac.authorization.k8s.io', kind: 'User', name: user }],
    });
  await admin.apply(`${RBAC}/clusterroles/resultity-dev-coredns`, {
    apiVersion: 'rbac.authorization.k8s.io/v1',
    kind: 'ClusterRole',
    metadata: { name: 'resultity-dev-coredns' },
    rules: [
      { apiGroups: [''], resources: ['services', 'namespaces', 'pods', 'endpoints'], verbs: ['list', 'watch'] },
      { apiGroups: ['discovery.k8s.io'], resources: ['endpointslices'], verbs: ['list', 'watch'] },
    ],
  });
  await bind('resultity-dev-coredns', 'resultity-dev-coredns', 'system:coredns');
  await bind('resultity-dev-kube-proxy', 'system:node-proxier', 'system:kube-proxy');
  await bind('resultity-dev-kwok', 'cluster-admin', 'resultity:kwok');
}
