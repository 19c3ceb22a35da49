import type { Dispatcher } from 'undici';
import { CodedError } from '../lib/errors.ts';
import type { Secret } from '../lib/secret.ts';
import { checkSourceUrl, type SourcePolicy } from './sources.ts';

/** `user:password` or a bearer token, by the host name that it is for. */
export type SourceCredentials = ReadonlyMap<string, Secret>;

const REDIRECTS = [301, 302, 303, 307, 308];
const MAX_REDIRECTS = 5;

/**
 * The header for one host. Sent to that host alone, and never where a redirect leads, not even to a host that has a
 * credential of its own: a redirect is chosen by somebody else.
 */
const authorization = (url: URL, credentials: SourceCredentials | undefined): Record<string, string> => {
  const secret = credentials?.get(url.hostname)?.reveal();
  if (secret === undefined) return {};
  return {
    authorization: secret.includes(':') ? `Basic ${Buffer.from(secret).toString('base64')}` : `Bearer ${secret}`,
  };
};

export interface SourceRequest {
  readonly dispatcher: Dispatcher;
  readonly policy: SourcePolicy;
  readonly credentials?: SourceCredentials | undefined;
  /** First byte that is asked for, and the entity tag that the bytes before it had. */
  readonly from: number;
  readonly tag?: string | undefined;
  readonly signal: AbortSignal;
}

/**
 * One GET, its redirects followed by hand, because each host on the way is judged before it is asked.
 * @throws CodedError `untrusted_source`, `insecure_source`, `source_failed`; errors of the connection
 */
export const getFrom = async (url: URL, o: SourceRequest): Promise<Dispatcher.ResponseData> => {
  let at = url;
  for (let hop = 0; hop <= MAX_REDIRECTS; hop++) {
    checkSourceUrl(at, o.policy);
    const range = o.from > 0 ? { range: `bytes=${o.from}-`, ...(o.tag ? { 'if-range': o.tag } : {}) } : {};
    const answer = await o.dispatcher.request({
      origin: at.origin,
      path: at.pathname + at.search,
      method: 'GET',
      headers: { 'accept-encoding': 'identity', ...range, ...(hop === 0 ? authorization(at, o.credentials) : {}) },
      signal: o.signal,
      headersTimeout: 0,
      bodyTimeout: 0,
    });
    if (!REDIRECTS.includes(answer.statusCode)) return answer;
    answer.body.on('error', () => {}).destroy();
    const location = answer.headers.location;
    if (typeof location !== 'string' || !URL.canParse(location, at))
      throw new CodedError('source_failed', `${at.host} redirects to nowhere`);
    at = new URL(location, at);
  }
  throw new CodedError('source_failed', `${url.host} redirects more than ${MAX_REDIRECTS} times`);
};
