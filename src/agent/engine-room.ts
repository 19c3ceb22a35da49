import { join } from 'node:path';
import type { ModelEntry } from '../config/index.ts';
import { EngineGuard } from './engine-guard.ts';
import { EngineLoader } from './engine-loader.ts';
import type { AgentOptions, Ground } from './ground.ts';
import { Surroundings } from './isolation.ts';
import { LoadTimes } from './load-times.ts';

export interface EngineRoomPorts {
  /** The port that the agent listens on: the runtime must not reach it. */
  readonly port: () => number;
  /** The model in the engine that passed its test. */
  readonly tested: () => ModelEntry | null;
  readonly firstTokenMs: () => number;
  readonly record: (kind: string, data: Record<string, unknown>) => void;
  readonly onChange: () => void;
  readonly onError: (code: string, message: string) => void;
}

/** Who loads the engine and proves its prison, and who sees whether it still works. */
export const engineRoom = ({ settings, logger, clock }: AgentOptions, ground: Ground, ports: EngineRoomPorts) => {
  const { link, watch, engine, metrics } = ground;
  const { network, pod, apiServer, paths, isolation } = settings;
  const { record, onChange, onError, firstTokenMs } = ports;
  const around = new Surroundings();
  const loader = new EngineLoader({
    link,
    watch,
    engine,
    isolation,
    probeTargets: () =>
      around.targets({
        apiServer,
        endpoint: network.endpoint,
        proxy: network.proxy,
        podIp: pod.ip,
        agentPort: ports.port(),
      }),
    agentPort: ports.port,
    times: new LoadTimes(join(paths.state, 'load-times.json')),
    clock,
    logger,
    metrics,
    record,
    onChange,
  });
  const guard = new EngineGuard({
    watch,
    engine,
    restart: () => loader.restart(),
    question: () => {
      const model = ports.tested();
      return model && { ref: model.ref, request: model.test.request };
    },
    firstTokenMs,
    clock,
    logger,
    metrics,
    record,
    onError,
  });
  return { loader, guard };
};
