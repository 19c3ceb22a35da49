/**
 * The agent as a process of its own on a laptop: src/agent/main.ts with other folders than a pod's (env
 * RESULTITY_CHAOS_PATHS, JSON), no fixed port, and failpoints in its journal, armed by lines on its standard input. It ends
 * when that does, so that it never outlives the driver.
 */
import { parseSettings, startAgent } from '../../src/agent/index.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { createLogger } from '../../src/lib/log.ts';
import { Metrics } from '../../src/lib/metrics.ts';
import { Failpoints, journalWithFailpoints } from './failpoints.ts';

const points = new Failpoints(() => process.kill(process.pid, 'SIGKILL'));
points.listen(process.stdin);
process.stdin.once('close', () => process.exit(3));
const paths = JSON.parse(process.env.RESULTITY_CHAOS_PATHS ?? '{}');
const settings = parseSettings(process.env, '0.1.0', paths);
const agent = await startAgent({
  settings: { ...settings, port: 0 },
  logger: createLogger('resultity-agent', 'info'),
  metrics: new Metrics(),
  clock: systemClock,
  wrapJournal: journalWithFailpoints(points),
});
process.once('SIGTERM', () => void agent.stop());
await agent.ended;
process.exit(0);
