import { spawn } from 'node:child_process';
import { createWriteStream, mkdirSync } from 'node:fs';
import { dirname } from 'node:path';

export interface ExecOptions {
  readonly cwd?: string;
  /** Replaces the environment when given; add `...process.env` to extend it. */
  readonly env?: NodeJS.ProcessEnv;
  readonly input?: string | Uint8Array;
  readonly signal?: AbortSignal;
  /** Appends everything the program prints to this file as well. */
  readonly logFile?: string;
  /** Called with each line of either stream while the program runs. */
  readonly onLine?: (line: string) => void;
}

export interface ExecResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** A program that ended with another code than 0; the message ends with the last lines it printed. */
export class ExecError extends Error {
  readonly code = 'EXEC_FAILED';
  readonly result: ExecResult;
  constructor(argv: readonly string[], result: ExecResult) {
    const tail = `${result.stdout}\n${result.stderr}`.trim().split('\n').slice(-12).join('\n');
    super(`${argv.slice(0, 6).join(' ')} ended with code ${result.code}${tail ? `:\n${tail}` : ''}`);
    this.result = result;
  }
}

/** Runs a program (no shell) to its end and returns what it printed; rejects only when it could not be started or was aborted. */
export function exec(argv: readonly string[], options: ExecOptions = {}): Promise<ExecResult> {
  const [file, ...args] = argv;
  if (!file) return Promise.reject(new Error('exec: empty command'));
  return new Promise((resolve, reject) => {
    const child = spawn(file, args, {
      stdio: [options.input === undefined ? 'ignore' : 'pipe', 'pipe', 'pipe'],
      ...(options.cwd && { cwd: options.cwd }),
      ...(options.env && { env: options.env }),
      ...(options.signal && { signal: options.signal }),
    });
    if (options.logFile) mkdirSync(dirname(options.logFile), { recursive: true });
    const log = options.logFile ? createWriteStream(options.logFile, { flags: 'a' }) : undefined;
    const collect = (stream: NodeJS.ReadableStream | null): (() => string) => {
      let text = '';
      let rest = '';
      stream?.setEncoding('utf8');
      stream?.on('data', (chunk: string) => {
        text += chunk;
        log?.write(chunk);
        if (!options.onLine) return;
        const lines = (rest + chunk).split('\n');
        rest = lines.pop() ?? '';
        for (const line of lines) options.onLine(line);
      });
      return () => text;
    };
    const stdout = collect(child.stdout);
    const stderr = collect(child.stderr);
    if (options.input !== undefined) {
      child.stdin?.on('error', () => undefined); // the program may end before it has read everything
      child.stdin?.end(options.input);
    }
    child.on('error', (error) => {
      log?.end();
      reject(error);
    });
    child.on('close', (code) => {
      log?.end();
      resolve({ code: code ?? 128, stdout: stdout(), stderr: stderr() });
    });
  });
}

/** Like `exec`, but any code other than 0 throws an ExecError. Returns stdout. */
export async function execOk(argv: readonly string[], options: ExecOptions = {}): Promise<string> {
  const result = await exec(argv, options);
  if (result.code !== 0) throw new ExecError(argv, result);
  return result.stdout;
}
