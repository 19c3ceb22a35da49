import { LABEL } from '../../src/api/contract.ts';
import {
  type Condition,
  type FleetConditionType,
  type FleetIdentity,
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
import { bounded, keySecretName } from '../names.ts';
import { brakeText, countOf, isSurge, isTooMany, nodeIdOf, surgeLimit } from '../node/index.ts';
import { decideSurge, type Spare, type Verdict } from './surge.ts';

export interface FleetFacts {
  readonly now: number;
  readonly fleet: ResultityFleet;
  /** The nodes that this fleet owns. */
  readonly nodes: readonly ResultityNode[];
  /** Whether one more node of this spec fits now, on a free GPU of a ready machine. Asked only when one would be made. */
  readonly spare: (spec: ResultityNodeSpec) => Spare | undefined;
}

export interface FleetDecision {
  /** Nodes that shall exist, with their spec. */
  readonly wanted: readonly Wanted[];
  /**
   * Nodes above the wanted number, the least useful first; their own finalizer drains them. Only once the status is written,
   * and only as they were seen: one that was given its key since then would leave without its identity on record.
   */
  readonly remove: readonly string[];
  /** Pods that a voluntary eviction must leave: an integer, as a share of pods without a scalable owner blocks every drain. */
  readonly minAvailable: number;
  readonly status: ResultityFleetStatus;
  /** Look again after so long, although nothing changes. */
  readonly againMs: number | undefined;
}

export interface Wanted {
  readonly name: string;
  readonly spec: ResultityNodeSpec;
  /** One more than the replicas, for as long as an update lasts. */
  readonly surge: boolean;
}

/** `<fleet>-<ordinal>`: the ordinal is stable, and with it the node's identity for as long as the node lives. */
export const memberName = (fleet: string, ordinal: number): string => bounded(`${fleet}-${ordinal}`);

/**
 * Which nodes a fleet shall have and how far it is. Pure. Existing nodes stay, the most useful ones when there are too many;
 * missing ones take the lowest free ordinals, with the identity that the name had before. How a changed template reaches
 * their pods is the nodes' own (operator/node/rollout.ts).
 */
export const decideFleet = ({ fleet, nodes, now, spare }: FleetFacts): FleetDecision => {
  const { replicas, pools = [], rollout, template } = fleet.spec;
  const leaving = fleet.metadata.deletionTimestamp !== undefined;
  const staying = nodes.filter((n) => n.metadata.deletionTimestamp === undefined).sort(byUse(pools));
  const regular = staying.filter((n) => !isSurge(n));
  const extra = staying.filter(isSurge);
  // A member that is missing while there is one too many: that one becomes it.
  const promoted = extra.splice(0, Math.max(0, replicas - regular.length));
  const kept = leaving ? [] : [...regular.slice(0, replicas), ...promoted];
  const missing = leaving ? 0 : replicas - kept.length;
  const brake = brakeOf(nodes);
  const braked = brake.status === 'True';
  const secrets = new Map((fleet.status?.identities ?? []).map((i) => [i.name, i.secretName]));
  const taken = new Map<string, number>();
  const wanted: Wanted[] = [];
  const want = (name: string, spec: ResultityNodeSpec, surge: boolean): void => {
    const { pool } = spec.placement;
    if (pool !== undefined) taken.set(pool, (taken.get(pool) ?? 0) + 1);
    wanted.push({ name, spec, surge });
  };
  const specOf = (there: ResultityNode | undefined, name: string, surge: boolean): ResultityNodeSpec => {
    const pool = choosePool(pools, there?.spec.placement.pool, taken);
    const secret = there ? there.spec.identity.secretRef?.name : secrets.get(name);
    return withKey(inPool(template, pool, surge), secret);
  };
  const byName = new Map(kept.map((n) => [nameOf(n), n]));
  const names = [...byName.keys(), ...freeNames(fleet, nodes, missing)];
  for (const name of names.sort((a, b) => ordinalOf(a) - ordinalOf(b)))
    want(name, specOf(byName.get(name), name, false), false);

  // Above the replicas, for the time of an update.
  const [above = ''] = freeNames(fleet, nodes, 1, replicas);
  const places = pools.length === 0 ? [undefined] : pools.filter((p) => roomIn(p, taken));
  const specs = places.map((pool) => withKey(inPool(template, pool, true), secrets.get(above)));
  let place: ResultityNodeSpec | undefined;
  const surge = decideSurge({
    now,
    fleet,
    members: kept,
    surges: extra,
    leaving: nodes.filter((n) => isSurge(n) && !staying.includes(n)).length,
    room: missing === 0 && nodes.length < replicas + surgeLimit(fleet),
    braked,
    spare: () => {
      let why = 'each pool is full';
      for (const spec of specs) {
        const found = spare(spec);
        if (found === undefined) return undefined;
        if (found.fits) {
          place = spec;
          return found;
        }
        why = found.why;
      }
      return { fits: false, why };
    },
  });
  if (!leaving) for (const n of surge.keep) want(nameOf(n), specOf(n, nameOf(n), true), true);
  if (!leaving && surge.make && place) want(above, place, true);

  const removed = leaving || braked ? [] : [...surge.drop, ...regular.slice(replicas)].reverse();
  const identities = identitiesOf(fleet, removed);
  return {
    wanted,
    remove: removed.map(nameOf),
    minAvailable: Math.max(0, replicas - countOf(rollout.maxUnavailable, replicas)),
    status: statusOf({ fleet, nodes, now }, taken, identities, brake, surge.verdict),
    againMs: surge.againMs,
  };
};

const nameOf = (node: ResultityNode): string => node.metadata.name ?? '';
const ordinalOf = (name: string): number => Number(/-(\d+)$/.exec(name)?.[1] ?? -1);

/** The most useful first: ready, then serving, then in the pool that is preferred, then the lowest ordinal. */
const byUse = (pools: readonly Pool[]): ((a: ResultityNode, b: ResultityNode) => number) => {
  const rank = (n: ResultityNode): readonly number[] => {
    const pool = pools.findIndex((p) => p.name === n.spec.placement.pool);
    return [
      isTrue(n.status?.conditions, 'Ready') ? 0 : 1,
      isTrue(n.status?.conditions, 'Serving') ? 0 : 1,
      pool === -1 ? pools.length : pool,
      ordinalOf(nameOf(n)),
    ];
  };
  return (a, b) => {
    const [x, y] = [rank(a), rank(b)];
    return x.map((v, i) => v - (y[i] ?? 0)).find((d) => d !== 0) ?? 0;
  };
};

/** Names for new nodes: the lowest ordinals that no node has, a leaving one included. */
const freeNames = (fleet: ResultityFleet, nodes: readonly ResultityNode[], count: number, from = 0): string[] => {
  const used = new Set(nodes.map(nameOf));
  const names: string[] = [];
  for (let ordinal = from; names.length < count; ordinal++) {
    const name = memberName(fleet.metadata.name ?? '', ordinal);
    if (!used.has(name)) names.push(name);
  }
  return names;
};

const MOST_IDENTITIES = 1024;

/** Names that were scaled away with the key each had, the newest kept when there are too many. */
const identitiesOf = (fleet: ResultityFleet, removed: readonly ResultityNode[]): FleetIdentity[] => {
  const known = new Map((fleet.status?.identities ?? []).map((i) => [i.name, i.secretName]));
  for (const node of removed) {
    const name = nameOf(node);
    const { retain, secretRef } = node.spec.identity;
    const nodeId = nodeIdOf(node);
    if (!retain || nodeId === undefined) continue;
    known.delete(name);
    known.set(name, secretRef?.name ?? keySecretName(name, nodeId));
  }
  return [...known].slice(-MOST_IDENTITIES).map(([name, secretName]) => ({ name, secretName }));
};

const withKey = (spec: ResultityNodeSpec, secret: string | undefined): ResultityNodeSpec =>
  secret === undefined ? spec : { ...spec, identity: { ...spec.identity, secretRef: { name: secret } } };

/** The pool that a node has, while it is listed; else the first in order of preference with room; else the last one. */
const choosePool = (
  pools: readonly Pool[],
  current: string | undefined,
  taken: ReadonlyMap<string, number>,
): Pool | undefined => {
  const room = (p: Pool): boolean => roomIn(p, taken);
  return pools.find((p) => p.name === current && room(p)) ?? pools.find(room) ?? pools.at(-1);
};
const roomIn = ({ name, max }: Pool, taken: ReadonlyMap<string, number>): boolean =>
  max === undefined || (taken.get(name) ?? 0) < max;

/** One more than wanted never waits for a GPU: while none fits it has no pod, so that it takes none that others wait for. */
const inPool = (template: ResultityNodeSpec, pool: Pool | undefined, surge: boolean): ResultityNodeSpec => {
  if (pool === undefined && !surge) return template;
  const placement = pool === undefined ? template.placement : placementIn(template.placement, pool);
  return { ...template, placement: surge ? { ...placement, fit: 'Require' } : placement };
};

const verdict = (status: Verdict['status'], reason: Reason, message: string): Verdict => ({ status, reason, message });

/** Reasons of Progressing of a node that is not what its template says yet. */
const BEHIND: ReadonlySet<string> = new Set(['UpdateHeld', 'SurgePending', 'PullingImage', 'Updating', 'RolledBack']);

/** Of a node whose machine does not answer, or is gone. */
const VANISHED: ReadonlySet<string> = new Set(['MachineUnreachable', 'MachineLost']);

const brakeOf = (nodes: readonly ResultityNode[]): Verdict => {
  const vanished = nodes.filter((n) =>
    VANISHED.has(getCondition(n.status?.conditions, 'AgentReady')?.reason ?? ''),
  ).length;
  return isTooMany(vanished, nodes.length)
    ? verdict(
        'True',
        'TooManyVanished',
        `${brakeText(vanished, nodes.length)}; no node is updated, moved, replaced or scaled away until they are back`,
      )
    : verdict('False', 'BrakeOff', 'the machines answer');
};

const statusOf = (
  { fleet, nodes, now }: Pick<FleetFacts, 'fleet' | 'nodes' | 'now'>,
  taken: ReadonlyMap<string, number>,
  identities: FleetIdentity[],
  brake: Verdict,
  surge: Verdict | undefined,
): ResultityFleetStatus => {
  const { replicas, pools } = fleet.spec;
  const ready = nodes.filter((n) => isTrue(n.status?.conditions, 'Ready')).length;
  const outdated = nodes.filter((n) =>
    BEHIND.has(getCondition(n.status?.conditions, 'Progressing')?.reason ?? ''),
  ).length;
  const regular = nodes.filter((n) => !isSurge(n)).length;
  const progressing =
    nodes.length < replicas
      ? verdict('True', 'ScalingUp', `${nodes.length} of ${replicas} nodes exist`)
      : regular > replicas
        ? verdict('True', 'ScalingDown', `${regular} nodes exist, ${replicas} are wanted`)
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
    ...(surge === undefined ? [] : ([['Surge', surge]] as [FleetConditionType, Verdict][])),
    ['FleetBrake', brake],
  ];
  let conditions: readonly Condition[] = (fleet.status?.conditions ?? []).filter(
    (c) => c.type !== 'Surge' || surge !== undefined,
  );
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
    ...(identities.length === 0 ? {} : { identities }),
    ...(pools === undefined ? {} : { pools: pools.map((p) => ({ name: p.name, replicas: taken.get(p.name) ?? 0 })) }),
  };
};
