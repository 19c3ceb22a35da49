import { Command } from 'commander';
import type { ApprovedModel } from '../api/index.ts';
import { getCondition } from '../api/index.ts';
import { grouped } from '../placement/index.ts';
import { type ClusterFlags, clusterOptions, withCluster } from './cluster.ts';
import { KIND } from './kinds.ts';
import { type Io, UsageError } from './program.ts';
import { type Cell, jsonText, tableLines } from './table.ts';

/** `models`: what the network approves, what it needs, and how many nodes have it. */
export const modelsCommand = (io: Io): Command =>
  clusterOptions(new Command('models').description('the approved models: state, needs, and on how many nodes they are'))
    .option('-o, --output <form>', 'text or json', 'text')
    .action((flags: ClusterFlags & { output: string }) => {
      if (flags.output !== 'text' && flags.output !== 'json')
        throw new UsageError(`--output is text or json, not "${flags.output}"`);
      return withCluster(io, flags, async (cluster) => {
        const models = await cluster.list(KIND.model);
        if (flags.output === 'json') return io.out(jsonText(models));
        if (models.length === 0)
          return io.out('no model is approved here; kubectl resultity status tells of the networks');
        const headings = ['MODEL', 'NETWORK', 'STATE', 'NEEDS', 'SIZE', 'ACTIVE', 'PENDING', 'FAILED', 'APPROVED'];
        for (const line of tableLines(io, headings, models.map(row))) io.out(line);
      });
    });

const row = ({ spec, status }: ApprovedModel): Cell[] => {
  const { requires } = spec;
  const approved = getCondition(status?.conditions, 'Approved');
  const failed = status?.nodes?.failed ?? 0;
  return [
    `${spec.name}:${spec.version}`,
    spec.networkRef.name,
    { text: spec.state, colour: spec.state === 'active' ? 'green' : 'dim' },
    requires.gpus === 0
      ? 'no GPU'
      : `${requires.gpus} × ${grouped(requires.gpuMemoryMiB)} MiB${requires.computeCapability === undefined ? '' : `, ≥ ${requires.computeCapability}`}`,
    status?.sizeSummary ?? '-',
    String(status?.nodes?.active ?? 0),
    String(status?.nodes?.pending ?? 0),
    failed === 0 ? '0' : { text: String(failed), colour: 'red' },
    approved === undefined
      ? '-'
      : approved.status === 'True'
        ? 'yes'
        : { text: `no: ${approved.reason}`, colour: 'red' },
  ];
};
