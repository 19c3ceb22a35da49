import { rootCertificates } from 'node:tls';
import { Agent, type Dispatcher, ProxyAgent, request } from 'undici';
import { z } from 'zod';
import type { ResultityNetwork } from '../../src/api/index.ts';
import { isNotFound, type KubeClient } from '../../src/kube/index.ts';
import { errorText } from '../../src/lib/index.ts';
import { type Address, type NodeStatus, parseStrictJson, zNodeStatus } from '../../src/protocol/index.ts';
import { KIND } from '../kinds.ts';

/** A text that a ResultityNetwork names, inline or in a ConfigMap. */
export type Named =
  | { readonly kind: 'none' }
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'missing'; readonly message: string };

const fromConfigMap = async (
  client: KubeClient,
  namespace: string | undefined,
  ref: { name: string; key: string },
  what: string,
  signal: AbortSignal,
): Promise<Named> => {
  try {
    const map = await client.get(KIND.configMap, { name: ref.name, namespace }, { signal });
    const text =
      map.data?.[ref.key] ??
      (map.binaryData?.[ref.key] === undefined
        ? undefined
        : Buffer.from(map.binaryData[ref.key] ?? '', 'base64').toString('utf8'));
    return text === undefined
      ? { kind: 'missing', message: `ConfigMap "${ref.name}" has no key "${ref.key}" with the ${what}` }
      : { kind: 'text', text };
  } catch (error) {
    if (isNotFound(error))
      return { kind: 'missing', message: `there is no ConfigMap "${ref.name}" with the ${what} in this namespace` };
    throw error;
  }
};

export const readPinnedRoot = async (
  client: KubeClient,
  { metadata, spec }: ResultityNetwork,
  signal: AbortSignal,
): Promise<Named> =>
  spec.trust.rootConfigMap !== undefined
    ? fromConfigMap(client, metadata.namespace, spec.trust.rootConfigMap, 'pinned root', signal)
    : { kind: 'text', text: spec.trust.root ?? '' };

export const readCaBundle = async (
  client: KubeClient,
  { metadata, spec }: ResultityNetwork,
  signal: AbortSignal,
): Promise<Named> => {
  const bundle = spec.tls?.caBundle;
  if (bundle?.configMap !== undefined)
    return fromConfigMap(client, metadata.namespace, bundle.configMap, 'CA bundle', signal);
  return bundle?.inline === undefined ? { kind: 'none' } : { kind: 'text', text: bundle.inline };
};

/** Connections to one network: the system's authorities and the bundle's, through its proxy. Close it when done. */
export const dispatcherFor = (ca: string | undefined, proxy: string | undefined): Dispatcher => {
  const tls = ca === undefined ? {} : { ca: [...rootCertificates, ca] };
  const common = { keepAliveTimeout: 30_000, allowH2: false } as const;
  return proxy === undefined
    ? new Agent({ ...common, connect: { ...tls, timeout: 10_000 } })
    : new ProxyAgent({ ...common, uri: proxy, requestTls: tls, proxyTls: tls });
};

const MAX_NODES = 500;
const MAX_ANSWER_BYTES = 1_048_576;
const zAnswer = z.object({ nodes: z.array(zNodeStatus) });

export interface SightAnswer {
  readonly nodes: ReadonlyMap<Address, NodeStatus>;
  /** Why there is no answer; then `nodes` is empty. */
  readonly error: string | undefined;
}

/** `POST /v1/status/nodes`, in parts of 500. Unsigned and unproved: it makes a condition, nothing else. Throws only for `signal`. */
export const askSight = async (
  endpoint: string,
  dispatcher: Dispatcher,
  ids: readonly Address[],
  signal: AbortSignal,
): Promise<SightAnswer> => {
  const url = `${endpoint.replace(/\/+$/, '')}/v1/status/nodes`;
  const nodes = new Map<Address, NodeStatus>();
  for (let at = 0; at < ids.length; at += MAX_NODES) {
    try {
      const answer = await request(url, {
        method: 'POST',
        dispatcher,
        headers: { 'content-type': 'application/json', accept: 'application/json' },
        body: JSON.stringify({ nodes: ids.slice(at, at + MAX_NODES) }),
        signal: AbortSignal.any([signal, AbortSignal.timeout(15_000)]),
      });
      const text = await bodyText(answer.body);
      if (answer.statusCode !== 200)
        return { nodes: new Map(), error: `the network's status call answered ${answer.statusCode}` };
      for (const status of zAnswer.parse(parseStrictJson(text)).nodes) nodes.set(status.node, status);
    } catch (error) {
      if (signal.aborted) throw signal.reason;
      return { nodes: new Map(), error: `the network cannot be asked (${errorText(error).slice(0, 150)})` };
    }
  }
  return { nodes, error: undefined };
};

const bodyText = async (body: AsyncIterable<Uint8Array>): Promise<string> => {
  const parts: Uint8Array[] = [];
  let size = 0;
  for await (const part of body) {
    size += part.length;
    if (size > MAX_ANSWER_BYTES) throw new RangeError('the answer is too large');
    parts.push(part);
  }
  return Buffer.concat(parts).toString('utf8');
};
