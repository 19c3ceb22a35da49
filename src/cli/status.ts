import { Command } from 'commander';
import {
  type Condition,
  getCondition,
  type ResultityFleet,
  type ResultityNetwork,
  type ResultityNode,
} from '../api/index.ts';
import { systemClock } from '../lib/index.ts';
import { grouped } from '../placement/index.ts';
import { type AgentNumbers, agentNumbers } from './agent-numbers.ts';
import { type Cluster, type ClusterFlags, clusterOptions, withCluster } from './cluster.ts';
import { KIND } from './kinds.ts';
import { type Io, UsageError } from './program.ts';
import { ageText, type Cell, type Colour, jsonText, paint, tableLines } from './table.ts';

interface Flags extends ClusterFlags {
  readonly output: string;
  readonly watch?: boolean;
}

interface Picture {
  readonly networks: readonly ResultityNetwork[];
  readonly fleets: readonly ResultityFleet[];
  readonly nodes: readonly ResultityNode[];
  /** By name of the node; empty without `wide`, or where pods may not be proxied. */
  readonly live: ReadonlyMap<string, AgentNumbers>;
}

/** `status`: networks, fleets and nodes of a namespace at a glance. */
export const statusCommand = (io: Io): Command =>
  clusterOptions(new Command('status').description('networks, fleets and nodes at a glance'))
    .option('-o, --output <form>', 'text, wide (with what the agents say right now) or json', 'text')
    .option('-w, --watch', 'show it again whenever it changes, until interrupted')
    .action((flags: Flags) => {
      if (!['text', 'wide', 'json'].includes(flags.output))
        throw new UsageError(`--output is text, wide or json, not "${flags.output}"`);
      return withCluster(io, flags, (cluster) => show(cluster, flags));
    });

const show = async (c: Cluster, flags: Flags): Promise<void> => {
  const { io } = c;
  let before = '';
  for (;;) {
    const lines = render(io, await look(c, flags.output === 'wide'), flags.output);
    const now = lines.join('\n');
    if (now !== before) {
      if (flags.watch) io.clear?.();
      for (const line of lines) io.out(line);
    }
    before = now;
    if (!flags.watch || io.signal?.aborted) return;
    await (io.clock ?? systemClock).sleep((io.pollMs ?? 1000) * 2, io.signal).catch(() => undefined);
    if (io.signal?.aborted) return;
  }
};

const look = async (c: Cluster, wide: boolean): Promise<Picture> => {
  const [networks, fleets, nodes] = await Promise.all([c.list(KIND.network), c.list(KIND.fleet), c.list(KIND.node)]);
  const live = new Map<string, AgentNumbers>();
  if (wide)
    await Promise.all(
      nodes.map(async ({ metadata, status }) => {
        if (status?.podName === undefined || status.agent === undefined) return;
        const numbers = await agentNumbers(c, status.podName);
        if (numbers !== undefined) live.set(metadata.name ?? '', numbers);
      }),
    );
  return { networks, fleets, nodes, live };
};

const render = (io: Io, picture: Picture, output: string): string[] => {
  const { networks, fleets, nodes, live } = picture;
  if (output === 'json') return jsonText({ networks, fleets, nodes, live: Object.fromEntries(live) }).split('\n');
  if (networks.length + nodes.length === 0)
    return [
      'nothing of Resultity is in this namespace; name another with -n, or apply a ResultityNetwork and a ResultityNode',
    ];
  const wide = output === 'wide';
  const headings = [
    'NODE',
    'STATE',
    'MODEL',
    'GPU',
    'NETWORK SEES',
    'AGE',
    ...(wide ? ['RUN', 'TTFT P50', 'TOK/S', 'JOBS', 'OK %', 'HEARTBEAT', 'MACHINE'] : []),
    '',
  ];
  return [
    ...networks.map((n) => networkLine(io, n)),
    ...fleets.map(fleetLine),
    ...(nodes.length === 0
      ? []
      : [
          '',
          ...tableLines(
            io,
            headings,
            nodes.map((n) => nodeRow(n, wide, live.get(n.metadata.name ?? ''), io.now())),
          ),
        ]),
  ];
};

