import { Command } from 'commander';
import { ANNOTATION } from '../api/contract.ts';
import { controllerOf } from '../kube/index.ts';
import { parseSeconds } from './actions.ts';
import { type Cluster, type ClusterFlags, clusterOptions, withCluster } from './cluster.ts';
import { KIND } from './kinds.ts';
import { type Io, UsageError } from './program.ts';
import { done, notYet, waitUntil } from './wait.ts';

interface Flags extends ClusterFlags {
  readonly fleet?: string;
  readonly network?: string;
  readonly timeout: number;
  readonly wait: boolean;
}

/** `config hold|release`: a person keeps nodes where they are. Only the network's signers can lead one back. */
export const holdCommands = (io: Io): Command[] => {
  const command = (name: string, summary: string): Command =>
    clusterOptions(new Command(name).description(summary).argument('[node...]', 'ResultityNodes'))
      .option('--fleet <name>', 'all nodes of a ResultityFleet')
      .option('--network <name>', 'all nodes of a ResultityNetwork')
      .option('--timeout <duration>', 'how long to wait for it to be done', parseSeconds, 60)
      .option('--no-wait', 'order it and do not wait');
  const run = (act: (c: Cluster, name: string, flags: Flags) => Promise<void>) => (names: string[], flags: Flags) =>
    withCluster(io, flags, async (c) => {
      for (const name of await chosen(c, names, flags)) await act(c, name, flags);
    });
  return [
    command('hold', 'stay on the applied configuration and images, until release').action(run(hold)),
    command('release', 'follow the network again; images that were patched back are tried again').action(run(release)),
  ];
};

const chosen = async (c: Cluster, names: readonly string[], { fleet, network }: Flags): Promise<readonly string[]> => {
  if ([names.length > 0, fleet !== undefined, network !== undefined].filter(Boolean).length !== 1)
    throw new UsageError('name ResultityNodes, or all of them with --fleet NAME or --network NAME');
  if (fleet !== undefined) await c.get(KIND.fleet, fleet);
  else if (network !== undefined) await c.get(KIND.network, network);
  else return names;
  const all = await c.list(KIND.node);
  const meant = all.filter((n) =>
    network === undefined
      ? controllerOf(n)?.name === fleet && controllerOf(n)?.kind === 'ResultityFleet'
      : n.spec.networkRef.name === network,
  );
  return meant.map((n) => n.metadata.name ?? '');
};

const hold = async (c: Cluster, name: string, flags: Flags): Promise<void> => {
  await c.get(KIND.node, name);
  await c.patch(KIND.node, name, { metadata: { annotations: { [ANNOTATION.hold]: 'true' } } });
  if (flags.wait)
    await waitUntil(
      c.io,
      { what: `holding ${name}`, seconds: flags.timeout, hint: `The annotation stays: ${ANNOTATION.hold}.` },
      async () => {
        const { status } = await c.get(KIND.node, name);
        const nothing = status?.podName === undefined || status.agent?.config?.applied === undefined;
        return status?.config?.heldAt !== undefined || nothing ? done : notYet('the operator has not said held yet');
      },
    );
  const { status } = await c.get(KIND.node, name);
  const at = status?.config?.heldAt ?? status?.agent?.config?.applied;
  c.io.out(
    `${name} is held${at === undefined ? '' : ` at ${at.replace('sha256:', '').slice(0, 12)}`}; kubectl resultity config release ${name} ends it`,
  );
};

const release = async (c: Cluster, name: string): Promise<void> => {
  await c.get(KIND.node, name);
  const annotations = { [ANNOTATION.hold]: null, [ANNOTATION.rolledBack]: null };
  await c.patch(KIND.node, name, { metadata: { annotations } });
  c.io.out(`${name} follows the network again`);
};
