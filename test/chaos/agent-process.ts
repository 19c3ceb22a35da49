/**
 * The agent as a process of its own on a laptop: src/agent/main.ts with other folders than a pod's (env
 * RESULTITY_CHAOS_PATHS, JSON) and no fixed port. It ends when its standard input does, so that it never outlives the driver.
 */
import { parseSettings, startAgent } from '../../src/agent/index.ts';

import { systemClock } from '../../src/lib/clock.ts';
import { createLogger } from '../../src/lib/log.ts';
import { Metrics } from '../../src/lib/metrics.ts';

process.stdin.resume().once('close', () => process.exit(3));
const paths = JSON.parse(process.env.RESULTITY_CHAOS_PATHS ?? '{}');
const settings = parseSettings(process.env, '0.1.0', paths);
const logger = createLogger('resultity-agent', 'info');
const agent = await startAgent({
  settings: { ...settings, port: 0 },
  logger,
  metrics: new Metrics(),
  clock: systemClock,
});
process.once('SIGTERM', () => void agent.stop());
await agent.ended;
process.exit(0);
