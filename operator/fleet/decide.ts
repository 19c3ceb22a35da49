import { LABEL } from '../../src/api/contract.ts';
import {
  type Condition,
  type ConditionUpdate,
  type FleetConditionType,
  getCondition,
  isTrue,
  type Pool,
  type Reason,
  type ResultityFleet,
  type ResultityFleetStatus,
  type ResultityNode,
  type ResultityNodeSpec,
  setCondition,
} from '../../src/api/index.ts';
import { placementIn } from '../../src/placement/index.ts';
import { bounded } from '../names.ts';

export interface FleetFacts {
  readonly now: number;
  readonly fleet: ResultityFleet;
  /** The nodes that this fleet owns. */
  readonly nodes: readonly ResultityNode[];
}

export interface FleetDecision {
  /** Nodes that shall exist, with their spec. */
  readonly wanted: readonly { readonly name: string; readonly spec: ResultityNodeSpec }[];
  /** Nodes above the wanted number, highest ordinal first; their own finalizer drains them. */
  readonly remove: readonly string[];
  readonly status: ResultityFleetStatus;
}

/** `<fleet>-<ordinal>`: the ordinal is stable, and with it the node's identity for as long as the node lives. */
export const memberName = (fleet: string, ordinal: number): string => bounded(`${fleet}-${ordinal}`);

/** Which nodes a fleet shall have and how far it is. How a changed template reaches their pods is the nodes' own (operator/node/rollout.ts). Pure. */
export const decideFleet = ({ fleet, nodes, now }: FleetFacts): FleetDecision => {
  const name = fleet.metadata.name ?? '';
  const leaving = fleet.metadata.deletionTimestamp !== undefined;
  const existing = new Map(nodes.map((n) => [n.metadata.name ?? '', n]));
  const taken = new Map<string, number>();
  const wanted = leaving
    ? []
    : Array.from({ length: fleet.spec.replicas }, (_, ordinal) => {
        const member = memberName(name, ordinal);
        const pool = choosePool(fleet.spec.pools ?? [], existing.get(member)?.spec.placement.pool, taken);
        if (pool) taken.set(pool.name, (taken.get(pool.name) ?? 0) + 1);
        return { name: member, spec: inPool(fleet.spec.template, pool) };
      });
  const names = new Set(wanted.map((w) => w.name));
  const remove = leaving
    ? []
    : [...existing.keys()]
        .filter((n) => !names.has(n) && existing.get(n)?.metadata.deletionTimestamp === undefined)
        .sort((a, b) => ordinalOf(b) - ordinalOf(a));
  return { wanted, remove, status: statusOf(fleet, nodes, taken, now) };
};

const ordinalOf = (name: string): number => Number(/-(\d+)$/.exec(name)?.[1] ?? -1);

/** The pool that a node has, while it is listed; else the first in order of preference with room; else the last one. */
const choosePool = (
  pools: readonly Pool[],
  current: string | undefined,
  taken: ReadonlyMap<string, number>,
): Pool | undefined => {
  const room = (p: Pool): boolean => p.max === undefined || (taken.get(p.name) ?? 0) < p.max;
  return pools.find((p) => p.name === current && room(p)) ?? pools.find(room) ?? pools.at(-1);
};

const inPool = (template: ResultityNodeSpec, pool: Pool | undefined): ResultityNodeSpec =>
  pool === undefined ? template : { ...template, placement: placementIn(template.placement, pool) };

type Verdict = Omit<ConditionUpdate<FleetConditionType>, 'type' | 'observedGeneration'>;
const verdict = (status: Verdict['status'], reason: Reason, message: string): Verdict => ({ status, reason, message });

/** Reasons of Progressing of a node that is not what its template says yet. */
const BEHIND: ReadonlySet<string> = new Set(['UpdateHeld', 'PullingImage', 'Updating', 'RolledBack']);

const statusOf = (
  fleet: ResultityFleet,
  nodes: readonly ResultityNode[],
  taken: ReadonlyMap<string, number>,
  now: number,
): ResultityFleetStatus => {
  const { replicas, pools } = fleet.spec;
  const ready = nodes.filter((n) => isTrue(n.status?.conditions, 'Ready')).length;
  const outdated = nodes.filter((n) =>
    BEHIND.has(getCondition(n.status?.conditions, 'Progressing')?.reason ?? ''),
  ).length;
  const progressing =
    nodes.length < replicas
      ? verdict('True', 'ScalingUp', `${nodes.length} of ${replicas} nodes exist`)
      : nodes.length > replicas
        ? verdict('True', 'ScalingDown', `${nodes.length} nodes exist, ${replicas} are wanted`)
        : outdated > 0
          ? verdict('False', 'RollingOut', `${outdated} nodes are not updated yet; their nodes say why in Progressing`)
          : verdict('False', 'Settled', 'nothing is under way');
  const verdicts: [FleetConditionType, Verdict][] = [
    [
      'Available',
      ready >= replicas
        ? verdict('True', 'AllAvailable', `${ready} of ${replicas} nodes are ready`)
        : verdict('False', 'TooFewAvailable', `${ready} of ${replicas} nodes are ready`),
    ],
    ['Progressing', progressing],
    [
      'FleetBrake',
      verdict('Unknown', 'Unknown', 'this version has no brake: it never evicts or replaces a live pod by itself'),
    ],
  ];
  let conditions: readonly Condition[] = fleet.status?.conditions ?? [];
  for (const [type, v] of verdicts)
    conditions = setCondition(
      conditions,
      {
        type,
        ...v,
        ...(fleet.metadata.generation === undefined ? {} : { observedGeneration: fleet.metadata.generation }),
      },
      now,
    );
  return {
    conditions: [...conditions],
    ...(fleet.metadata.generation === undefined ? {} : { observedGeneration: fleet.metadata.generation }),
    replicas: nodes.length,
    readyReplicas: ready,
    updatedReplicas: nodes.length - outdated,
    selector: `${LABEL.fleet}=${bounded(fleet.metadata.name ?? '')}`,
    ...(pools === undefined ? {} : { pools: pools.map((p) => ({ name: p.name, replicas: taken.get(p.name) ?? 0 })) }),
  };
};
