import { Command } from 'commander';
import type { ResultityFleet, ResultityNode } from '../api/index.ts';
import { controllerOf } from '../kube/index.ts';
import {
  type ClaimFacts,
  gpuOffers,
  nodeFacts,
  podUse,
  type WhyNotFacts,
  whyNot,
  whyNotLines,
} from '../placement/index.ts';
import { type Cluster, type ClusterFlags, clusterOptions, withCluster } from './cluster.ts';
import { KIND } from './kinds.ts';
import { type Io, UsageError } from './program.ts';

interface Flags extends ClusterFlags {
  readonly output: string;
}

/** `why-not NODE`: why a node has no place, by the operator's own planner over what the caller may see. */
export const whyNotCommand = (io: Io): Command =>
  clusterOptions(
    new Command('why-not')
      .description('why a node is not placed, and what would help')
      .argument('<node>', 'a ResultityNode'),
  )
    .option('-o, --output <form>', 'text, wide (with every Kubernetes node) or json', 'text')
    .action((name: string, flags: Flags) => {
      if (!['text', 'wide', 'json'].includes(flags.output))
        throw new UsageError(`--output is text, wide or json, not "${flags.output}"`);
      return withCluster(io, flags, async (cluster) => {
        const answer = whyNot(await gather(cluster, name));
        if (flags.output === 'json') io.out(JSON.stringify(answer, null, 2));
        else for (const line of whyNotLines(answer, flags.output === 'wide')) io.out(line);
      });
    });

/** What a person may not see is left out, and said on stderr. */
const gather = async (c: Cluster, name: string): Promise<WhyNotFacts> => {
  const node = await c.get(KIND.node, name);
  const networkName = node.spec.networkRef.name;
  const owner = controllerOf(node);
  const [network, models, others, fleet, machines, claims] = await Promise.all([
    c.find(KIND.network, networkName),
    c.list(KIND.model),
    c.list(KIND.node),
    owner?.kind === 'ResultityFleet' ? c.find(KIND.fleet, owner.name) : undefined,
    c.listIfAllowed(KIND.machine),
    claimsOf(c, node),
  ]);
  // Who takes GPUs may run in any namespace.
  const pods = machines === undefined ? undefined : await podsEverywhere(c);
  if (machines === undefined) c.io.err('you may not list nodes: GPUs are not judged');
  else if (pods === undefined) c.io.err('you may not list pods of all namespaces: every GPU is taken for free');
  const servers = new Map<string, number>();
  for (const { metadata, status, spec } of others)
    if (metadata.name !== name && spec.networkRef.name === networkName && status?.assignedModel !== undefined)
      servers.set(status.assignedModel, (servers.get(status.assignedModel) ?? 0) + 1);
  return {
    node,
    network,
    models: models.filter((m) => m.spec.networkRef.name === networkName),
    servers,
    fleet,
    offers: machines && gpuOffers(machines.map(nodeFacts), (pods ?? []).map(podUse), asked(node, fleet)),
    claims,
  };
};

/** A resource of any name counts as GPUs when the node, or a pool of its fleet, asks for it. */
const asked = (node: ResultityNode, fleet: ResultityFleet | undefined): string[] =>
  [node.spec.placement, ...(fleet?.spec.pools ?? [])].flatMap(({ gpu }) =>
    gpu === undefined ? [] : [gpu.resourceName],
  );

const podsEverywhere = async (c: Cluster) => {
  try {
    const all = [];
    for await (const pod of c.client.listAll(KIND.pod, { signal: c.io.signal })) all.push(pod);
    return all;
  } catch {
    return c.listIfAllowed(KIND.pod);
  }
};

const claimsOf = async (c: Cluster, node: ResultityNode): Promise<ClaimFacts[]> => {
  const wanted = node.spec.placement.resourceClaims ?? [];
  if (wanted.length === 0) return [];
  const pod = node.status?.podName === undefined ? undefined : await c.find(KIND.pod, node.status.podName);
  return Promise.all(
    wanted.map(async ({ name, resourceClaimName }): Promise<ClaimFacts> => {
      const made = pod?.status?.resourceClaimStatuses?.find((s) => s.name === name)?.resourceClaimName;
      const claim = await findClaim(c, resourceClaimName ?? made);
      if (claim === undefined) return { name, state: 'missing' };
      if (claim.status?.allocation === undefined) return { name, state: 'pending' };
      return { name, state: (claim.status.reservedFor?.length ?? 0) > 0 ? 'reserved' : 'allocated' };
    }),
  );
};

const findClaim = async (c: Cluster, name: string | undefined) =>
  name === undefined ? undefined : (await c.listIfAllowed(KIND.claim))?.find((claim) => claim.metadata?.name === name);
