import { Command, Option } from 'commander';
import { CONTAINER } from '../api/contract.ts';
import { CodedError } from '../lib/index.ts';
import { parseSeconds } from './actions.ts';
import { type Cluster, type ClusterFlags, clusterOptions, withCluster } from './cluster.ts';
import { KIND } from './kinds.ts';
import { type Io, UsageError } from './program.ts';
import { paint } from './table.ts';

interface Flags extends ClusterFlags {
  readonly container: 'agent' | 'runtime' | 'all';
  readonly follow?: boolean;
  readonly tail: string;
  readonly since?: number;
  readonly previous?: boolean;
}

/** `logs NODE`: of the agent, of the runtime, or both merged by time. */
export const logsCommand = (io: Io): Command =>
  clusterOptions(
    new Command('logs')
      .description('logs of a node’s agent and runtime, merged by time')
      .argument('<node>', 'a ResultityNode'),
  )
    .addOption(new Option('-c, --container <which>', 'whose log').choices(['agent', 'runtime', 'all']).default('all'))
    .option('-f, --follow', 'go on with new lines until interrupted')
    .option('--tail <lines>', 'so many of the last lines of each, or all', '200')
    .option('--since <duration>', 'only lines younger than this, for example 10m', parseSeconds)
    .option('-p, --previous', 'of the containers before their last restart')
    .action((name: string, flags: Flags) => {
      if (flags.tail !== 'all' && !/^\d{1,9}$/.test(flags.tail))
        throw new UsageError('--tail takes a number of lines, or all');
      return withCluster(io, flags, (cluster) => logs(cluster, name, flags));
    });

const logs = async (c: Cluster, name: string, flags: Flags): Promise<void> => {
  const { status } = await c.get(KIND.node, name);
  const pod = status?.podName;
  if (pod === undefined)
    throw new CodedError('no_pod', `${name} has no pod, so no logs; kubectl resultity why-not ${name}`);
  const which = flags.container === 'all' ? [CONTAINER.agent, CONTAINER.runtime] : [CONTAINER[flags.container]];
  const wide = Math.max(...which.map((w) => w.length));
  const stop = new AbortController();
  const signal = c.io.signal === undefined ? stop.signal : AbortSignal.any([stop.signal, c.io.signal]);
  const write = (container: string, line: string): void => {
    const text = line.slice(line.indexOf(' ') + 1);
    c.io.out(
      which.length === 1
        ? text
        : `${paint(c.io, container === CONTAINER.agent ? 'dim' : 'green', container.padEnd(wide))}  ${text}`,
    );
  };
  try {
    if (flags.follow === true)
      await Promise.all(which.map((w) => follow(c, pod, w, flags, signal, (line) => write(w, line))));
    else for (const { container, line } of await collect(c, pod, which, flags, signal)) write(container, line);
  } catch (error) {
    if (c.io.signal?.aborted) return;
    throw c.explain(error, 'get', 'pods/log');
  } finally {
    stop.abort();
  }
};

const follow = async (
  c: Cluster,
  pod: string,
  container: string,
  flags: Flags,
  signal: AbortSignal,
  write: (line: string) => void,
): Promise<void> => {
  for await (const line of c.lines(pod, query(container, flags), signal)) write(line);
};

/** Each line begins with its time, by which they are merged; equal times keep the order of the container. */
const collect = async (
  c: Cluster,
  pod: string,
  which: readonly string[],
  flags: Flags,
  signal: AbortSignal,
): Promise<{ readonly container: string; readonly line: string }[]> => {
  const all: { readonly container: string; readonly line: string }[] = [];
  for (const container of which)
    for await (const line of c.lines(pod, query(container, flags), signal)) all.push({ container, line });
  const at = ({ line }: { readonly line: string }): string => line.slice(0, Math.max(0, line.indexOf(' ')));
  return all.sort((a, b) => (at(a) < at(b) ? -1 : at(a) > at(b) ? 1 : 0));
};

const query = (container: string, flags: Flags) => ({
  container,
  timestamps: true,
  ...(flags.follow === true ? { follow: true } : {}),
  ...(flags.previous === true ? { previous: true } : {}),
  ...(flags.tail === 'all' ? {} : { tailLines: flags.tail }),
  ...(flags.since === undefined ? {} : { sinceSeconds: flags.since }),
});
