import { createHash } from 'node:crypto';
import { LABEL } from '../src/api/contract.ts';
import { bounded, keySecretName, MAX_NAME } from '../src/api/index.ts';

export { bounded, keySecretName };

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

export const claimName = (node: string, use: 'state' | 'models'): string => bounded(`${node}-${use}`);

/** The pinned root and the CA bundle for the pods of a network. */
export const trustName = (network: string): string => bounded(`${network}-trust`);

/** The verified chain, signatures and snapshot of a network. */
export const configName = (network: string): string => bounded(`${network}-config`);

/** `<network>-<slug>-<8 hex>`: the hex digits tell apart models whose slugs are the same. */
export const modelName = (network: string, model: string): string => {
  const hash = createHash('sha256').update(`${network}/${model}`).digest('hex').slice(0, 8);
  const head = `${network}-${slug(model)}`;
  return `${head.slice(0, MAX_NAME - 9).replace(/[^a-z0-9]+$/, '')}-${hash}`;
};

/** A label's value of a model reference; `:` and `/` are not allowed there. */
export const modelLabel = (model: string): string =>
  bounded(model.replace(/[^A-Za-z0-9._-]/g, '.').replace(/^[^A-Za-z0-9]+|[^A-Za-z0-9]+$/g, ''));

export type Role =
  | 'node'
  | 'trust'
  | 'config'
  | 'key'
  | 'state'
  | 'models'
  | 'model'
  | 'agent-account'
  | 'pull'
  | 'policy'
  | 'budget';

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
