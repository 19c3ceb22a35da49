import type { ApprovedModel, ResultityFleet, ResultityNetwork, ResultityNode } from '../api/index.ts';
import { type AskedModel, fitOfNode, gpuWanted, limitsOf, needOf, placementIn } from './ask.ts';
import { assignModel, type Candidate } from './assign.ts';
import { type FitVerdict, type NodeView, planFit, viewNodes } from './fit.ts';
import { wantedCount, wantedMiB } from './obstacles.ts';
import type { GpuOffer } from './offers.ts';
import { grouped } from './quantity.ts';
import { fixOf, notOfPlacement } from './remedies.ts';

/** A resource claim of the node's pod, as the cluster shows it. */
export interface ClaimFacts {
  readonly name: string;
  readonly state: 'missing' | 'pending' | 'allocated' | 'reserved';
}

/** Everything that the answer rests on; what an ordinary user may read. */
export interface WhyNotFacts {
  readonly node: ResultityNode;
  readonly network: ResultityNetwork | undefined;
  /** Of the node's network. */
  readonly models: readonly ApprovedModel[];
  /** Other nodes of the network that have each model. */
  readonly servers: ReadonlyMap<string, number>;
  /** undefined for a node of its own. */
  readonly fleet: ResultityFleet | undefined;
  /** undefined where Kubernetes nodes may not be looked at. */
  readonly offers: readonly GpuOffer[] | undefined;
  readonly claims: readonly ClaimFacts[];
}

/** One thing that stands in the way, in the words of the node's conditions. */
export interface Finding {
  readonly reason: string;
  readonly message: string;
  /** What a person can do. */
  readonly fix: string;
}

/** One pool of the fleet, or one kind of GPU of the cluster. */
export interface PoolAnswer {
  readonly name: string;
  readonly nodes: number;
  readonly gpus: number;
  readonly free: number;
  readonly fits: boolean;
  readonly text: string;
}

/** placed = the pod has its machine; fits = a GPU is free; waits = one will do later; blocked = nothing happens by itself. */
export interface WhyNot {
  readonly node: string;
  readonly answer: 'placed' | 'fits' | 'waits' | 'blocked';
  /** Where it runs. */
  readonly kubernetesNode?: string;
  readonly needs?: string;
  /** The first is what counts. */
  readonly findings: readonly Finding[];
  readonly pools: readonly PoolAnswer[];
  readonly nodes: readonly NodeView[];
  /** Another model of the network that a free GPU would hold. */
  readonly instead?: string;
}

