import { Agent, type Dispatcher, request } from 'undici';
import { type Domain, type Json, type Key, object, parseJson, pause, random32, writeAuth } from '../kit/index.ts';

export interface HttpAnswer {
  readonly status: number;
  readonly text: string;
  /** The answer as an object; an empty one when it is none. */
  readonly body: Json;
  readonly headers: Record<string, string | string[] | undefined>;
}
/** Ways to sign or send a call wrongly. */
export interface CallMisbehaviour {
  readonly ts?: number;
  readonly nonce?: string;
  readonly key?: Key;
  readonly domain?: Domain;
  readonly signed?: {
    readonly method?: string;
    readonly authority?: string;
    readonly path?: string;
    readonly body?: string;
  };
  /** Changes the header after it was signed; undefined leaves it out. */
  readonly header?: (good: string) => string | undefined;
}

const bodyOf = (text: string): Json => {
  try {
    return object(parseJson(text));
  } catch {
    return {};
  }
};

/** HTTP towards a network, with or without the signed header. A 429 is waited for and tried again, signed anew. */
export class Client {
  readonly origin: string;
  readonly authority: string;
  readonly dispatcher: Dispatcher;
  constructor(endpoint: string, ca?: string) {
    const url = new URL(endpoint);
    this.origin = url.origin;
    this.authority = url.host;
    this.dispatcher = new Agent({ connect: ca === undefined ? {} : { ca } });
  }

  async send(method: string, path: string, body = '', headers: Record<string, string> = {}): Promise<HttpAnswer> {
    const answer = await request(this.origin + path, {
      method: method as 'GET',
      dispatcher: this.dispatcher,
      ...(body === '' ? {} : { body }),
      headers: { ...(body === '' ? {} : { 'content-type': 'application/json' }), ...headers },
    });
    const text = await answer.body.text();
    return { status: answer.statusCode, text, body: bodyOf(text), headers: answer.headers };
  }
  async get(path: string, headers: Record<string, string> = {}): Promise<HttpAnswer> {
    for (let tries = 0; ; tries++) {
      const answer = await this.send('GET', path, '', headers);
      if (answer.status !== 429 || tries === 2) return answer;
      await pause(retryAfter(answer));
    }
  }

  async call(
    key: Key,
    domain: Domain,
    method: string,
    path: string,
    payload: Json | string,
    wrong: CallMisbehaviour = {},
  ): Promise<HttpAnswer> {
    const body = typeof payload === 'string' ? payload : JSON.stringify(payload);
    for (let tries = 0; ; tries++) {
      const good = writeAuth(wrong.key ?? key, wrong.domain ?? domain, {
        method,
        authority: this.authority,
        path,
        body,
        ...wrong.signed,
        ts: wrong.ts ?? Date.now(),
        nonce: wrong.nonce ?? random32(),
      });
      const header = wrong.header ? wrong.header(good) : good;
      const answer = await this.send(method, path, body, header === undefined ? {} : { 'resultity-auth': header });
      if (answer.status !== 429 || tries === 2) return answer;
      await pause(retryAfter(answer));
    }
  }
  close(): Promise<void> {
    return this.dispatcher.destroy();
  }
}

const retryAfter = (answer: HttpAnswer): number =>
  Math.min(Math.max(Number(object(answer.body.error).retryAfterMs) || 5_000, 100), 65_000);
