import { ANNOTATION } from '../../src/api/contract.ts';
import {
  type Condition,
  type ConditionUpdate,
  type NetworkConditionType,
  type Reason,
  type ResultityNetwork,
  type ResultityNetworkStatus,
  setCondition,
} from '../../src/api/index.ts';
import type { AcceptedConfig } from '../../src/config/index.ts';
import type { EventInput } from '../../src/kube/index.ts';
import type { Refusal } from '../../src/protocol/index.ts';
import { configName } from '../names.ts';
import { reasonOfRefusal } from '../reasons.ts';
import type { Named } from './fetch.ts';

/** What one look at the network found. */
export type Outcome =
  | { readonly kind: 'notTried' }
  | { readonly kind: 'accepted' }
  | { readonly kind: 'refused'; readonly code: Refusal; readonly message: string };

export interface NetworkFacts {
  readonly now: number;
  readonly network: ResultityNetwork;
  readonly pinned: Named;
  readonly ca: Named;
  readonly outcome: Outcome;
  /** The last accepted configuration, durable. */
  readonly accepted: AcceptedConfig | undefined;
  /** The one that nodes are told to apply. */
  readonly inForce: AcceptedConfig | undefined;
}

export interface NetworkDecision {
  readonly status: ResultityNetworkStatus;
  readonly events: readonly (EventInput & { readonly reason: Reason })[];
  /** The configuration for the nodes from now on. */
  readonly inForce: AcceptedConfig | undefined;
}

type Verdict = Omit<ConditionUpdate<NetworkConditionType>, 'type' | 'observedGeneration'>;
const yes = (reason: Reason, message: string): Verdict => ({ status: 'True', reason, message });
const no = (reason: Reason, message: string): Verdict => ({ status: 'False', reason, message });
const unknown = (reason: Reason, message: string): Verdict => ({ status: 'Unknown', reason, message });

const ROOT_CODES: readonly Refusal[] = [
  'bad_root',
  'root_rollback',
  'root_expired',
  'root_withheld',
  'root_gap',
  'wrong_network',
  'wrong_environment',
];

const stays = (f: NetworkFacts): string => (f.accepted === undefined ? '' : `; v${f.accepted.version} stays in force`);

const rootTrusted = (f: NetworkFacts): Verdict => {
  if (f.pinned.kind === 'missing')
    return no('RootMissing', `${f.pinned.message}; the network publishes its pinned root`);
  if (f.outcome.kind === 'refused' && ROOT_CODES.includes(f.outcome.code))
    return no(reasonOfRefusal(f.outcome.code), `refused ${f.outcome.code}: ${f.outcome.message}`);
  if (f.accepted === undefined) return unknown('Waiting', 'the chain of roots has not been walked yet');
  return f.accepted.root.document.expiresAt <= f.now
    ? no('RootExpired', `root v${f.accepted.root.version} has expired; only its signers can make a new one`)
    : yes('RootTrusted', `root v${f.accepted.root.version}, chained to the pinned one`);
};

const configVerified = (f: NetworkFacts): Verdict => {
  if (f.ca.kind === 'missing') return no('CABundleInvalid', f.ca.message);
  if (f.pinned.kind === 'missing') return no('RootMissing', f.pinned.message);
  if (f.outcome.kind === 'refused') {
    const said = `refused ${f.outcome.code}: ${f.outcome.message}`;
    if (f.outcome.code !== 'unreachable')
      return no(reasonOfRefusal(f.outcome.code), `${said.slice(0, 200)}${stays(f)}`);
    if (f.accepted === undefined) return no('NetworkUnreachable', f.outcome.message);
  }
  if (f.accepted === undefined) return unknown('Waiting', 'no configuration has been fetched yet');
  return yes('ConfigVerified', `v${f.accepted.version}, signed by ${f.accepted.signers.length} of its config keys`);
};

const ageOf = (f: NetworkFacts): ResultityNetworkStatus['ticketAge'] => {
  if (f.accepted === undefined) return undefined;
  if (f.now < f.accepted.ticket.expiresAt) return 'Fresh';
  return f.now - f.accepted.ticketIssuedAt > f.accepted.document.maxStalenessSeconds * 1000 ? 'Expired' : 'Stale';
};

const fresh = (f: NetworkFacts): Verdict => {
  switch (ageOf(f)) {
    case undefined:
      return unknown('Waiting', 'there is no configuration yet');
    case 'Fresh':
      return yes('ConfigFresh', 'its ticket is within its life');
    case 'Stale':
      return no('ConfigStale', 'no fresh ticket from the network; work goes on with what is in force');
    case 'Expired':
      return no('ConfigExpired', 'no fresh ticket for longer than maxStalenessSeconds; nodes drain');
  }
};

/** With `updates: Manual` a configuration is told to the nodes when a person has approved its digest. */
const approved = (network: ResultityNetwork, config: AcceptedConfig): boolean =>
  network.spec.updates === 'Automatic' || network.metadata.annotations?.[ANNOTATION.approveDigest] === config.digest;

