import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { KubeClient } from '../../src/kube/index.ts';
import { collectionPath, renderChart } from '../../test/support/chart.ts';
import { cacheDir, writeFileWhole } from '../lib/index.ts';

const SYSTEM = 'resultity-system';
const NAMESPACED = ['ServiceAccount', 'Role', 'RoleBinding'];
const WANTED = [
  'CustomResourceDefinition',
  'ClusterRole',
  'ClusterRoleBinding',
  'ValidatingAdmissionPolicy',
  'ValidatingAdmissionPolicyBinding',
  ...NAMESPACED,
];

/**
 * What the chart installs but its workloads: kinds, accounts, rights, admission policies; and the nodes' namespace. Gives the
 * kubeconfig of the operator's own account.
 */
export const installChart = async (client: KubeClient, nodes: string): Promise<string> => {
  for (const name of [SYSTEM, nodes])
    await client.raw('POST', '/api/v1/namespaces', {
      body: { apiVersion: 'v1', kind: 'Namespace', metadata: { name } },
    });
  let account = '';
  for (const object of await renderChart('operator.allowedRepositories={registry.example}')) {
    if (!WANTED.includes(object.kind) || object.metadata.annotations?.['helm.sh/hook'] !== undefined) continue;
    const namespace = NAMESPACED.includes(object.kind) ? SYSTEM : undefined;
    await client.raw('POST', collectionPath(object, namespace), { body: object });
    if (object.kind === 'ServiceAccount') account = object.metadata.name;
  }
  await sleep(2_000); // until the new kinds are served
  const grant = (await client.raw('POST', `/api/v1/namespaces/${SYSTEM}/serviceaccounts/${account}/token`, {
    body: { apiVersion: 'authentication.k8s.io/v1', kind: 'TokenRequest', spec: { expirationSeconds: 7200 } },
  })) as { status: { token: string } };
  const { ca = '' } = await client.connection.tls();
  const named = { name: 'operator' };
  const file = join(cacheDir('scale'), 'operator.kubeconfig');
  const text = JSON.stringify({
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [
      {
        ...named,
        cluster: {
          server: client.connection.server,
          'certificate-authority-data': Buffer.from(ca).toString('base64'),
        },
      },
    ],
    users: [{ ...named, user: { token: grant.status.token } }],
    contexts: [{ ...named, context: { cluster: 'operator', user: 'operator', namespace: SYSTEM } }],
    'current-context': 'operator',
  });
  writeFileWhole(file, text, 0o600);
  return file;
};