/** Says why a node is not placed, or that it is. Pure and total; the planner is the operator's own. */
export const whyNot = (facts: WhyNotFacts): WhyNot => {
  const { node, network, offers } = facts;
  const findings: Finding[] = [];
  const find = (reason: string, message: string): void => {
    if (!findings.some((f) => f.reason === reason)) findings.push({ reason, message, fix: fixOf(reason, node) });
  };
  if (network === undefined) find('NetworkNotFound', networkNotFound(node.spec.networkRef.name));
  // What the scheduler says comes after what the planner knows: it names no memory and no pool.
  const told = network === undefined ? [] : notOfPlacement(node);
  for (const t of told) if (t.reason !== 'Unschedulable') find(t.reason, t.message);

  const own = ownOf(node);
  const candidates = facts.models.map((m) => candidate(m, facts, own));
  const assignment =
    network === undefined || facts.models.length === 0
      ? undefined
      : assignModel(candidates, node.spec.models ?? {}, node.status?.assignedModel);
  const fit = assignment?.fit;
  const placed = node.status?.kubernetesNode;
  if (placed === undefined) {
    if (assignment?.kind === 'none')
      find(
        assignment.reason === 'NoModelFits' ? (fit?.reason ?? 'NoModelFits') : assignment.reason,
        assignment.message,
      );
    else if (fit !== undefined && fit.kind !== 'now' && fit.reason !== 'FitUnknown') find(fit.reason, fit.message);
    for (const claim of facts.claims)
      if (claim.state !== 'allocated' && claim.state !== 'reserved') find('ClaimPending', claimText(claim));
  }
  for (const t of told) find(t.reason, t.message);
  if (node.spec.paused) find('PausedByUser', 'spec.paused is true: the node takes no jobs');

  const model = asked(facts, assignment?.kind === 'assigned' ? assignment.model : nearestModel(fit, candidates));
  const instead = candidates.find(
    (c) => c.state === 'active' && c.fit.kind === 'now' && c.fit.reason === 'FitFound' && c.model !== model?.ref,
  )?.model;
  const waits = assignment?.kind === 'assigned' && fit?.kind !== 'now';
  const limits = limitsOf(node.spec.placement, node.spec.storage, own);
  const nothing =
    model === undefined || offers === undefined || gpuWanted(node.spec.placement, model.requires.gpus) === undefined;
  return {
    node: node.metadata.name ?? '',
    answer:
      placed !== undefined
        ? 'placed'
        : findings.length === 0
          ? 'fits'
          : waits && onlyWaits(findings)
            ? 'waits'
            : 'blocked',
    ...(placed === undefined ? {} : { kubernetesNode: placed }),
    ...(model === undefined ? {} : { needs: needsText(model, facts.node) }),
    findings,
    pools: nothing || placed !== undefined ? [] : poolAnswers(facts, model, own),
    nodes: nothing ? [] : viewNodes(needOf(model, node.spec.placement), limits, offers),
    ...(instead === undefined || network === undefined || fit?.kind === 'now' ? {} : { instead }),
  };
};

/** The operator says the same. */
export const networkNotFound = (name: string): string =>
  `there is no ResultityNetwork "${name}" in this namespace; apply it, the node goes on by itself`;

const claimText = ({ name, state }: ClaimFacts): string =>
  state === 'missing'
    ? `there is no resource claim "${name}" yet`
    : `the resource claim "${name}" waits for a device; the scheduler allocates it`;

/** Nothing but use, cordons and claims is in the way: it ends by itself. */
const onlyWaits = (findings: readonly Finding[]): boolean =>
  findings.every((f) =>
    [
      'NoSpareGPU',
      'NoGPUNodes',
      'NodeCordoned',
      'NodeNotReady',
      'ClaimPending',
      'GPUProblem',
      'Unschedulable',
    ].includes(f.reason),
  );

const ownOf = (node: ResultityNode): Parameters<typeof fitOfNode>[3] => {
  const { kubernetesNode, gpu } = node.status ?? {};
  return kubernetesNode === undefined || gpu?.resourceName === undefined
    ? undefined
    : { node: kubernetesNode, resourceName: gpu.resourceName, count: gpu.count ?? 0 };
};

const askedOf = ({ spec }: ApprovedModel): AskedModel => ({
  ref: `${spec.name}:${spec.version}`,
  requires: spec.requires,
});

const asked = (facts: WhyNotFacts, ref: string | undefined): AskedModel | undefined =>
  facts.models.map(askedOf).find((m) => m.ref === ref);

const candidate = (model: ApprovedModel, facts: WhyNotFacts, own: ReturnType<typeof ownOf>): Candidate => {
  const m = askedOf(model);
  return {
    model: m.ref,
    state: model.spec.state,
    weight: 1,
    servers: facts.servers.get(m.ref) ?? 0,
    fit: fitOfNode(facts.node.spec, m, facts.offers, own),
  };
};

const nearestModel = (fit: FitVerdict | undefined, candidates: readonly Candidate[]): string | undefined =>
  candidates.find((c) => c.fit === fit)?.model;