/** What to say of a network and which configuration its nodes get. Pure and total. */
export const decideNetwork = (f: NetworkFacts): NetworkDecision => {
  const { network, accepted } = f;
  const inForce = accepted !== undefined && approved(network, accepted) ? accepted : f.inForce;
  const held = accepted !== undefined && inForce !== accepted ? accepted : undefined;
  const rolloutHeld =
    held === undefined
      ? no('NotHeld', 'updates go on')
      : yes('ApprovalPending', `updates is Manual: annotate ${ANNOTATION.approveDigest}=${held.digest}`);
  const verdicts: [NetworkConditionType, Verdict][] = [
    ['RootTrusted', rootTrusted(f)],
    ['ConfigVerified', configVerified(f)],
    ['Fresh', fresh(f)],
    ['RolloutHeld', rolloutHeld],
  ];
  const bad = verdicts.slice(0, 3).find(([, v]) => v.status !== 'True')?.[1];
  const ready =
    bad ??
    (inForce === undefined
      ? no('ApprovalPending', rolloutHeld.message)
      : yes('Ready', `v${inForce.version} is verified and in force`));
  let conditions: readonly Condition[] = network.status?.conditions ?? [];
  for (const [type, verdict] of [['Ready', ready] as [NetworkConditionType, Verdict], ...verdicts])
    conditions = setCondition(
      conditions,
      {
        type,
        ...verdict,
        ...(network.metadata.generation === undefined ? {} : { observedGeneration: network.metadata.generation }),
      },
      f.now,
    );
  const root = accepted?.root;
  const ticketAge = ageOf(f);
  const before = network.status;
  const status: ResultityNetworkStatus = {
    conditions: [...conditions],
    ...(network.metadata.generation === undefined ? {} : { observedGeneration: network.metadata.generation }),
    ...(root === undefined
      ? pick(before, ['network', 'environment', 'chainId', 'root'])
      : {
          network: root.document.network,
          environment: root.document.environment,
          chainId: root.document.chainId,
          root: { version: root.version, epoch: root.document.epoch, expiresAt: time(root.document.expiresAt) },
        }),
    // The floor: what stands there is never taken back.
    ...(accepted === undefined
      ? pick(before, ['epoch', 'version', 'digest', 'shortDigest', 'expiresAt', 'configMapName'])
      : {
          epoch: accepted.epoch,
          version: accepted.version,
          digest: accepted.digest,
          shortDigest: short(accepted.digest),
          expiresAt: time(accepted.snapshot.expiresAt),
          configMapName: configName(network.metadata.name ?? ''),
        }),
    ...(ticketAge === undefined ? {} : { ticketAge }),
    ...(held === undefined
      ? {}
      : {
          held: {
            reason: 'ApprovalPending',
            digest: held.digest,
            since:
              before?.held?.digest === held.digest && before.held.since !== undefined ? before.held.since : time(f.now),
          },
        }),
  };
  return { status, events: eventsOf(network, status, inForce !== f.inForce ? inForce : undefined), inForce };
};

const time = (ms: number): string => new Date(ms).toISOString().replace(/\.\d{3}Z$/, 'Z');
const short = (digest: string): string => digest.replace('sha256:', '').slice(0, 12);

const pick = <T extends object, K extends keyof T>(from: T | undefined, keys: readonly K[]): Partial<Pick<T, K>> =>
  Object.fromEntries(keys.flatMap((k) => (from?.[k] === undefined ? [] : [[k, from[k]]]))) as Partial<Pick<T, K>>;

const eventsOf = (
  network: ResultityNetwork,
  next: ResultityNetworkStatus,
  applied: AcceptedConfig | undefined,
): (EventInput & { reason: Reason })[] => {
  const events: (EventInput & { reason: Reason })[] = [];
  const was = (type: string): Condition | undefined => network.status?.conditions?.find((c) => c.type === type);
  const is = (type: string): Condition | undefined => next.conditions?.find((c) => c.type === type);
  if (applied !== undefined && (network.status?.digest !== applied.digest || was('ConfigVerified')?.status !== 'True'))
    events.push({
      type: 'Normal',
      reason: 'ConfigApplied',
      action: `Apply-${short(applied.digest)}`, // each configuration is news of its own, not a repetition
      note: `configuration v${applied.version} ${short(applied.digest)} is verified and in force, root v${applied.root.version}`,
    });
  for (const type of ['RootTrusted', 'ConfigVerified', 'Fresh'] as const) {
    const [old, now] = [was(type), is(type)];
    if (
      now?.status !== 'False' ||
      (old?.status === 'False' && old.reason === now.reason && old.message === now.message)
    )
      continue;
    if (events.some((e) => e.reason === now.reason)) continue;
    events.push({
      type: 'Warning',
      reason:
        type === 'ConfigVerified' && now.reason === 'SignatureInvalid' ? 'ConfigRejected' : (now.reason as Reason),
      note: now.message,
    });
  }
  const [oldHeld, nowHeld] = [was('RolloutHeld'), is('RolloutHeld')];
  if (nowHeld?.status === 'True' && oldHeld?.status !== 'True')
    events.push({ type: 'Normal', reason: 'ApprovalPending', note: nowHeld.message });
  return events;
};
