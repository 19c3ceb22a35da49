import { RUNTIME_READY_PATH } from '../api/contract.ts';
import { CodedError } from '../lib/errors.ts';
import { serveObserved } from '../lib/observe.ts';
import { ErrorLog } from './error-log.ts';
import { finishWork } from './finish.ts';
import { type AgentOptions, layGround } from './ground.ts';
import type { NodeView } from './node-view.ts';
import { notReady, statuszOf } from './observed.ts';
import { wire } from './wiring.ts';

export interface RunningAgent {
  /** The node's address. */
  readonly node: `0x${string}`;
  readonly port: number;
  view(): NodeView;
  /** Resolves when the agent ended by itself (an order of the network, or a stop). */
  readonly ended: Promise<void>;
  /** SIGTERM: stop accepting → finish or job.lost → bye → all loops over. */
  stop(): Promise<void>;
  /** Ends at once, as a crash would: nothing is finished and nobody is told. For tests. */
  kill(): Promise<void>;
}

/** Opens the ground, wires the parts, starts their loops. @throws CodedError when it cannot even begin (key, trust, journal) */
export const startAgent = async (options: AgentOptions): Promise<RunningAgent> => {
  const { settings, logger, clock } = options;
  const over = new AbortController();
  const { signal } = over;
  const errors = new ErrorLog();
  let observed: Awaited<ReturnType<typeof serveObserved>> | undefined;
  const ground = await layGround(options, (message) => errors.add('record_lost', message, clock.now()));
  const late = { port: () => observed?.port ?? settings.port, shutdown: () => void stop() };
  const parts = await wire(options, ground, errors, late, signal);
  const { record, watch, annotations } = ground;
  const { config, results, jobs, drain, manager, heartbeats, connection, status, view, obeyOrders, firstFloor } = parts;
  const write = (kind: string, data: Record<string, unknown>): void => record.write(kind, data);
  record.unreceipted = () => results.jobIds;
  const unwatch = watch.onChange(parts.changesOfEngine);

  const guard = (name: string, loop: Promise<unknown>): Promise<void> =>
    loop.then(
      () => {},
      (error: unknown) => {
        if (!signal.aborted) logger.error({ error, reason: name }, 'a loop of the agent ended');
      },
    );
  observed = await serveObserved(
    {
      metrics: options.metrics,
      ready: () => notReady({ manager, connection, drain }),
      status: () => statuszOf(view(), jobs, results, heartbeats),
      checks: {
        // Asked right after a container's start, when the last look may still show the engine before it.
        [RUNTIME_READY_PATH]: async () => {
          await watch.look();
          return manager.serving ? undefined : 'the engine is not ready or not tested';
        },
      },
    },
    settings.port,
  );
  const { port } = observed;
  logger.info({ port }, 'launcher in place, watching the runtime');
  write('agent.started', { version: settings.version, bootId: ground.bootId });
  const loops = [
    guard('annotations', annotations.run(clock, signal, obeyOrders)),
    guard('engine', watch.run(signal)),
    guard('engine-guard', parts.guard.run(signal)),
    guard('models', manager.run(signal)),
    guard('jobs', jobs.run(signal)),
    guard('heartbeats', heartbeats.run(signal)),
    guard('record', record.run(signal)),
    guard('survey', parts.survey()),
    guard('connection', parts.connect()),
    guard(
      'configuration',
      firstFloor.then(() => config.refresh(signal)).then(() => config.run(signal)),
    ),
    ...(status ? [guard('status', status.run(signal))] : []),
  ];

  let finished: () => void = () => {};
  const ended = new Promise<void>((resolve) => {
    finished = resolve;
  });
  let closing: Promise<void> | null = null;
  const close = (): Promise<void> => {
    closing ??= closeAll();
    return closing;
  };
  const closeAll = async (): Promise<void> => {
    unwatch();
    over.abort(new CodedError('stopped', 'the agent stops'));
    connection.close();
    await Promise.all(loops);
    await observed?.close();
    await ground.close();
    finished();
  };
  let stopping: Promise<void> | null = null;
  const stop = (): Promise<void> => {
    stopping ??= (async () => {
      await finishWork({ settings, clock, link: ground.link, watch, annotations, drain, connection });
      write('agent.stopped', {});
      logger.info('the agent stops');
      await close();
    })();
    return stopping;
  };
  return { node: ground.node, port, view, ended, stop, kill: close };
};
