import type { FastifyInstance, FastifyRequest } from 'fastify';
import { z } from 'zod';

import type { Clock } from '../lib/clock.ts';
import {
  type Address,
  AUTH_HEADER,
  JsonError,
  PROTOCOL_VERSION,
  parseStrictJson,
  zAddress,
  zHeartbeat,
  zJobResult,
  zRegister,
} from '../protocol/index.ts';
import { type AdmissionRules, decideRegistration } from './admission.ts';
import type { CallGate } from './call-gate.ts';
import type { JobDesk } from './desk.ts';
import { HttpFailure } from './errors.ts';
import { addressOf, bodyOf } from './http.ts';
import { HEARTBEAT_BYTES, type Hub } from './hub.ts';
import { RateLimiter } from './limiter.ts';
import { appendLogs } from './log-chain.ts';
import type { NetworkMetrics } from './metrics.ts';
import type { Publications } from './publications.ts';
import type { Registry } from './registry.ts';
import type { Limits } from './settings.ts';
import type { Store } from './store.ts';

export interface NodeApiPorts {
  readonly clock: Clock;
  readonly limits: Limits;
  readonly gate: CallGate;
  readonly store: Store;
  readonly registry: Registry;
  readonly publications: Publications;
  readonly admission: AdmissionRules;
  readonly hub: Hub;
  readonly desk: JobDesk;
  readonly metrics: NetworkMetrics;
}

const RESULT_LIMIT = 16 * 1_048_576;
const LOG_LIMIT = 1_048_576;
const MINUTE = 60_000;
const HOUR = 3_600_000;

/** A heartbeat over HTTP also names jobs, as hello does (§2). */
const zHttpHeartbeat = zHeartbeat.extend({
  jobs: z
    .array(z.object({ jobId: z.string(), attempt: z.number() }))
    .max(1024)
    .default([]),
});
const zNodes = z.object({ nodes: z.array(zAddress).max(500) });

/** The calls of docs/protocol.md §2 that nodes, operators and status pages make; the OpenAI side stands apart. */
export const nodeApi = (app: FastifyInstance, ports: NodeApiPorts): void => {
  const { clock, registry, publications, hub, desk, store } = ports;
  const callers = new Callers(ports);

  app.get('/v1/ping', async (request) => {
    callers.unsigned(request);
    return { serverTime: clock.now(), protocol: [PROTOCOL_VERSION] };
  });

  app.post('/v1/register', async (request) => {
    const node = callers.signed(request, (id) => {
      if (registry.row(id)?.admission === 'revoked') throw new HttpFailure('revoked', 'this node was revoked');
    });
    const body = parseBody(zRegister, request);
    const existing = registry.row(node);
    const decided = decideRegistration(ports.admission, {
      node,
      body,
      existing,
      now: clock.now(),
      domain: publications.domain,
    });
    callers.limit(request, decided.vouched ? decided.row.owner.id : undefined);
    if (decided.isNew) callers.limitRegistration(request, decided.vouched ? decided.row.owner.id : undefined);
    const { bind } = decided;
    // a nonce that was used before proves nothing, but does not turn the node away
    const row = bind && !store.useBind(bind.owner, bind.nonce) ? { ...decided.row, proved: false } : decided.row;
    if (JSON.stringify(row) !== JSON.stringify(existing)) await registry.register(row);
    return {
      state: registry.state(node),
      ownerProved: row.proved,
      root: { version: publications.root.version },
      config: publications.answer() ?? null,
    };
  });

  app.post('/v1/heartbeat', async (request) => {
    const node = callers.registered(request);
    const { jobs, ...heartbeat } = parseBody(zHttpHeartbeat, request);
    if (Buffer.byteLength(JSON.stringify(heartbeat)) > HEARTBEAT_BYTES)
      throw new HttpFailure('too_large', `a heartbeat has at most ${HEARTBEAT_BYTES} bytes`);
    if (!registry.isConnected(node)) hub.heartbeat(node, heartbeat);
    const named = new Set(jobs.map((j) => `${j.jobId} ${j.attempt}`));
    return {
      serverTime: clock.now(),
      config: publications.reference,
      jobs: desk.wanted(node).filter((j) => named.has(`${j.jobId} ${j.attempt}`)),
    };
  });

  app.get('/v1/config', async (request) => {
    callers.unsigned(request);
    const answer = publications.answer();
    if (!answer) throw new HttpFailure('unavailable', 'nothing published yet', { retryAfterMs: 5_000 });
    return answer;
  });
  app.get<{ Params: { digest: string } }>('/v1/config/:digest', async (request, reply) => {
    callers.unsigned(request);
    const bytes = publications.bytes(request.params.digest);
    if (!bytes) throw new HttpFailure('not_found', 'no such snapshot');
    return reply
      .header('content-encoding', 'identity')
      .header('cache-control', 'public, max-age=31536000, immutable, no-transform')
      .type('application/json')
      .send(Buffer.from(bytes));
  });
  app.get<{ Params: { n: string } }>('/v1/roots/:n', async (request, reply) => {
    callers.unsigned(request);
    const { n } = request.params;
    const answer = /^[1-9][0-9]{0,15}$/.test(n) ? publications.rootAnswer(Number(n)) : undefined;
    if (answer === undefined) throw new HttpFailure('not_found', 'no such root');
    return reply.type('application/json').send(answer);
  });

  app.post('/v1/results', { bodyLimit: RESULT_LIMIT }, async (request) => {
    const node = callers.registered(request);
    const message = parseBody(zJobResult, request);
    if (message.result.node !== node) throw new HttpFailure('bad_request', 'the result names another node');
    const receipt = desk.result(node, message);
    if (!receipt) throw callers.badSignature('result', 'the result inside is not signed by this node');
    return receipt;
  });

  app.post('/v1/logs', { bodyLimit: LOG_LIMIT }, async (request) => {
    const node = callers.registered(request);
    return { lastN: appendLogs(store, node, bodyOf(request)) };
  });

  app.get('/v1/status', async (request) => {
    callers.status(request);
    const { document, reference, root } = publications;
    return {
      network: root.document.network,
      environment: root.document.environment,
      protocol: [PROTOCOL_VERSION],
      serverTime: clock.now(),
      root: { version: root.version },
      config: reference,
      nodes: Object.fromEntries(registry.counts()),
      requirements: document && {
        agent: { version: document.agent.version, minVersion: document.agent.minVersion },
        runtimes: document.runtimes.map(({ engine, version, accelerator }) => ({ engine, version, accelerator })),
        isolation: document.isolation,
      },
    };
  });
  app.get<{ Params: { id: string } }>('/v1/status/nodes/:id', async (request) => {
    callers.status(request);
    const node = zAddress.safeParse(request.params.id.toLowerCase());
    const status = node.success ? registry.status(node.data) : undefined;
    if (!status) throw new HttpFailure('not_found', 'no such node');
    return status;
  });
  app.post('/v1/status/nodes', async (request) => {
    callers.status(request);
    const { nodes } = parseBody(zNodes, request);
    return { nodes: nodes.map((id) => registry.status(id)).filter((s) => s !== undefined) };
  });
};

