/**
 * kube: a small controller runtime. It knows no word of this project and could be lifted out.
 *
 * Reading order: types (objects, keys, resource types), builtin → errors → kubeconfig (how to reach a cluster) → transport and
 * client (calls) → watcher (list and watch as a state machine) → store (the cache), optional (of a kind that may be
 * missing) → queue (what is due) with fair (turns over flows) → sources → controller (reconciles) → apply, expectations, finalizer, events (what reconciles use) → lease, manager (life and order)
 * → metrics, profile. timing, limiter and fingerprint are small helpers.
 *
 * Invariants: a key is never reconciled twice at once; a change that comes while it runs leads to one more turn; a cache
 * shows whole lists only and never goes on after 410 without one; a watch never gives up; a steady state sends no writes;
 * without the lease nothing is written.
 *
 * A whole controller, that keeps a ConfigMap beside each Widget:
 *
 *     const metrics = kubeMetrics(registry);
 *     const connection = await loadConnection({ env, clock: systemClock });
 *     const client = new KubeClient({ connection, metrics, fieldManager: 'widgets' });
 *     const election = new Election({ client, clock, log, namespace: connection.namespace, name: 'widgets', identity });
 *     const manager = new Manager({ client, clock, log, metrics, election });
 *     manager.addServer(() => serveObserved({ metrics: registry, alive: () => manager.alive(), ready: () => manager.ready() }, 8080));
 *
 *     const widgets = manager.cache(widgetType);
 *     const maps = manager.cache(configMapType, { labelSelector: 'app.kubernetes.io/managed-by=widgets' });
 *     const applier = new Applier({ client, fieldManager: 'widgets', metrics });
 *
 *     manager.add(
 *       new Controller({
 *         name: 'widget', clock, log, metrics, concurrency: 4,
 *         sources: [objects(widgets, specChanged), owns(maps, widgetType)],
 *         reconcile: async (key, { wrote, signal }) => {
 *           const widget = widgets.get(key);                       // gather
 *           if (!widget) { applier.forget(configMapType, key); return done; }
 *           const intent = {                                       // decide
 *             metadata: { name: widget.metadata.name, namespace: widget.metadata.namespace,
 *               labels: { 'app.kubernetes.io/managed-by': 'widgets' }, ownerReferences: [ownerReference(widgetType, widget)] },
 *             data: { colour: widget.spec.colour },
 *           };
 *           const { object, sent } = await applier.apply(maps, intent, { signal });   // apply
 *           if (sent) wrote(maps, object);
 *           return done;
 *         },
 *       }),
 *     );
 *     await manager.run(terminationSignal(process));
 */
export * from './apply.ts';
export * from './builtin.ts';
export * from './client.ts';
export * from './controller.ts';
export * from './errors.ts';
export * from './events.ts';
export * from './finalizer.ts';
export { fingerprint, stableJson } from './fingerprint.ts';
export * from './kubeconfig.ts';
export * from './lease.ts';
export * from './manager.ts';
export * from './metrics.ts';
export { serveProfiles } from './profile.ts';
export * from './queue.ts';
export * from './sources.ts';
export * from './store.ts';
export type { Lane, Verb } from './transport.ts';
export * from './types.ts';
export * from './watcher.ts';
