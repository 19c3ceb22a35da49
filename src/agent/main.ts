/** The sidecar program: environment → settings → agent → signals. */
import { systemClock } from '../lib/clock.ts';
import { errorText } from '../lib/errors.ts';
import { createLogger, type LogLevel } from '../lib/log.ts';
import { Metrics } from '../lib/metrics.ts';
import { type RunningAgent, startAgent } from './agent.ts';
import { parseSettings, type Settings } from './settings.ts';

/** Set by the build; the sources run as a development version. */
declare const RESULTITY_VERSION: string | undefined;
const VERSION = typeof RESULTITY_VERSION === 'string' ? RESULTITY_VERSION : '0.1.0';

const fail = (what: string, error: unknown): never => {
  createLogger('resultity-agent').fatal({ error: errorText(error) }, what);
  process.exit(1);
};

const readSettings = (): Settings => {
  try {
    return parseSettings(process.env, process.env.RESULTITY_VERSION ?? VERSION);
  } catch (error) {
    return fail('the settings are wrong', error);
  }
};

const main = async (): Promise<void> => {
  const settings = readSettings();
  const logger = createLogger('resultity-agent', settings.logLevel as LogLevel);
  logger.info(
    { version: settings.version, name: settings.name, namespace: settings.namespace, pod: settings.pod.name },
    'resultity-agent starts',
  );
  let agent: RunningAgent | undefined;
  const starting = startAgent({ settings, logger, metrics: new Metrics().collectProcess(), clock: systemClock });
  for (const name of ['SIGTERM', 'SIGINT'] as const)
    process.once(name, () => {
      logger.info({ reason: name }, 'told to stop');
      if (!agent) process.exit(0);
      void agent.stop().catch((error: unknown) => fail('the stop failed', error));
    });
  try {
    agent = await starting;
  } catch (error) {
    return fail('the agent cannot start', error);
  }
  await agent.ended;
  process.exit(0);
};

process.on('unhandledRejection', (error) => fail('an error nobody handled', error));
await main();