/** Strict JSON against a schema. @throws HttpFailure 400 */
export const parseBody = <T>(schema: z.ZodType<T>, request: FastifyRequest): T => {
  let raw: unknown;
  try {
    raw = parseStrictJson(bodyOf(request));
  } catch (error) {
    if (error instanceof JsonError) throw new HttpFailure('bad_request', `the body is no JSON: ${error.message}`);
    throw error;
  }
  const parsed = schema.safeParse(raw);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  throw new HttpFailure('bad_request', `${issue?.path.join('.') || 'body'}: ${issue?.message ?? 'is wrong'}`);
};

/** Who calls, and how often: each limit of §2, cheapest first. */
class Callers {
  readonly #ports: NodeApiPorts;
  readonly #any: RateLimiter;
  readonly #minute: RateLimiter;
  readonly #hour: RateLimiter;

  constructor(ports: NodeApiPorts) {
    this.#ports = ports;
    this.#any = new RateLimiter(ports.clock, MINUTE);
    this.#minute = new RateLimiter(ports.clock, MINUTE);
    this.#hour = new RateLimiter(ports.clock, HOUR);
  }

  /** An unsigned call that any node may make often: bounded only against floods. */
  unsigned(request: FastifyRequest): void {
    this.#take(this.#any, addressOf(request), this.#ports.limits.anyPerAddress);
  }
  status(request: FastifyRequest): void {
    this.#take(this.#minute, `status ${addressOf(request)}`, this.#ports.limits.statusPerAddress);
  }

  /** Form, signature, clock, `check`, nonce; then the node's own limit. @throws HttpFailure */
  signed(request: FastifyRequest, check: (node: Address) => void): Address {
    this.unsigned(request);
    const header = request.headers[AUTH_HEADER];
    let node: Address;
    try {
      node = this.#ports.gate.admit(
        {
          method: request.method,
          path: request.raw.url ?? '',
          body: bodyOf(request),
          header: typeof header === 'string' ? header : undefined,
        },
        check,
      );
    } catch (error) {
      if (error instanceof HttpFailure && error.status === 401)
        this.#ports.metrics.signatureFailures.inc({ reason: error.code });
      throw error;
    }
    this.#take(this.#minute, node, this.#ports.limits.callsPerNode);
    return node;
  }
  /** A signed call of a registered node. */
  registered(request: FastifyRequest): Address {
    const node = this.signed(request, (id) => {
      const row = this.#ports.registry.row(id);
      if (!row) throw new HttpFailure('not_registered', 'register this node first');
      if (row.admission === 'revoked') throw new HttpFailure('revoked', 'this node was revoked');
      if (row.admission === 'pending') throw new HttpFailure('not_registered', 'this node is pending');
    });
    const row = this.#ports.registry.row(node);
    this.limit(request, row?.proved ? row.owner.id : undefined);
    return node;
  }
  /** Signed calls count by address, or by owner once somebody vouches for the owner. */
  limit(request: FastifyRequest, owner: string | undefined): void {
    const { callsPerOwner, callsPerAddress } = this.#ports.limits;
    if (owner === undefined) this.#take(this.#minute, `address ${addressOf(request)}`, callsPerAddress);
    else this.#take(this.#minute, `owner ${owner}`, callsPerOwner);
  }
  limitRegistration(request: FastifyRequest, owner: string | undefined): void {
    const { registrationsPerOwner, registrationsPerAddress } = this.#ports.limits;
    if (owner === undefined) this.#take(this.#hour, addressOf(request), registrationsPerAddress);
    else this.#take(this.#hour, `owner ${owner}`, registrationsPerOwner);
  }
  badSignature(reason: string, message: string): HttpFailure {
    this.#ports.metrics.signatureFailures.inc({ reason });
    return new HttpFailure('bad_signature', message);
  }

  #take(limiter: RateLimiter, key: string, limit: number): void {
    const wait = limiter.take(key, limit);
    if (wait !== undefined) throw new HttpFailure('rate', 'too many calls', { retryAfterMs: wait });
  }
}
