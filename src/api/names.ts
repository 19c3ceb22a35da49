import { createHash } from 'node:crypto';

/** The longest name of a child object, and the longest value of a label. */
export const MAX_NAME = 63;

/** `name` if it is at most 63 characters, else its beginning and ten hex digits of its hash: hashed, never just cut. */
export const bounded = (name: string): string => {
  if (name.length <= MAX_NAME) return name;
  const hash = createHash('sha256').update(name).digest('hex').slice(0, 10);
  return `${name.slice(0, MAX_NAME - 11).replace(/[^a-z0-9]+$/i, '')}-${hash}`;
};

/** The Secret with a node's key: the node's name and the key's address. */
export const keySecretName = (node: string, nodeId: string): string => bounded(`${node}-${nodeId.toLowerCase()}`);
