import { createHash } from 'node:crypto';
import { LABEL } from '../src/api/contract.ts';

/** The longest name of a child object, and the longest value of a label. */
const MAX = 63;

/** `name` if it is at most 63 characters, else its beginning and ten hex digits of its hash: hashed, never just cut. */
export const bounded = (name: string): string => {
  if (name.length <= MAX) return name;
  const hash = createHash('sha256').update(name).digest('hex').slice(0, 10);
  return `${name.slice(0, MAX - 11).replace(/[^a-z0-9]+$/i, '')}-${hash}`;
};

/** Lower case, digits and dashes of a text; never empty. */
export const slug = (text: string): string =>
  text
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .replace(/^-+|-+$/g, '') || 'x';

/** The pod of a node carries the node's name, so the API server itself keeps it to one live pod per identity. */
export const podName = (node: string): string => bounded(node);

/** The pod that brings new images to the machine of a node's pod. */
export const pullName = (node: string): string => bounded(`${node}-pull`);

/** The Secret with a generated key: the node's name and the key's address. */
export const keySecretName = (node: string, nodeId: string): string => bounded(`${node}-${nodeId.toLowerCase()}`);

export const claimName = (node: string, use: 'state' | 'models'): string => bounded(`${node}-${use}`);

/** The pinned root and the CA bundle for the pods of a network. */
export const trustName = (network: string): string => bounded(`${network}-trust`);

/** The verified chain, signatures and snapshot of a network. */
export const configName = (network: string): string => bounded(`${network}-config`);

/** `<network>-<slug>-<8 hex>`: the hex digits tell apart models whose slugs are the same. */
export const modelName = (network: string, model: string): string => {
  const hash = createHash('sha256').update(`${network}/${model}`).digest('hex').slice(0, 8);
  const head = `${network}-${slug(model)}`;
  return `${head.slice(0, MAX - 9).replace(/[^a-z0-9]+$/, '')}-${hash}`;
};

/** A label's value of a model reference; `:` and `/` are not allowed there. */
export const modelLabel = (model: string): string =>
  bounded(model.replace(/[^A-Za-z0-9._-]/g, '.').replace(/^[^A-Za-z0-9]+|[^A-Za-z0-9]+$/g, ''));

export type Role = 'node' | 'trust' | 'config' | 'key' | 'state' | 'models' | 'model' | 'agent-account' | 'pull';

/** Labels of every child. */
export const childLabels = (
  role: Role,
  of: {
    readonly node?: string;
    readonly network?: string;
    readonly fleet?: string | undefined;
    readonly model?: string | undefined;
    readonly version?: string;
  },
): Record<string, string> => ({
  'app.kubernetes.io/name': 'resultity',
  'app.kubernetes.io/instance': bounded(of.node ?? of.network ?? 'resultity'),
  'app.kubernetes.io/component': role,
  'app.kubernetes.io/part-of': 'resultity',
  'app.kubernetes.io/managed-by': 'resultity-operator',
  ...(of.version === undefined
    ? {}
    : { 'app.kubernetes.io/version': bounded(of.version.replace(/[^A-Za-z0-9._-]/g, '.')) }),
  [LABEL.role]: role,
  ...(of.node === undefined ? {} : { [LABEL.node]: bounded(of.node) }),
  ...(of.network === undefined ? {} : { [LABEL.network]: bounded(of.network) }),
  ...(of.fleet === undefined ? {} : { [LABEL.fleet]: bounded(of.fleet) }),
  ...(of.model === undefined ? {} : { [LABEL.model]: modelLabel(of.model) }),
});
