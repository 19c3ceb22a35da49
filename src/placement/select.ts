import type { NodeFacts } from './offers.ts';

export interface Toleration {
  readonly key?: string;
  readonly operator?: string;
  readonly value?: string;
  readonly effect?: string;
}

interface Requirement {
  readonly key: string;
  readonly operator: string;
  readonly values?: readonly string[];
}

/** Required node affinity: one of the terms must hold; each is all of its requirements. */
export type AffinityTerms = readonly {
  readonly matchExpressions?: readonly Requirement[];
  readonly matchFields?: readonly Requirement[];
}[];

/** Which Kubernetes nodes are meant at all. */
export interface Selection {
  readonly nodeSelector?: Readonly<Record<string, string>>;
  readonly affinity?: AffinityTerms;
}

/** Why a node is not meant, as `zone=b`; undefined = it is. As the scheduler judges it. */
export const notSelected = (node: NodeFacts, { nodeSelector = {}, affinity }: Selection): string | undefined => {
  for (const [key, value] of Object.entries(nodeSelector)) if (node.labels[key] !== value) return `${key}=${value}`;
  if (affinity === undefined || affinity.length === 0) return undefined;
  const failing = affinity.map((term) => failed(node, term));
  return failing.includes(undefined) ? undefined : failing[0];
};

/** The first requirement of a term that the node does not meet. An empty term selects nothing. */
const failed = (node: NodeFacts, term: AffinityTerms[number]): string | undefined => {
  const { matchExpressions = [], matchFields = [] } = term;
  if (matchExpressions.length + matchFields.length === 0) return 'an empty affinity term';
  const bad =
    matchExpressions.find((r) => !holds(node.labels[r.key], r)) ??
    matchFields.find((r) => !holds(r.key === 'metadata.name' ? node.name : undefined, r));
  return bad && `${bad.key} ${bad.operator}${bad.values === undefined ? '' : ` ${bad.values.join('|')}`}`;
};

const holds = (label: string | undefined, { operator, values = [] }: Requirement): boolean => {
  switch (operator) {
    case 'In':
      return label !== undefined && values.includes(label);
    case 'NotIn':
      return label === undefined || !values.includes(label);
    case 'Exists':
      return label !== undefined;
    case 'DoesNotExist':
      return label === undefined;
    case 'Gt':
      return whole(label) > whole(values[0]);
    case 'Lt':
      return whole(label) < whole(values[0]);
    default:
      return false;
  }
};

/** NaN, which no comparison holds for, where the text is no whole number. */
const whole = (text: string | undefined): number => (/^-?\d+$/.test(text ?? '') ? Number(text) : Number.NaN);

type Taint = NodeFacts['taints'][number];

/** Taints that say how a node is now, not what it is for: not ready, unreachable, under pressure. Cordons are told apart. */
const STATE = /^node\.(cloudprovider\.)?kubernetes\.io\//;
const CORDON = 'node.kubernetes.io/unschedulable';

/** The first taint that keeps the pod away: one of purpose (`state` false), or of the node's present state. */
export const untolerated = (
  node: NodeFacts,
  tolerations: readonly Toleration[],
): { readonly taint: string; readonly state: boolean } | undefined => {
  const kept = node.taints.filter(
    (t) => t.effect !== 'PreferNoSchedule' && t.key !== CORDON && !tolerations.some((by) => tolerates(by, t)),
  );
  const first = kept.find((t) => !STATE.test(t.key)) ?? kept[0];
  return first && { taint: taintText(first), state: STATE.test(first.key) };
};

const taintText = (t: Taint): string =>
  `${t.key}${t.value === undefined || t.value === '' ? '' : `=${t.value}`}:${t.effect}`;

const tolerates = (by: Toleration, taint: Taint): boolean =>
  (by.effect === undefined || by.effect === '' || by.effect === taint.effect) &&
  (by.key === undefined || by.key === ''
    ? by.operator === 'Exists'
    : by.key === taint.key && (by.operator === 'Exists' || (by.value ?? '') === (taint.value ?? '')));
