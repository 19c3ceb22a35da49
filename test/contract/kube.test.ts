import { fixedConnection, resource } from '../../src/kube/index.ts';
import { ApiDouble } from '../support/api-double.ts';
import { startApiServer } from '../support/api-server.ts';
import { until } from '../support/until.ts';
import { kubeContract } from './kube.contract.ts';

kubeContract('the double', async () => {
  const double = await ApiDouble.start();
  const type = resource({ group: '', version: 'v1', plural: 'configmaps', kind: 'ConfigMap' });
  const aged = async (): Promise<typeof type> => {
    double.compact();
    return type;
  };
  return { connection: double.connection, aged, stop: () => double.stop() };
});

kubeContract('a real API server', async () => {
  const server = await startApiServer();
  const type = resource({ group: 'example.com', version: 'v1', plural: 'agings', kind: 'Aging' });
  /** The server's cache of a new kind begins now, so it knows nothing of version 1. */
  const aged = async (): Promise<typeof type> => {
    const schema = { openAPIV3Schema: { type: 'object' } };
    await server.call('POST', '/apis/apiextensions.k8s.io/v1/customresourcedefinitions', {
      apiVersion: 'apiextensions.k8s.io/v1',
      kind: 'CustomResourceDefinition',
      metadata: { name: 'agings.example.com' },
      spec: {
        group: 'example.com',
        scope: 'Namespaced',
        names: { plural: 'agings', kind: 'Aging' },
        versions: [{ name: 'v1', served: true, storage: true, schema }],
      },
    });
    await until('the new kind', async () => (await server.call('GET', '/apis/example.com/v1/agings')).status === 200);
    return type;
  };
  return { connection: fixedConnection(server.url, server.admin), aged, stop: () => server.stop() };
});
