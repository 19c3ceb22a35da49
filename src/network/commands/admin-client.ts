import { readFile } from 'node:fs/promises';
import { Agent, request } from 'undici';
import { CodedError } from '../../lib/errors.ts';

/** A running service, as its operator speaks to it: with an API key that has `admin`. */
export interface AdminClient {
  /** @returns the text of a 200 @throws CodedError `unreachable`, or `refused` with what the service says */
  call(method: 'GET' | 'POST', path: string, body?: object): Promise<string>;
  close(): Promise<void>;
}

/** @param tokenFile file whose first line is the key @param ca file of the service's CA certificate */
export const adminClient = async (base: string, tokenFile: string, ca: string | undefined): Promise<AdminClient> => {
  const [token = ''] = (await readFile(tokenFile, 'utf8')).split('\n');
  const trust = ca === undefined ? {} : { ca: await readFile(ca, 'utf8') };
  const dispatcher = new Agent({ connect: { ...trust, timeout: 10_000 }, headersTimeout: 30_000 });
  return {
    call: async (method, path, body) => {
      const headers = { authorization: `Bearer ${token.trim()}`, 'content-type': 'application/json' };
      const answer = await request(base.replace(/\/$/, '') + path, {
        method,
        dispatcher,
        headers,
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      }).catch((error: unknown) => {
        throw new CodedError('unreachable', `${base} cannot be reached`, { cause: error });
      });
      const text = await answer.body.text();
      if (answer.statusCode !== 200)
        throw new CodedError('refused', `the service answered ${answer.statusCode}: ${messageOf(text)}`);
      return text;
    },
    close: () => dispatcher.close(),
  };
};

const messageOf = (text: string): string => {
  try {
    return (JSON.parse(text) as { error: { message: string } }).error.message;
  } catch {
    return text.slice(0, 200);
  }
};
