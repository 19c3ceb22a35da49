import type { FastifyInstance, FastifyRequest } from 'fastify';
import { z } from 'zod';
import type { Logger } from '../lib/log.ts';
import { type Address, type Control, NODE_STATES, zAddress, zControl, zUint } from '../protocol/index.ts';
import type { ApiKeys } from './api-keys.ts';
import { HttpFailure } from './errors.ts';
import type { Hub } from './hub.ts';
import { parseBody } from './node-api.ts';
import type { Registry } from './registry.ts';
import type { NodeRow } from './store.ts';

export interface NodeOrderPorts {
  readonly registry: Registry;
  readonly hub: Hub;
  readonly keys: ApiKeys;
  readonly log: Logger;
}

const zOrder = z.object({
  action: zControl.shape.action,
  reason: z.string().max(256).default('ordered by the network’s operator'),
  graceMs: zUint.optional(),
  retryAfterMs: zUint.optional(),
});
const zIncarnation = z.object({ incarnation: zUint });

type NodeCall = FastifyRequest<{ Params: { id: string } }>;

/**
 * What the network's operator does with nodes, by an API key with `admin`: look, order, admit, revoke, clear an owner, set
 * an incarnation back. Every order is logged with the id of the key that gave it; what changes a row is durable first.
 */
export const nodeOrders = (app: FastifyInstance, { registry, hub, keys, log }: NodeOrderPorts): void => {
  const authorise = (request: FastifyRequest): string => {
    const key = keys.find(request.headers.authorization);
    if (!key?.admin) throw new HttpFailure('bad_signature', 'an API key with admin is needed');
    return key.id;
  };
  /** The node of a call by somebody who may order it. */
  const named = (request: NodeCall): { node: Address; row: NodeRow; by: string } => {
    const by = authorise(request);
    const node = zAddress.safeParse(request.params.id.toLowerCase());
    const row = node.success ? registry.row(node.data) : undefined;
    if (!row) throw new HttpFailure('not_found', 'no such node');
    return { node: row.node, row, by };
  };
  const shown = (node: Address): object => {
    const { owner, proved, order, registeredAt, metadata } = registry.row(node) as NodeRow;
    return { ...registry.status(node), owner: { ...owner, proved }, order, registeredAt, metadata };
  };
  /** A call that changes what is kept of a node. */
  const change = (path: string, to: (row: NodeRow, request: NodeCall) => NodeRow): void => {
    app.post<{ Params: { id: string } }>(`/v1/admin/nodes/:id/${path}`, async (request) => {
      const { node, row, by } = named(request);
      const next = to(row, request);
      log.info({ node, key: by, action: path, admission: next.admission }, 'node ordered');
      registry.save(next);
      if (next.admission === 'revoked') hub.dismiss(node, 'revoked');
      hub.refresh(node, true);
      return shown(node);
    });
  };

  app.get<{ Querystring: { state?: string } }>('/v1/admin/nodes', async (request) => {
    authorise(request);
    const { state } = request.query;
    if (state !== undefined && !(NODE_STATES as readonly string[]).includes(state))
      throw new HttpFailure('bad_request', `state is one of ${NODE_STATES.join(', ')}`);
    return { nodes: registry.all.filter((n) => state === undefined || registry.state(n) === state).map(shown) };
  });
  app.get<{ Params: { id: string } }>('/v1/admin/nodes/:id', async (request) => shown(named(request).node));

  change('approve', (row) => ({ ...row, admission: 'admitted' }));
  change('revoke', (row) => ({ ...row, admission: 'revoked' }));
  // the owner stays until another one registers: then there is no proof any more that would refuse it
  change('clear-owner', (row) => ({ ...row, proved: false }));
  change('incarnation', (row, request) => ({ ...row, incarnation: parseBody(zIncarnation, request).incarnation }));

  app.post<{ Params: { id: string } }>('/v1/admin/nodes/:id/control', async (request) => {
    const { node, by } = named(request);
    const { action, reason, graceMs, retryAfterMs } = parseBody(zOrder, request);
    const control: Control = {
      action,
      reason,
      ...(graceMs === undefined ? {} : { graceMs }),
      ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
    };
    log.info({ node, key: by, action, reason }, 'node ordered');
    const sent = hub.control(node, control);
    return { ...shown(node), sent };
  });
};
