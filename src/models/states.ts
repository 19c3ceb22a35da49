import { assertNever } from '../lib/errors.ts';

/** The states of a model on a node (docs/protocol.md §9). Downloading is the first reason of pending. */
export type PendingReason = 'queued' | 'downloading' | 'verifying' | 'loading' | 'testing';

/** A failed check quarantines the model until `retryAt` (wall clock, ms). */
export interface Quarantine {
  readonly reason: string;
  readonly failures: number;
  readonly retryAt: number;
}

export type ModelStatus =
  | { readonly state: 'pending'; readonly reason: PendingReason; readonly failures: number }
  | { readonly state: 'active'; readonly since: number }
  | { readonly state: 'inactive'; readonly reason: string; readonly failures: number }
  | ({ readonly state: 'failed' } & Quarantine)
  | { readonly state: 'archived' };
export type ModelStateName = ModelStatus['state'];

/** Every legal transition; what is not here cannot be written. */
export const TRANSITIONS = {
  pending: { pass: 'active', fail: 'failed', disable: 'inactive', archive: 'archived' },
  active: { recheck: 'pending', fail: 'failed', disable: 'inactive', archive: 'archived' },
  // Enabled again means checked again: files may have changed, and the engine has.
  inactive: { enable: 'pending', fail: 'failed', archive: 'archived' },
  failed: { retry: 'pending', disable: 'inactive', archive: 'archived' },
  archived: { list: 'pending' },
} as const satisfies Record<ModelStateName, Record<string, ModelStateName>>;

type Of<S extends ModelStateName> = Extract<ModelStatus, { state: S }>;
type Events<S extends ModelStateName> = keyof (typeof TRANSITIONS)[S];
export type ModelEvent = { [S in ModelStateName]: Events<S> }[ModelStateName];

export const isLegal = (from: ModelStateName, to: ModelStateName): boolean =>
  from === to || (Object.values(TRANSITIONS[from]) as ModelStateName[]).includes(to);

export interface QuarantineRule {
  /** `ttl.retryMs` of the snapshot. */
  readonly retryMs: number;
  readonly capMs: number;
}

export const newModel: Of<'pending'> = { state: 'pending', reason: 'queued', failures: 0 };
const failuresOf = (status: ModelStatus): number => ('failures' in status ? status.failures : 0);

/**
 * The transitions as functions of the state they start from: an illegal one does not compile. A second failure waits
 * twice as long as the first; passing forgets the failures, disabling does not.
 */
export const move = {
  /** Progress within pending is no transition. */
  step: (status: Of<'pending'>, reason: PendingReason): Of<'pending'> => ({ ...status, reason }),
  pass: (_status: Of<'pending'>, nowMs: number): Of<'active'> => ({ state: 'active', since: nowMs }),
  recheck: (_status: Of<'active'>): Of<'pending'> => ({ state: 'pending', reason: 'verifying', failures: 0 }),
  fail: (
    status: Of<'pending' | 'active' | 'inactive'>,
    reason: string,
    nowMs: number,
    rule: QuarantineRule,
  ): Of<'failed'> => {
    const failures = failuresOf(status) + 1;
    const wait = Math.min(rule.capMs, rule.retryMs * 2 ** Math.min(failures - 1, 30));
    return { state: 'failed', reason, failures, retryAt: nowMs + wait };
  },
  retry: (status: Of<'failed'>): Of<'pending'> => ({ state: 'pending', reason: 'queued', failures: status.failures }),
  disable: (status: Of<'pending' | 'active' | 'failed'>, reason: string): Of<'inactive'> => ({
    state: 'inactive',
    reason,
    failures: failuresOf(status),
  }),
  enable: (status: Of<'inactive'>): Of<'pending'> => ({
    state: 'pending',
    reason: 'verifying',
    failures: status.failures,
  }),
  archive: (_status: Exclude<ModelStatus, Of<'archived'>>): Of<'archived'> => ({ state: 'archived' }),
  list: (_status: Of<'archived'>): Of<'pending'> => newModel,
} as const;

/** Towards pending from wherever a model stands, by legal moves alone. */
export const begin = (status: ModelStatus, reason: PendingReason): Of<'pending'> => {
  switch (status.state) {
    case 'pending':
      return move.step(status, reason);
    case 'active':
      return move.step(move.recheck(status), reason);
    case 'inactive':
      return move.step(move.enable(status), reason);
    case 'failed':
      return move.step(move.retry(status), reason);
    case 'archived':
      return move.step(move.list(status), reason);
    default:
      return assertNever(status);
  }
};

/** Whether a quarantined model may be tried again. A clock that jumped back does not lock it in for longer than the cap. */
export const retryDue = (status: Of<'failed'>, nowMs: number, rule: QuarantineRule): boolean =>
  nowMs >= status.retryAt || status.retryAt - nowMs > rule.capMs;
