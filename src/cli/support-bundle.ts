import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Command } from 'commander';
import { stringify } from 'yaml';
import { AGENT_PORT, CONTAINER } from '../api/contract.ts';
import { errorText } from '../lib/index.ts';
import { type Cluster, type ClusterFlags, clusterOptions, withCluster } from './cluster.ts';
import { KIND } from './kinds.ts';
import { type Io, UsageError } from './program.ts';
import { redact, redactText } from './redact.ts';

interface Flags extends ClusterFlags {
  readonly to?: string;
  readonly tail: string;
}

/** `support-bundle`: a folder with everything that helps somebody who cannot look at the cluster, and no secret. */
export const supportBundleCommand = (io: Io, version: string): Command =>
  clusterOptions(
    new Command('support-bundle').description(
      'write a folder for support: resources, events, logs; redacted, no Secret is read',
    ),
  )
    .option('--to <dir>', 'the folder; it must not exist (default: ./resultity-support-<time>)')
    .option('--tail <lines>', 'so many of the last lines of each log', '2000')
    .action((flags: Flags) => {
      if (!/^\d{1,9}$/.test(flags.tail)) throw new UsageError('--tail takes a number of lines');
      return withCluster(io, flags, (cluster) => write(cluster, flags, version));
    });

const write = async (c: Cluster, flags: Flags, version: string): Promise<void> => {
  const { io } = c;
  const dir = flags.to ?? `resultity-support-${new Date(io.now()).toISOString().replace(/[:.]/g, '-')}`;
  try {
    await mkdir(dir, { mode: 0o700 });
  } catch (error) {
    throw new UsageError(`${dir} cannot be made (${errorText(error)}); name a folder that does not exist with --to`);
  }
  const left: string[] = [];
  const file = (name: string, text: string): Promise<void> => writeFile(join(dir, name), text, { mode: 0o600 });
  /** What cannot be had is listed, and the rest goes on. */
  const part = async (name: string, gather: () => Promise<string>): Promise<void> => {
    try {
      await file(name, await gather());
    } catch (error) {
      if (io.signal?.aborted) throw error;
      left.push(`${name}: ${redactText(errorText(error))}`);
    }
  };
  const objects = (value: unknown): string => stringify(redact(value), { aliasDuplicateObjects: false });

  await part('version.yaml', async () =>
    objects({ plugin: version, server: await c.client.raw('GET', '/version'), namespace: c.namespace }),
  );
  for (const [name, kind] of [
    ['resultitynetworks', KIND.network],
    ['resultityfleets', KIND.fleet],
    ['approvedmodels', KIND.model],
  ] as const)
    await part(`${name}.yaml`, async () => objects(await c.list<object>(kind)));
  const nodes = await c.list(KIND.node);
  await part('resultitynodes.yaml', async () => objects(nodes));
  await part('pods.yaml', async () => objects(await c.list(KIND.pod, 'app.kubernetes.io/part-of=resultity')));
  await part('events.yaml', async () => objects(await c.list(KIND.event)));
  await part('machines.yaml', async () =>
    objects((await c.list(KIND.machine)).map(({ metadata, spec, status }) => ({ metadata, spec, status }))),
  );
  for (const { metadata, status } of nodes) {
    const pod = status?.podName;
    if (pod === undefined) continue;
    await part(
      `${metadata.name}-statusz.json`,
      async () => `${JSON.stringify(redact(await c.proxied(pod, AGENT_PORT, '/statusz')), null, 2)}\n`,
    );
    for (const container of Object.values(CONTAINER))
      await part(`${metadata.name}-${container}.log`, () => log(c, pod, container, flags.tail));
  }
  await file('left-out.txt', left.length === 0 ? 'nothing\n' : `${left.join('\n')}\n`);
  io.out(
    `wrote ${dir}: look through it before you send it; Secrets were not read${left.length === 0 ? '' : `; ${left.length} parts are missing, see left-out.txt`}`,
  );
};

const log = async (c: Cluster, pod: string, container: string, tail: string): Promise<string> => {
  const stop = new AbortController();
  const signal = c.io.signal === undefined ? stop.signal : AbortSignal.any([stop.signal, c.io.signal]);
  let text = '';
  for await (const line of c.lines(pod, { container, timestamps: true, tailLines: tail }, signal)) text += `${line}\n`;
  return redactText(text);
};