const needsText = (model: AskedModel, node: ResultityNode): string => {
  const { placement, storage } = node.spec;
  const need = needOf(model, placement);
  const limits = limitsOf(placement, storage);
  const count = wantedCount(need, limits);
  const gpu =
    limits.migProfile === undefined
      ? `GPU${count === 1 ? '' : 's'}`
      : `slice${count === 1 ? '' : 's'} ${limits.migProfile}`;
  if (placement.resourceClaims === undefined && gpuWanted(placement, need.gpus) === undefined)
    return `${model.ref}: no GPU, disk ${grouped(need.diskMiB ?? 0)} MiB`;
  return [
    `${model.ref}: ${count} ${gpu}${limits.product === undefined ? '' : ` ${limits.product}`}, ${grouped(wantedMiB(need, limits))} MiB${count === 1 ? '' : ' each'}`,
    ...(need.computeCapability === undefined ? [] : [`compute capability ≥ ${need.computeCapability}`]),
    ...(need.driver === undefined ? [] : [`driver ≥ ${need.driver}`]),
    ...(need.diskMiB === undefined ? [] : [`disk ${grouped(need.diskMiB)} MiB`]),
  ].join(', ');
};

/** A fleet's pools each by their own rules; else every kind of GPU that the node's own selector leaves. */
const poolAnswers = (facts: WhyNotFacts, model: AskedModel, own: ReturnType<typeof ownOf>): PoolAnswer[] => {
  const { node, offers = [] } = facts;
  const need = needOf(model, node.spec.placement);
  const judge = (name: string | undefined, placement: ResultityNode['spec']['placement']): PoolAnswer[] => {
    const verdict = planFit(need, limitsOf(placement, node.spec.storage, own), offers);
    const rows = verdict.pools.map((p) => ({
      name: name === undefined || p.name === name ? p.name : `${name} ${p.name}`,
      nodes: p.nodes,
      gpus: p.total,
      free: p.free,
      fits: p.fits,
      text: p.why ?? `${p.free} of ${p.total} free`,
    }));
    return rows.length > 0 || name === undefined
      ? rows
      : [{ name, nodes: 0, gpus: 0, free: 0, fits: true, text: 'no such node yet; an autoscaler may add one' }];
  };
  const { pools = [], template } = facts.fleet?.spec ?? {};
  if (pools.length === 0 || template === undefined) return judge(undefined, node.spec.placement);
  return pools.flatMap((pool) => judge(pool.name, placementIn(template.placement, pool)));
};

const many = (n: number, of: string): string => `${n} ${of}${n === 1 ? '' : 's'}`;

/** The answer for people, line by line. */
export const whyNotLines = (w: WhyNot, wide: boolean): string[] => {
  const head = {
    placed: `${w.node} is placed on ${w.kubernetesNode}`,
    fits: `${w.node} is not placed yet; nothing stands in its way`,
    waits: `${w.node} waits for its place`,
    blocked: w.findings.every((f) => f.reason === 'PausedByUser')
      ? `${w.node} takes no jobs`
      : `${w.node} is not placed`,
  }[w.answer];
  const lines = [w.findings.length === 0 ? head : `${head}: ${w.findings[0]?.reason}`];
  if (w.needs !== undefined) lines.push(`needs  ${w.needs}`);
  for (const f of w.findings) {
    lines.push(`${f.reason}: ${f.message}`);
    if (f.fix !== '') lines.push(`  → ${f.fix}`);
  }
  const width = Math.max(0, ...w.pools.map((p) => p.name.length));
  for (const p of w.pools)
    lines.push(
      `pool ${p.name.padEnd(width)}  ${many(p.nodes, 'node')}, ${many(p.gpus, 'GPU')}, ${p.free} free  ${p.fits ? (p.free > 0 ? 'fits' : 'fits later') : 'does not fit'}: ${p.text}`,
    );
  if (wide) {
    const wideness = Math.max(0, ...w.nodes.map((n) => n.node.length));
    for (const n of w.nodes) lines.push(`node ${n.node.padEnd(wideness)}  ${n.gpu}: ${n.text}`);
  }
  if (w.instead !== undefined) lines.push(`cheapest change: allow the model ${w.instead}, a free GPU would hold it`);
  return lines;
};
