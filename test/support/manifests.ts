/** The smallest manifest of each kind, and a way to change one field of a copy. */
import type { ResourceKind } from '../../src/api/index.ts';

export type Manifest = Record<string, unknown>;

const apiVersion = 'resultity.com/v1alpha1';
export const digestOf = (digit: string): string => `sha256:${digit.repeat(64)}`;

/** What a user has to write, and no more; `metadata.name` is the kind in lower case. */
export const smallest: Readonly<Record<ResourceKind, Manifest>> = {
  ResultityNetwork: {
    apiVersion,
    kind: 'ResultityNetwork',
    metadata: { name: 'resultitynetwork' },
    spec: {
      endpoint: 'https://io.network.resultity.com',
      environment: 'testnet',
      trust: { rootConfigMap: { name: 'resultity-testnet-root' } },
    },
  },
  ResultityNode: {
    apiVersion,
    kind: 'ResultityNode',
    metadata: { name: 'resultitynode' },
    spec: { networkRef: { name: 'testnet' }, owner: { email: 'ops@example.com' } },
  },
  ResultityFleet: {
    apiVersion,
    kind: 'ResultityFleet',
    metadata: { name: 'resultityfleet' },
    spec: {
      template: {
        networkRef: { name: 'testnet' },
        owner: { wallet: '0x52908400098527886E0F7030069857D2E4169EE7' },
      },
    },
  },
  ApprovedModel: {
    apiVersion,
    kind: 'ApprovedModel',
    metadata: { name: 'approvedmodel' },
    spec: {
      networkRef: { name: 'testnet' },
      name: 'qwen3-32b-instruct',
      version: 'v2',
      digest: digestOf('a'),
      size: 65_000_000_000,
      state: 'active',
      tasks: ['chat.completions'],
      requires: { gpus: 1, gpuMemoryMiB: 71_680, diskMiB: 69_632 },
    },
  },
};

/** A deep copy with values set by dotted path; `undefined` removes the field. A number in a path is an index. */
export function withFields(manifest: Manifest, fields: Readonly<Record<string, unknown>>): Manifest {
  const copy = structuredClone(manifest);
  for (const [path, value] of Object.entries(fields)) {
    const keys = path.split('.');
    const last = keys.pop() ?? '';
    let at: Manifest = copy;
    for (const key of keys) {
      at[key] ??= {};
      at = at[key] as Manifest;
    }
    if (value === undefined) delete at[last];
    else at[last] = value;
  }
  return copy;
}
