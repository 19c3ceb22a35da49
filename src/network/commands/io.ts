import { readFile } from 'node:fs/promises';
import { createInterface } from 'node:readline/promises';
import { Writable } from 'node:stream';
import { CodedError } from '../../lib/errors.ts';
import { Secret } from '../../lib/secret.ts';

/** What a command may touch of its process. */
export interface Io {
  out(line: string): void;
  err(line: string): void;
  now(): number;
  readonly signal: AbortSignal;
}

/** The password of key files: from a file (its first line), or asked for on a terminal without echo. */
export const readPassword = async (file: string | undefined, what: string, twice = false): Promise<Secret> => {
  if (file !== undefined) {
    const [line = ''] = (await readFile(file, 'utf8')).split('\n');
    if (line === '') throw new CodedError('bad_password', `${file} is empty; its first line is the password`);
    return new Secret(line);
  }
  if (process.stdin.isTTY !== true)
    throw new CodedError('bad_password', 'there is no terminal to ask for the password: give --password-file FILE');
  const first = await ask(`Password for ${what}: `);
  if (twice && (await ask('Once more: ')) !== first) throw new CodedError('bad_password', 'the two differ');
  return new Secret(first);
};

const ask = async (question: string): Promise<string> => {
  process.stderr.write(question);
  const muted = new Writable({ write: (_chunk, _encoding, done) => done() });
  const lines = createInterface({ input: process.stdin, output: muted, terminal: true });
  try {
    return await lines.question('');
  } finally {
    lines.close();
    process.stderr.write('\n');
  }
};
