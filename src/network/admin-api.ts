import type { FastifyInstance, FastifyRequest } from 'fastify';
import type { Clock } from '../lib/clock.ts';
import { isCoded } from '../lib/errors.ts';
import type { Logger } from '../lib/log.ts';
import { type Address, REFUSALS, type Refusal, zAddress } from '../protocol/index.ts';
import type { ApiKeys } from './api-keys.ts';
import { HttpFailure } from './errors.ts';
import { addressOf } from './http.ts';
import { type Hub, zOrder } from './hub.ts';
import { RateLimiter } from './limiter.ts';
import { parseBody } from './node-api.ts';
import { type Publications, zPublication } from './publications.ts';
import type { Registry } from './registry.ts';

export interface AdminPorts {
  readonly clock: Clock;
  readonly publications: Publications;
  readonly registry: Registry;
  readonly hub: Hub;
  readonly keys: ApiKeys;
  /** A new configuration is in force. */
  readonly published: () => void;
  readonly log: Logger;
}

const PUBLICATION_LIMIT = 4 * 1_048_576;
/** Uploads a minute per address: each costs a parse and up to 32 signature checks. */
const PUBLICATIONS_PER_MINUTE = 30;

/** Our own calls for the network's operator; other implementations need none of them. */
export const adminApi = (app: FastifyInstance, ports: AdminPorts): void => {
  const { publications, registry, hub, keys, published, log } = ports;

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

  const admin = (request: FastifyRequest<{ Params: { id: string } }>): Address => {
    if (!keys.find(request.headers.authorization)?.admin)
      throw new HttpFailure('bad_signature', 'an API key with admin is needed');
    const node = zAddress.safeParse(request.params.id.toLowerCase());
    if (!node.success || !registry.row(node.data)) throw new HttpFailure('not_found', 'no such node');
    return node.data;
  };
  app.post<{ Params: { id: string } }>('/v1/admin/nodes/:id/control', async (request) => {
    const node = admin(request);
    const { action, reason, graceMs, retryAfterMs } = parseBody(zOrder, request);
    const sent = hub.control(node, {
      action,
      reason,
      ...(graceMs === undefined ? {} : { graceMs }),
      ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
    });
    return { node, state: registry.state(node), sent };
  });
  app.post<{ Params: { id: string } }>('/v1/admin/nodes/:id/revoke', async (request) => {
    const node = admin(request);
    hub.revoke(node);
    return { node, state: registry.state(node) };
  });
};
