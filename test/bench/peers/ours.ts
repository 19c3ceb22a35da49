/**
 * The other side of `npm run bench -- --only peer`: what controller-runtime/main.go does, with src/kube. Each Stamp gets one
 * ConfigMap of its name that carries spec.stamp, and one status write. `CONNECTION NAMESPACE WORKERS` on the command line;
 * the connection as JSON, for in a pod no kubeconfig is read and the heavy library for that is not loaded either.
 */
import {
  Applier,
  Controller,
  done,
  fixedConnection,
  KubeClient,
  kubeMetrics,
  Manager,
  objects,
  ownerReference,
  owns,
  specChanged,
  terminationSignal,
} from '../../../src/kube/index.ts';
import { createLogger, Metrics, systemClock } from '../../../src/lib/index.ts';
import type { ApiServer } from '../../support/api-server.ts';
import { configMaps, stamps } from './stamps.ts';

const [reach = '', namespace = '', workers = '1'] = process.argv.slice(2);
const { url, admin } = JSON.parse(reach) as Pick<ApiServer, 'url' | 'admin'>;
const clock = systemClock;
const log = createLogger('stamps', 'warn');
const metrics = kubeMetrics(new Metrics());
const client = new KubeClient({
  connection: fixedConnection(url, admin),
  clock,
  metrics,
  fieldManager: 'stamps',
  qps: 0,
});
const manager = new Manager({ client, clock, log, metrics });
const parents = manager.cache(stamps, { namespace });
const children = manager.cache(configMaps, { namespace, labelSelector: 'bench=stamps' });
const applier = new Applier({ client, fieldManager: 'stamps', metrics });

manager.add(
  new Controller({
    name: 'stamps',
    clock,
    log,
    metrics,
    concurrency: Number(workers),
    sources: [objects(parents, specChanged), owns(children, stamps)],
    reconcile: async (key, { wrote, signal }) => {
      const stamp = parents.get(key);
      if (!stamp) return done;
      const { name = '' } = stamp.metadata ?? {};
      const text = stamp.spec?.stamp ?? '';
      const { object: child, sent } = await applier.apply(
        children,
        {
          metadata: { name, namespace, labels: { bench: 'stamps' }, ownerReferences: [ownerReference(stamps, stamp)] },
          data: { stamp: text },
        },
        { signal },
      );
      if (sent) wrote(children, child);
      if (stamp.status?.stamp === text) return done;
      const status = await applier.applyStatus(
        parents,
        { metadata: { name, namespace }, status: { stamp: text } },
        { signal },
      );
      if (status.sent) wrote(parents, status.object);
      return done;
    },
  }),
);
await manager.run(terminationSignal(process));
await client.close();
