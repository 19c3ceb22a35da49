import { type DestinationStream, type Logger, pino } from 'pino';
import { errorText } from './errors.ts';

export type { Logger } from 'pino';

export type LogLevel = 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'fatal' | 'silent';

/**
 * The program's root logger: one JSON event a line on stdout, ISO time, level by name.
 * Keys with a fixed meaning: controller, key, reason, attempt, ms, node, job, error. Prompts, outputs and keys are never logged.
 */
export const createLogger = (program: string, level: LogLevel = 'info', destination?: DestinationStream): Logger =>
  pino(
    {
      level,
      base: { program },
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      serializers: { error: (e: unknown) => errorText(e), err: (e: unknown) => errorText(e) },
    },
    destination ?? pino.destination({ dest: 1, sync: true }),
  );