const networkLine = (io: Io, { metadata, status }: ResultityNetwork): string => {
  const ready = getCondition(status?.conditions, 'Ready');
  const config =
    status?.version === undefined
      ? 'no configuration yet'
      : `config v${status.version} ${status.shortDigest ?? ''} (${(status.ticketAge ?? 'unknown').toLowerCase()})   root v${status.root?.version ?? '?'}`;
  const trouble = ready === undefined || ready.status === 'True' ? '' : `   ${ready.reason}: ${ready.message}`;
  const held = status?.held === undefined ? '' : `   held: ${status.held.reason}`;
  return `NETWORK ${metadata.name}   ${config}${held}${trouble === '' ? '' : paint(io, 'red', trouble)}`;
};

const fleetLine = ({ metadata, spec, status }: ResultityFleet): string => {
  const under = getCondition(status?.conditions, 'Progressing');
  const brake = getCondition(status?.conditions, 'FleetBrake');
  const surge = getCondition(status?.conditions, 'Surge');
  return [
    `FLEET ${metadata.name}   ${status?.readyReplicas ?? 0}/${spec.replicas} ready, ${status?.updatedReplicas ?? 0} updated`,
    ...(under?.status === 'True' ? [`${under.reason}: ${under.message}`] : []),
    ...(surge?.status === 'True' || surge?.reason === 'NoSpareGPU' ? [`surge: ${surge.message}`] : []),
    ...(brake?.status === 'True' ? [`brake: ${brake.message}`] : []),
  ].join('   ');
};

const COLOUR: Readonly<Record<string, Colour>> = {
  Active: 'green',
  Unplaced: 'red',
  Degraded: 'red',
  Draining: 'yellow',
  Updating: 'yellow',
  Paused: 'yellow',
};

const nodeRow = (
  { metadata, status }: ResultityNode,
  wide: boolean,
  live: AgentNumbers | undefined,
  now: number,
): Cell[] => {
  const name = metadata.name ?? '';
  const phase = status?.phase ?? 'Pending';
  const colour = COLOUR[phase];
  const sees = getCondition(status?.conditions, 'NetworkVisible');
  const made = Date.parse(metadata.creationTimestamp ?? '');
  const number = (n: number | undefined, unit = ''): string =>
    n === undefined ? '-' : `${grouped(Math.round(n))}${unit}`;
  return [
    name,
    colour === undefined ? phase : { text: phase, colour },
    status?.modelSummary ?? status?.assignedModel ?? '-',
    status?.gpu?.summary ?? '-',
    sees === undefined ? '-' : sees.status === 'True' ? 'active' : sees.reason,
    Number.isFinite(made) ? ageText(now - made) : '-',
    ...(wide
      ? [
          number(live?.running),
          number(live?.ttftMs, ' ms'),
          number(live?.tokensPerSecond),
          number(live?.jobs),
          live?.accepted === undefined ? '-' : (Math.floor(live.accepted * 10_000) / 100).toFixed(2),
          live?.heartbeatAgeMs === undefined ? '-' : ageText(live.heartbeatAgeMs),
          status?.kubernetesNode ?? '-',
        ]
      : []),
    advice(name, phase, getCondition(status?.conditions, 'Ready')),
  ];
};

/** What to look at next, for a node that is not as it should be. */
const advice = (name: string, phase: string, ready: Condition | undefined): string => {
  if (phase === 'Active' || ready?.status === 'True') return '';
  if (phase === 'Unplaced') return `→ kubectl resultity why-not ${name}`;
  if (phase === 'Paused') return `→ kubectl resultity resume ${name}`;
  return ready === undefined ? '' : `→ ${ready.reason}: ${ready.message}`;
};
