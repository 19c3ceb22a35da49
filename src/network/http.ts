import { createServer as createHttp } from 'node:http';
import { createServer as createHttps, type Server } from 'node:https';
import Fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify';
import { errorText } from '../lib/errors.ts';
import type { Logger } from '../lib/log.ts';
import { HttpFailure } from './errors.ts';

/** Certificate and key in PEM. Without them the server speaks plain HTTP: loopback and tests only. */
export interface TlsFiles {
  readonly cert: string;
  readonly key: string;
}

/** 64 KiB but where a call says otherwise (docs/protocol.md §2). */
export const BODY_LIMIT = 65_536;

/**
 * The HTTP server: bodies arrive as the bytes that were sent (signatures are over them), errors leave in the form of §2,
 * requests are not logged (their bodies hold prompts).
 */
export const createHttpServer = (tls: TlsFiles | undefined, log: Logger): FastifyInstance => {
  const app = Fastify({
    logger: false,
    bodyLimit: BODY_LIMIT,
    forceCloseConnections: 'idle',
    exposeHeadRoutes: false,
    routerOptions: { maxParamLength: 512, caseSensitive: true },
    serverFactory: (handler): Server => {
      const server = tls
        ? createHttps({ cert: tls.cert, key: tls.key, minVersion: 'TLSv1.2' }, handler)
        : createHttp(handler);
      // of receiving a request, not of answering it: a job's own deadline ends that
      server.headersTimeout = 10_000;
      server.requestTimeout = 120_000;
      server.keepAliveTimeout = 65_000;
      return server as unknown as Server;
    },
  }) as unknown as FastifyInstance;
  app.removeAllContentTypeParsers();
  app.addContentTypeParser('*', { parseAs: 'buffer' }, (_request, body, done) => done(null, body));
  app.setErrorHandler((error, _request, reply) => {
    const failure = toFailure(error);
    if (!failure) log.error({ error }, 'call failed');
    const answer = failure ?? new HttpFailure('unavailable', 'internal error');
    return sendFailure(reply, answer);
  });
  app.setNotFoundHandler((_request, reply) => sendFailure(reply, new HttpFailure('not_found', 'no such path')));
  return app;
};

/** The exact bytes of a request's body; empty when there is none. */
export const bodyOf = (request: FastifyRequest): Uint8Array =>
  Buffer.isBuffer(request.body) ? request.body : Buffer.alloc(0);

/** The caller's address as a key for limits: IPv4 whole, IPv6 by its /64. */
export const addressOf = (request: { readonly socket: { readonly remoteAddress?: string | undefined } }): string => {
  const address = (request.socket.remoteAddress ?? '').replace(/^::ffff:/, '');
  return address.includes('.') ? address : address.split(':').slice(0, 4).join(':');
};

export const sendFailure = (reply: FastifyReply, failure: HttpFailure): FastifyReply => {
  const { retryAfterMs } = failure.extras;
  if (retryAfterMs !== undefined) void reply.header('retry-after', String(Math.ceil(retryAfterMs / 1_000)));
  return reply.code(failure.status).type('application/json').send(failure.body());
};

const toFailure = (error: unknown): HttpFailure | undefined => {
  if (error instanceof HttpFailure) return error;
  const { statusCode, code } = error as { statusCode?: number; code?: string };
  if (statusCode === 413) return new HttpFailure('too_large', 'the body is too large');
  if (statusCode !== undefined && statusCode >= 400 && statusCode < 500)
    return new HttpFailure('bad_request', code ?? errorText(error));
  return undefined;
};
