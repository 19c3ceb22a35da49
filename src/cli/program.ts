import { readFile } from 'node:fs/promises';
import { type Command, CommanderError, InvalidArgumentError } from 'commander';
import { type Clock, CodedError, errorText, isCoded } from '../lib/index.ts';

/** Where a command reads and writes: handed in, so that a test needs no process. */
export interface Io {
  readonly out: (line: string) => void;
  readonly err: (line: string) => void;
  readonly stdin: () => Promise<string>;
  /** Paint for people; false in pipes and where NO_COLOR is set. */
  readonly color: boolean;
  readonly now: () => number;
  readonly signal?: AbortSignal | undefined;
  /** For the kubeconfig: KUBECONFIG, HOME. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** Where waiting is timed; the system's when left out. */
  readonly clock?: Clock;
  /** Between two looks at the cluster, in ms; default 1000. */
  readonly pollMs?: number;
  /** Clear the terminal before the next picture; absent where there is no terminal. */
  readonly clear?: () => void;
}

/** A command that did its work and has to say no: the process ends with 1. The lines are already written. */
export class SaidNo extends Error {}

/** What a person wrote cannot be meant: exit 2. */
export class UsageError extends CodedError<'usage'> {
  constructor(message: string) {
    super('usage', message);
    this.name = 'UsageError';
  }
}

/** A file that the command line names. @throws UsageError */
export const readNamedFile = async (path: string, what: string): Promise<string> => {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    throw new UsageError(`${what} ${path} cannot be read (${errorText(error)})`);
  }
};

export const parseTime = (text: string): number => {
  const iso = /^\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:\d\d)?)?$/.test(text);
  const ms = iso ? Date.parse(text) : Number.NaN;
  if (!Number.isSafeInteger(ms)) throw new InvalidArgumentError('write a time like 2026-11-21T10:00:00Z.');
  return ms;
};

export const parseFloor = (text: string): { epoch: number; version: number } => {
  const match = /^(\d{1,16}),(\d{1,16})$/.exec(text);
  const epoch = Number(match?.[1]);
  const version = Number(match?.[2]);
  if (!Number.isSafeInteger(epoch) || !Number.isSafeInteger(version))
    throw new InvalidArgumentError('write EPOCH,VERSION, for example 1,41.');
  return { epoch, version };
};

/**
 * Runs one command line. @returns the exit code: 0 done, 1 the answer is no, 2 wrong usage, 3 waited too long
 */
export const runCommand = async (program: Command, args: readonly string[], io: Io): Promise<number> => {
  configure(program, io);
  try {
    await program.parseAsync(clusterFlagsLast(args), { from: 'user' });
    return 0;
  } catch (error) {
    if (error instanceof SaidNo) return 1;
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
    io.err(`error: ${errorText(error)}`);
    if (isCoded(error, 'timed_out')) return 3;
    return error instanceof UsageError ? 2 : 1;
  }
};

/** `-n nodes status` is `status -n nodes`: kubectl's users write where to go first. */
const clusterFlagsLast = (args: readonly string[]): string[] => {
  let first = 0;
  while (/^(-n|--(namespace|kubeconfig|context))(=|$)/.test(args[first] ?? ''))
    first += args[first]?.includes('=') ? 1 : 2;
  return [...args.slice(first), ...args.slice(0, first)];
};

const configure = (command: Command, io: Io): void => {
  command.exitOverride().configureOutput({
    writeOut: (text) => io.out(text.replace(/\n$/, '')),
    writeErr: (text) => io.err(text.replace(/\n$/, '')),
  });
  for (const child of command.commands) configure(child, io);
};
