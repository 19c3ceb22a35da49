import type { FastifyInstance, FastifyRequest } from 'fastify';
import type { Clock } from '../lib/clock.ts';
import { isCoded } from '../lib/errors.ts';
import type { Logger } from '../lib/log.ts';
import { decodeUtf8, REFUSALS, type Refusal } from '../protocol/index.ts';
import { HttpFailure } from './errors.ts';
import { addressOf, bodyOf } from './http.ts';
import { RateLimiter } from './limiter.ts';
import { parseBody } from './node-api.ts';
import { type Publications, zPublication } from './publications.ts';

export interface AdminPorts {
  readonly clock: Clock;
  readonly publications: Publications;
  /** A new configuration is in force. */
  readonly published: () => void;
  /** A new root is in force. */
  readonly rooted: () => void;
  readonly log: Logger;
}

const PUBLICATION_LIMIT = 4 * 1_048_576;
/** Uploads a minute per address: each costs a parse and up to 32 signature checks. */
const PUBLICATIONS_PER_MINUTE = 30;

/** What is published comes in here; a call of our own that other implementations need not have. */
export const adminApi = (app: FastifyInstance, ports: AdminPorts): void => {
  const { publications, published, rooted, log } = ports;
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

  // likewise: what the thresholds of two roots have signed needs nobody's leave
  app.post('/v1/admin/roots', async (request) => {
    const wait = uploads.take(addressOf(request), PUBLICATIONS_PER_MINUTE);
    if (wait !== undefined) throw new HttpFailure('rate', 'too many publications', { retryAfterMs: wait });
    const isNew = await publications.addRoot(textOf(request)).catch((error: unknown) => {
      if (!isCoded(error, ...REFUSALS, 'wrong_key')) throw error;
      log.warn({ reason: error.code, detail: error.message }, 'root refused');
      throw new HttpFailure('bad_request', `refused ${error.code}: ${error.message}`);
    });
    const { root, withheld } = publications;
    if (isNew) {
      log.info({ version: root.version, epoch: root.document.epoch, withheld }, 'root taken');
      rooted();
    }
    return {
      taken: isNew,
      root: { version: root.version },
      config: publications.reference,
      ...(withheld === undefined ? {} : { publishAnew: withheld }),
    };
  });
};

const textOf = (request: FastifyRequest): string => {
  try {
    return decodeUtf8(bodyOf(request));
  } catch {
    throw new HttpFailure('bad_request', 'the body is not UTF-8');
  }
};
