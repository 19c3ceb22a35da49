import { hostname } from 'node:os';
import process from 'node:process';
import { FIELD_MANAGER } from '../src/api/contract.ts';
import {
  Election,
  KubeClient,
  kubeMetrics,
  loadConnection,
  Manager,
  serveProfiles,
  terminationSignal,
} from '../src/kube/index.ts';
import { createLogger, errorText, isCoded, Metrics, serveObserved, systemClock } from '../src/lib/index.ts';
import { type Flags, parseFlags } from './flags.ts';
import { operatorMetrics } from './metrics.ts';
import { checkCrds } from './preflight.ts';
import { uninstall } from './uninstall.ts';
import { wire } from './wiring.ts';

/** flags → connection → manager. Ends at SIGTERM with 0, at a lost lease or a failed part with 1, at wrong usage with 2. */
const run = async (flags: Flags, env: NodeJS.ProcessEnv, signal: AbortSignal): Promise<void> => {
  const log = createLogger('resultity-operator', flags['log-level']);
  const clock = systemClock;
  const registry = new Metrics().collectProcess();
  const metrics = kubeMetrics(registry, 'resultity_');
  const connection = await loadConnection({
    env,
    clock,
    kubeconfig: flags.kubeconfig === '' ? undefined : flags.kubeconfig,
    context: flags.context === '' ? undefined : flags.context,
  });
  const client = new KubeClient({
    connection,
    clock,
    metrics,
    fieldManager: FIELD_MANAGER.operator,
    userAgent: 'resultity-operator',
    // A fuse only: the API server's own fairness is the limit, and eight connections.
    qps: 1000,
    burst: 1000,
  });
  try {
    const namespace =
      flags['leader-election-namespace'] === '' ? connection.namespace : flags['leader-election-namespace'];
    if (flags.uninstall !== '')
      return await uninstall(
        client,
        { name: flags.uninstall, namespace },
        flags['watch-namespace'],
        log,
        clock,
        signal,
      );
    if ((await checkCrds(client)) === 'forbidden') log.warn('CRDs cannot be read, so their age is not checked');
    const instance = env.POD_NAME ?? hostname();
    const election = flags['leader-election']
      ? new Election({
          client,
          clock,
          log,
          metrics,
          namespace,
          name: flags['leader-election-name'],
          identity: `${instance}-${crypto.randomUUID().slice(0, 8)}`,
        })
      : undefined;
    const manager = new Manager({ client, clock, log, metrics, election });
    manager.addServer(() =>
      serveObserved(
        {
          metrics: registry,
          alive: () => manager.alive(),
          ready: () => manager.ready(),
          status: () => manager.status(),
        },
        flags['metrics-port'],
      ),
    );
    if (flags['profile-port'] !== 0) manager.addServer(() => serveProfiles(clock, flags['profile-port']));
    const recorder = wire({
      manager,
      client,
      clock,
      log,
      kubeMetrics: metrics,
      metrics: operatorMetrics(registry),
      flags,
      instance,
    });
    log.info({ namespace: flags['watch-namespace'] || 'all', server: connection.server }, 'starting');
    try {
      await manager.run(signal);
    } finally {
      await recorder.close();
    }
  } finally {
    await client.close();
  }
};

/** Reads flags once; everything after this line gets them as a frozen object. */
const main = async (): Promise<number> => {
  try {
    await run(parseFlags(process.argv.slice(2), process.env), process.env, terminationSignal(process));
    return 0;
  } catch (error) {
    process.stderr.write(`resultity-operator: ${errorText(error)}\n`);
    return isCoded(error, 'usage') ? 2 : 1;
  }
};

process.exitCode = await main();
