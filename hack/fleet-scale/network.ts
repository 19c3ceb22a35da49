import { spawn } from 'node:child_process';
import { KIND } from '../../operator/kinds.ts';
import type { KubeClient } from '../../src/kube/index.ts';
import { type KitNetwork, networkManifest } from '../../test/support/operator-rig.ts';
import type { Cluster } from '../cluster/index.ts';

/** A relay between two TCP ports, run where the cluster's programs run. */
const RELAY = `
const [from, to, port] = process.argv.slice(1);
const { connect, createServer } = require('node:net');
createServer((a) => {
  const b = connect(port, to);
  for (const [x, y] of [[a, b], [b, a]]) x.on('error', () => y.destroy()).pipe(y);
}).listen(port, from);
`;

/**
 * Makes the ResultityNetwork. Its service is here, in this process, for the driver tells it of its agents; pods reach their
 * node and not this machine, so a relay on the node stands behind a Service. Gives what stops the relay.
 */
export const joinNetwork = async (
  cluster: Cluster,
  client: KubeClient,
  network: KitNetwork,
  namespace: string,
): Promise<() => void> => {
  const { hostname, port } = new URL(network.url);
  const [program = '', ...args] = cluster.wrap([process.execPath, '-e', RELAY, cluster.nodeAddress, hostname, port]);
  const relay = spawn(program, args, { stdio: 'inherit' });
  const host = `network.${namespace}.svc`;
  const metadata = { name: 'network', namespace };
  const ports = [{ name: 'http', port: Number(port), protocol: 'TCP' }];
  const slice = {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: { ...metadata, labels: { 'kubernetes.io/service-name': 'network' } },
    addressType: 'IPv4',
    endpoints: [{ addresses: [cluster.nodeAddress] }],
    ports,
  };
  const service = { apiVersion: 'v1', kind: 'Service', metadata, spec: { ports } };
  await client.raw('POST', `/api/v1/namespaces/${namespace}/services`, { body: service });
  await client.raw('POST', `/apis/discovery.k8s.io/v1/namespaces/${namespace}/endpointslices`, { body: slice });
  const over = { endpoint: `http://${host}:${port}`, tls: { allowInsecureHosts: [host] } };
  await client.create(KIND.network, networkManifest(network, namespace, over) as never);
  return () => relay.kill();
};
