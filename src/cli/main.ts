#!/usr/bin/env node
import { basename } from 'node:path';
import { text } from 'node:stream/consumers';
import manifest from '../../package.json' with { type: 'json' };
import { buildProgram, type Io, runCommand } from './index.ts';

const stop = new AbortController();
for (const name of ['SIGINT', 'SIGTERM'] as const)
  process.once(name, () => stop.abort(new Error(`stopped by ${name}`)));

// `… | head` is content with what it has read
process.stdout.on('error', (error: NodeJS.ErrnoException) => process.exit(error.code === 'EPIPE' ? 0 : 1));

const io: Io = {
  out: (line) => void process.stdout.write(`${line}\n`),
  err: (line) => void process.stderr.write(`${line}\n`),
  stdin: () => text(process.stdin),
  color: process.stdout.isTTY === true && !process.env.NO_COLOR,
  now: () => Date.now(),
  signal: stop.signal,
  env: process.env,
  ...(process.stdout.isTTY === true ? { clear: () => void process.stdout.write('\u001b[2J\u001b[H') } : {}),
};

// kubectl calls its plug-ins by this name; usage then reads as people typed it.
const name = basename(process.argv[1] ?? '').startsWith('kubectl-') ? 'kubectl resultity' : 'resultity';
process.exitCode = await runCommand(buildProgram(io, manifest.version, name), process.argv.slice(2), io);
