import { CodedError } from '../../lib/errors.ts';
import { parseAddress } from '../../protocol/index.ts';
import { type AdminClient, adminClient } from './admin-client.ts';
import type { Io } from './io.ts';

/** What may be ordered of a node. */
export const NODE_ACTIONS = [
  ...['list', 'show'],
  ...['ping', 'pause', 'resume', 'drain', 'shutdown'],
  ...['approve', 'revoke', 'clear-owner', 'incarnation'],
] as const;

export interface NodeOptions {
  readonly to: string;
  readonly ca?: string | undefined;
  /** File whose first line is an API key with `admin`. */
  readonly tokenFile: string;
  readonly state?: string | undefined;
  readonly reason?: string | undefined;
  readonly graceMs?: number | undefined;
  readonly retryAfterMs?: number | undefined;
  readonly incarnation?: number | undefined;
  readonly json: boolean;
}

interface Shown {
  readonly node: string;
  readonly state: string;
  readonly reasons: readonly string[];
  readonly order: string;
  readonly owner: { readonly id: string; readonly proved: boolean };
  readonly floor: { readonly epoch: number; readonly version: number };
  readonly lastHeartbeatAgeMs: number | null;
  readonly incarnation: number;
  readonly sent?: boolean;
}

/** Looks at nodes of a running service, or gives one an order. @throws CodedError `not_sent` when an order that is not kept found nobody */
export const nodeOrder = async (
  action: string,
  id: string | undefined,
  options: NodeOptions,
  io: Io,
): Promise<void> => {
  const service = await adminClient(options.to, options.tokenFile, options.ca);
  const print = (value: object, lines: readonly string[]): void => {
    if (options.json) io.out(JSON.stringify(value, null, 2));
    else for (const text of lines) io.out(text);
  };
  try {
    if (action === 'list') {
      const query = options.state === undefined ? '' : `?state=${encodeURIComponent(options.state)}`;
      const answer = JSON.parse(await service.call('GET', `/v1/admin/nodes${query}`)) as { nodes: Shown[] };
      const none = options.state === undefined ? 'no node has registered' : `no node is ${options.state}`;
      return print(answer, answer.nodes.length === 0 ? [none] : answer.nodes.map(line));
    }
    if (id === undefined) throw new CodedError('bad_usage', `node ${action} needs a node: 0x…`);
    const path = `/v1/admin/nodes/${parseAddress(id)}`;
    const answer = JSON.parse(await send(service, path, action, options)) as Shown;
    print(answer, [line(answer)]);
    if (answer.sent === false && (action === 'ping' || action === 'shutdown'))
      throw new CodedError('not_sent', `the node is not connected, and ${action} is not kept`);
    if (answer.sent === false && !options.json) io.out('not connected: the order is kept and told at its next welcome');
  } finally {
    await service.close();
  }
};

const send = (service: AdminClient, path: string, action: string, options: NodeOptions): Promise<string> => {
  switch (action) {
    case 'show':
      return service.call('GET', path);
    case 'approve':
    case 'revoke':
    case 'clear-owner':
      return service.call('POST', `${path}/${action}`, {});
    case 'incarnation':
      return service.call('POST', `${path}/incarnation`, { incarnation: options.incarnation ?? 0 });
    default: {
      const { reason, graceMs, retryAfterMs } = options;
      return service.call('POST', `${path}/control`, { action, reason, graceMs, retryAfterMs });
    }
  }
};

const line = (n: Shown): string => {
  const age =
    n.lastHeartbeatAgeMs === null ? 'no heartbeat' : `heartbeat ${Math.round(n.lastHeartbeatAgeMs / 1_000)} s ago`;
  const owner = `${n.owner.id}${n.owner.proved ? '' : ' (unproved)'}`;
  const reasons = n.reasons.length > 0 ? ` [${n.reasons.join(', ')}]` : '';
  return `${n.node}  ${n.state}${reasons}  owner ${owner}  config ${n.floor.epoch}.${n.floor.version}  ${age}`;
};
