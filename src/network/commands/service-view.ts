import { z } from 'zod';
import { readConfigAnswer } from '../../config/index.ts';
import { CodedError } from '../../lib/errors.ts';
import { zUint } from '../../protocol/index.ts';
import type { Publication } from '../publications.ts';
import { adminClient } from './admin-client.ts';
import type { Remote } from './remote.ts';

/** What a publisher asks of the service: what is published, and which nodes would take the next configuration. */

/** What the service publishes now; undefined before the first publication. */
export const published = async (remote: Remote): Promise<Publication['snapshot'] | undefined> => {
  const { status, text } = await remote.call('GET', '/v1/config');
  if (status === 503 || status === 404) return undefined;
  if (status !== 200) throw new CodedError('unreachable', `GET /v1/config answered ${status}: ${text.slice(0, 200)}`);
  return readConfigAnswer(Buffer.from(text)).snapshot;
};

const zNode = z.object({
  node: z.string(),
  state: z.string(),
  reasons: z.array(z.string()),
  floor: z.object({ epoch: zUint, version: zUint }).nullable(),
});
/** What the service says of one node. */
export type NodeLine = z.infer<typeof zNode>;
const zNodes = z.object({ nodes: z.array(zNode) });
const zStatus = z.object({ nodes: z.record(z.string(), zUint) });
/** The most that POST /v1/status/nodes takes. */
const BATCH = 500;

/** How many nodes are in each state. */
export const countsOf = async (remote: Remote): Promise<Readonly<Record<string, number>>> =>
  zStatus.parse(await json(remote, 'GET', '/v1/status')).nodes;

/** The named nodes; unknown ones are left out. */
export const nodesOf = async (remote: Remote, ids: readonly string[]): Promise<readonly NodeLine[]> => {
  const lines: NodeLine[] = [];
  for (let at = 0; at < ids.length; at += BATCH) {
    const body = JSON.stringify({ nodes: ids.slice(at, at + BATCH) });
    lines.push(...zNodes.parse(await json(remote, 'POST', '/v1/status/nodes', body)).nodes);
  }
  return lines;
};

/** Ids of all nodes that the service knows; an API key with admin may ask. */
export const allNodes = async (to: string, tokenFile: string, ca: string | undefined): Promise<readonly string[]> => {
  const service = await adminClient(to, tokenFile, ca);
  try {
    return zNodes.parse(JSON.parse(await service.call('GET', '/v1/admin/nodes'))).nodes.map((n) => n.node);
  } finally {
    await service.close();
  }
};

const json = async (remote: Remote, method: 'GET' | 'POST', path: string, body?: string): Promise<unknown> => {
  const { status, text } = await remote.call(method, path, body);
  if (status !== 200)
    throw new CodedError('unreachable', `${method} ${path} answered ${status}: ${text.slice(0, 200)}`);
  return JSON.parse(text) as unknown;
};
