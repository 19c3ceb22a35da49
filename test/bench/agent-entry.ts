/** The agent as its own program, with other folders than a pod's (RESULTITY_BENCH_PATHS, JSON) and any port: for the bench. */
import { parseSettings, startAgent } from '../../src/agent/index.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { createLogger } from '../../src/lib/log.ts';
import { Metrics } from '../../src/lib/metrics.ts';

process.stdin.resume().once('close', () => process.exit(0));
const settings = parseSettings(process.env, '0.1.0', JSON.parse(process.env.RESULTITY_BENCH_PATHS ?? '{}'));
await startAgent({
  settings: { ...settings, port: 0 },
  logger: createLogger('resultity-agent', 'error'),
  metrics: new Metrics().collectProcess(),
  clock: systemClock,
});
