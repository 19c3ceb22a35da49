import {
  type ApprovedModel,
  type ApprovedModelSpec,
  type ApprovedModelStatus,
  type Condition,
  type ConditionUpdate,
  type ModelConditionType,
  type ModelNodeCounts,
  type Reason,
  type ResultityNode,
  setCondition,
} from '../../src/api/index.ts';
import type { ModelEntry, SnapshotDocument } from '../../src/config/index.ts';
import { modelName } from '../names.ts';

/** Everything that the mirrors of one network rest on. */
export interface MirrorFacts {
  readonly now: number;
  /** Name of the ResultityNetwork; undefined document = nothing verified is in force. */
  readonly network: string;
  /** Of the object; undefined when it is gone. */
  readonly networkUid: string | undefined;
  readonly document: SnapshotDocument | undefined;
  /** All ApprovedModels that name this network, whoever made them. */
  readonly models: readonly ApprovedModel[];
  readonly nodes: readonly ResultityNode[];
}

export interface MirrorDecision {
  /** Names and specs that shall exist. */
  readonly wanted: readonly { readonly name: string; readonly spec: ApprovedModelSpec }[];
  /** Names of mirrors whose model has vanished from the snapshot. */
  readonly remove: readonly string[];
  /** Status of each object that exists. */
  readonly statuses: readonly { readonly model: ApprovedModel; readonly status: ApprovedModelStatus }[];
}

const specOf = (network: string, m: ModelEntry): ApprovedModelSpec => ({
  networkRef: { name: network },
  name: m.name,
  version: m.version,
  digest: m.digest,
  size: m.files.reduce((sum, f) => sum + f.size, 0),
  state: m.state,
  tasks: [...m.tasks],
  requires: {
    gpus: m.requires.gpus,
    gpuMemoryMiB: m.requires.gpuMemoryMiB,
    ...(m.requires.computeCapability === undefined ? {} : { computeCapability: m.requires.computeCapability }),
    diskMiB: m.requires.diskMiB,
  },
});

/** One mirror per model of the verified snapshot; without one nothing is made and nothing removed. Pure and total. */
export const decideMirrors = (facts: MirrorFacts): MirrorDecision => {
  const { document, network, networkUid } = facts;
  const wanted =
    networkUid === undefined || document === undefined
      ? []
      : document.models.map((m) => ({ name: modelName(network, m.ref), spec: specOf(network, m) }));
  const names = new Set(wanted.map((w) => w.name));
  const mine = (m: ApprovedModel): boolean =>
    networkUid !== undefined &&
    m.metadata.ownerReferences?.some((o) => o.uid === networkUid && o.controller === true) === true;
  const remove =
    document === undefined
      ? []
      : facts.models.filter((m) => mine(m) && !names.has(m.metadata.name ?? '')).map((m) => m.metadata.name ?? '');
  const gone = new Set(remove);
  return {
    wanted,
    remove,
    statuses: facts.models
      .filter((m) => !gone.has(m.metadata.name ?? ''))
      .map((model) => ({ model, status: statusOf(facts, model, mine(model)) })),
  };
};

type Verdict = Omit<ConditionUpdate<ModelConditionType>, 'type' | 'observedGeneration'>;
const verdict = (status: Verdict['status'], reason: Reason, message: string): Verdict => ({ status, reason, message });

const statusOf = (facts: MirrorFacts, model: ApprovedModel, mine: boolean): ApprovedModelStatus => {
  const { spec, metadata } = model;
  const ref = `${spec.name}:${spec.version}`;
  const entry = facts.document?.models.find((m) => m.ref === ref);
  const nodes = countNodes(facts.nodes, ref);
  const approved = approvedOf(facts, spec, entry, mine);
  const tried = (nodes.active ?? 0) + (nodes.inactive ?? 0);
  const failed = nodes.failed ?? 0;
  const proved = (good: Reason, what: string): Verdict => {
    if (tried > 0) return verdict('True', good, `${what} on ${tried} node(s)`);
    return failed > 0
      ? verdict('False', 'Quarantined', `failed on ${failed} node(s); see their ModelsVerified`)
      : verdict('Unknown', 'NotTried', 'no node has installed it yet');
  };
  const state: Record<ApprovedModelSpec['state'], Verdict> = {
    active: verdict('True', 'ModelActive', 'approved; nodes may serve it'),
    inactive: verdict('False', 'ModelInactive', 'the network has made it inactive'),
    archived: verdict('False', 'ModelArchived', 'the network has archived it'),
  };
  const verdicts: [ModelConditionType, Verdict][] = [
    ['Ready', approved.status === 'True' ? state[entry?.state ?? spec.state] : approved],
    ['Approved', approved],
    ['Verified', proved('ModelVerified', 'every file verified')],
    ['Tested', proved('ModelActive', 'its test passed')],
  ];
  let conditions: readonly Condition[] = model.status?.conditions ?? [];
  for (const [type, v] of verdicts)
    conditions = setCondition(
      conditions,
      { type, ...v, ...(metadata.generation === undefined ? {} : { observedGeneration: metadata.generation }) },
      facts.now,
    );
  return {
    conditions: [...conditions],
    ...(metadata.generation === undefined ? {} : { observedGeneration: metadata.generation }),
    model: ref,
    sizeSummary: sizeSummary(spec.size),
    nodes,
  };
};

const approvedOf = (
  { document, networkUid, network }: MirrorFacts,
  spec: ApprovedModelSpec,
  entry: ModelEntry | undefined,
  mine: boolean,
): Verdict => {
  if (networkUid === undefined)
    return verdict('False', 'NetworkNotFound', `there is no ResultityNetwork "${network}" in this namespace`);
  if (document === undefined)
    return verdict('Unknown', 'NetworkNotReady', 'no configuration of the network is verified yet');
  if (entry === undefined || entry.digest !== spec.digest)
    return verdict('False', 'NotInSnapshot', 'the network’s snapshot does not list it; it is never scheduled');
  return mine
    ? verdict('True', 'InSnapshot', 'listed by the verified snapshot')
    : verdict('True', 'InSnapshot', 'listed by the verified snapshot; made by hand, the operator keeps its own mirror');
};

const countNodes = (nodes: readonly ResultityNode[], ref: string): ModelNodeCounts => {
  const counts: Record<keyof ModelNodeCounts, number> = { pending: 0, active: 0, inactive: 0, failed: 0, archived: 0 };
  for (const node of nodes) {
    const state = node.status?.agent?.models?.find((m) => m.model === ref)?.state;
    if (state !== undefined) counts[state] += 1;
  }
  return counts;
};

/** 273000000 → `273 MB`. */
export const sizeSummary = (bytes: number): string => {
  const units = ['B', 'kB', 'MB', 'GB', 'TB', 'PB'];
  let value = bytes;
  let unit = 0;
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${value >= 9.95 || unit === 0 ? Math.round(value) : value.toFixed(1)} ${units[unit]}`;
};
