import type { FastifyInstance } from 'fastify';
import type { Clock } from '../lib/clock.ts';
import { isCoded } from '../lib/errors.ts';
import type { Logger } from '../lib/log.ts';
import { REFUSALS, type Refusal } from '../protocol/index.ts';
import { HttpFailure } from './errors.ts';
import { addressOf } from './http.ts';
import { RateLimiter } from './limiter.ts';
import { parseBody } from './node-api.ts';
import { type Publications, zPublication } from './publications.ts';

export interface AdminPorts {
  readonly clock: Clock;
  readonly publications: Publications;
  /** A new configuration is in force. */
  readonly published: () => void;
  readonly log: Logger;
}

const PUBLICATION_LIMIT = 4 * 1_048_576;
/** Uploads a minute per address: each costs a parse and up to 32 signature checks. */
const PUBLICATIONS_PER_MINUTE = 30;

/** What is published comes in here; a call of our own that other implementations need not have. */
export const adminApi = (app: FastifyInstance, ports: AdminPorts): void => {
  const { publications, published, log } = ports;
  const uploads = new RateLimiter(ports.clock, 60_000);
  // no key but the signatures: what reaches the config role's threshold may be published by anybody who carries it
  app.post('/v1/admin/publications', { bodyLimit: PUBLICATION_LIMIT }, async (request) => {
    const wait = uploads.take(addressOf(request), PUBLICATIONS_PER_MINUTE);
    if (wait !== undefined) throw new HttpFailure('rate', 'too many publications', { retryAfterMs: wait });
    const publication = parseBody(zPublication, request);
    const isNew = await publications.publish(publication).catch((error: unknown) => {
      if (!isCoded<Refusal>(error, ...REFUSALS)) throw error;
      log.warn({ reason: error.code, detail: error.message }, 'publication refused');
      throw new HttpFailure('bad_request', `refused ${error.code}: ${error.message}`);
    });
    if (isNew) {
      log.info({ ...publications.reference }, 'configuration published');
      published();
    }
    return { published: isNew, config: publications.reference };
  });
};
