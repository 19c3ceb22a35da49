#!/usr/bin/env node
import { CommanderError } from 'commander';
import manifest from '../../package.json' with { type: 'json' };
import { CodedError, errorText } from '../lib/errors.ts';
import { buildProgram, type Io } from './commands/index.ts';

const stop = new AbortController();
for (const name of ['SIGINT', 'SIGTERM'] as const)
  process.once(name, () => stop.abort(new Error(`stopped by ${name}`)));

const io: Io = {
  out: (line) => void process.stdout.write(`${line}\n`),
  err: (line) => void process.stderr.write(`${line}\n`),
  now: () => Date.now(),
  signal: stop.signal,
};

try {
  const program = buildProgram(io, manifest.version);
  program.exitOverride();
  for (const command of program.commands) {
    command.exitOverride();
    for (const sub of command.commands) sub.exitOverride();
  }
  await program.parseAsync();
} catch (error) {
  // commander has said what is wrong; wrong usage exits 2
  if (error instanceof CommanderError) process.exitCode = error.exitCode === 0 ? 0 : 2;
  else {
    io.err(`resultity-network: ${errorText(error)}`);
    process.exitCode = error instanceof CodedError && error.code === 'bad_usage' ? 2 : 1;
  }
}
