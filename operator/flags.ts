import { parseArgs } from 'node:util';
import { z } from 'zod';
import { CodedError } from '../src/lib/index.ts';

const list = z
  .string()
  .default('')
  .transform((text) =>
    text
      .split(',')
      .map((part) => part.trim())
      .filter((part) => part !== ''),
  );
const bool = (byDefault: boolean) =>
  z
    .enum(['true', 'false'])
    .default(byDefault ? 'true' : 'false')
    .transform((v) => v === 'true');
const int = (byDefault: number, min: number, max: number) =>
  z.coerce.number().int().min(min).max(max).default(byDefault);

/**
 * Every setting of the operator: `--watch-namespace x` on the command line, or RESULTITY_WATCH_NAMESPACE in the
 * environment; the command line wins. The chart sets these and nothing else.
 */
export const zFlags = z.object({
  'watch-namespace': z.string().default('').describe('The one namespace to watch; all when empty.'),
  'agent-image': z
    .string()
    .default('')
    .describe('Agent image (repository@sha256:…) that replaces the snapshot’s own; empty = the snapshot decides.'),
  'allowed-repositories': list.describe(
    'Repositories, comma separated, that images are pulled from; images.allowedRepositories of a network narrows it.',
  ),
  'agent-cluster-role': z
    .string()
    .default('resultity-agent')
    .describe('ClusterRole that the agents’ RoleBindings name.'),
  'watch-nodes': bool(true).describe(
    'List and watch Kubernetes nodes for the GPU inventory; without it GPUFit is Unknown.',
  ),
  'metrics-port': int(8080, 0, 65_535).describe('Port of /metrics, /healthz, /readyz and /statusz.'),
  'profile-port': int(0, 0, 65_535).describe(
    'Port of /debug/cpu and /debug/heap, on loopback only; 0 = none. A heap snapshot holds what the operator knows.',
  ),
  'leader-election': bool(true).describe('Hold a Lease before writing.'),
  'leader-election-namespace': z
    .string()
    .default('')
    .describe('Namespace of the Lease; the operator’s own when empty.'),
  'leader-election-name': z.string().default('resultity-operator').describe('Name of the Lease.'),
  'log-level': z
    .enum(['trace', 'debug', 'info', 'warn', 'error'])
    .default('info')
    .describe('Least level that is logged.'),
  'agent-log-level': z
    .enum(['trace', 'debug', 'info', 'warn', 'error'])
    .default('info')
    .describe('The same in the agents.'),
  concurrency: int(8, 1, 64).describe('Nodes reconciled at the same time.'),
  'poll-floor-ms': int(5_000, 100, 3_600_000).describe(
    'A network is polled no more often than this, whatever its snapshot says.',
  ),
  uninstall: z
    .string()
    .default('')
    .describe('Name of the operator’s Deployment: stop it, take our finalizers off every object, and end.'),
  kubeconfig: z.string().default('').describe('Kubeconfig file; inside a pod its service account is used.'),
  context: z.string().default('').describe('Context of the kubeconfig.'),
});
export type Flags = z.infer<typeof zFlags>;

/**
 * Parses arguments and environment into one frozen object.
 * @throws CodedError `usage` with every flag that is wrong
 */
export const parseFlags = (args: readonly string[], env: Readonly<Record<string, string | undefined>>): Flags => {
  const names = Object.keys(zFlags.shape);
  let given: Record<string, string | undefined>;
  try {
    given = parseArgs({
      args: [...args],
      options: Object.fromEntries(names.map((name) => [name, { type: 'string' as const }])),
      strict: true,
    }).values as Record<string, string | undefined>;
  } catch (cause) {
    throw new CodedError('usage', `unknown or incomplete flag; known are ${names.map((n) => `--${n}`).join(' ')}`, {
      cause,
    });
  }
  const merged = Object.fromEntries(
    names.flatMap((name) => {
      const value = given[name] ?? env[`RESULTITY_${name.toUpperCase().replaceAll('-', '_')}`];
      return value === undefined ? [] : [[name, value]];
    }),
  );
  const parsed = zFlags.safeParse(merged);
  if (!parsed.success)
    throw new CodedError('usage', parsed.error.issues.map((i) => `--${i.path.join('.')}: ${i.message}`).join('; '));
  return Object.freeze(parsed.data);
};
