import { readFile } from 'node:fs/promises';
import { Agent, request } from 'undici';
import { CodedError } from '../../lib/errors.ts';

/** The service as a command line reaches it. Rejects with CodedError `unreachable` or `refused`. */
export class Remote {
  readonly #base: string;
  readonly #agent: Agent;
  readonly #key: string | undefined;
  private constructor(base: string, ca: string | undefined, key: string | undefined) {
    this.#base = base.replace(/\/$/, '');
    this.#key = key;
    this.#agent = new Agent({
      connect: { ...(ca === undefined ? {} : { ca }), timeout: 10_000 },
      headersTimeout: 30_000,
    });
  }
  /** @param caFile PEM; the system's authorities when left out. @param apiKey for calls that need an admin's key */
  static async open(base: string, caFile: string | undefined, apiKey?: string): Promise<Remote> {
    return new Remote(base, caFile === undefined ? undefined : await readFile(caFile, 'utf8'), apiKey);
  }

  async call(method: 'GET' | 'POST', path: string, body?: string): Promise<{ status: number; text: string }> {
    const headers = {
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      ...(this.#key === undefined ? {} : { authorization: `Bearer ${this.#key}` }),
    };
    try {
      const answer = await request(this.#base + path, {
        method,
        dispatcher: this.#agent,
        headers,
        ...(body === undefined ? {} : { body }),
      });
      return { status: answer.statusCode, text: await answer.body.text() };
    } catch (error) {
      throw new CodedError('unreachable', `${this.#base} cannot be reached`, { cause: error });
    }
  }
  /** The text of a 200. */
  async need(method: 'GET' | 'POST', path: string, body?: string): Promise<string> {
    const { status, text } = await this.call(method, path, body);
    if (status !== 200) throw new CodedError('refused', `the service answered ${status}: ${messageOf(text)}`);
    return text;
  }
  close(): Promise<void> {
    return this.#agent.close();
  }
}

const messageOf = (text: string): string => {
  try {
    return (JSON.parse(text) as { error: { message: string } }).error.message;
  } catch {
    return text.slice(0, 200);
  }
};
