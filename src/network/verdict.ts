import type { CancelReason, Verdict } from '../protocol/index.ts';

/** What the network knows of a job when a result of it arrives. */
export type JobView =
  /** A caller still waits for this attempt. */
  | { readonly kind: 'wanted' }
  /** The caller left or an operator ended it; `passedOn` lines had been given out by then. */
  | { readonly kind: 'cancelled'; readonly reason: CancelReason; readonly passedOn: number }
  /** Ended in another way, or forgotten by a restart before anything of the answer was passed on. */
  | { readonly kind: 'ended' };

/** Cancelled for such a reason, a job is billed by what was passed on. */
export const billsPassedOn = (reason: CancelReason): boolean => reason === 'client_gone' || reason === 'operator';

/** A job that this process does not hold: whoever waited for it left when the process that held it ended. */
export const forgotten = (passedOn: number): JobView =>
  passedOn > 0 ? { kind: 'cancelled', reason: 'client_gone', passedOn } : { kind: 'ended' };

export interface Case {
  /** A receipt for the same resultHash is in the ledger. */
  readonly receipted: boolean;
  readonly attempt: number;
  /** Highest attempt that was offered; undefined for an unknown job. */
  readonly latestAttempt: number | undefined;
  readonly acceptedElsewhere: boolean;
  /** Every field fits the offer and the lines received are a prefix of the output. */
  readonly matches: boolean;
  readonly job: JobView;
}

/** `full` bills what the node claims (or less, as counted), `passedOn` the lines that the caller saw. */
export type Judgement =
  | { readonly kind: 'repeat' }
  | { readonly kind: 'new'; readonly verdict: Verdict; readonly billing: 'full' | 'passedOn' | 'none' };

/** The verdict on a result whose inner signature held, in the document's order (docs/protocol.md §5). */
export const judge = (c: Case): Judgement => {
  const unbilled = (verdict: Verdict): Judgement => ({ kind: 'new', verdict, billing: 'none' });
  if (c.receipted) return { kind: 'repeat' };
  if (c.latestAttempt === undefined || c.attempt > c.latestAttempt) return unbilled('rejected');
  if (c.attempt < c.latestAttempt) return unbilled('late');
  if (c.acceptedElsewhere) return unbilled('duplicate');
  if (!c.matches) return unbilled('rejected');
  switch (c.job.kind) {
    case 'wanted':
      return { kind: 'new', verdict: 'accepted', billing: 'full' };
    case 'cancelled':
      return c.job.passedOn > 0 && billsPassedOn(c.job.reason)
        ? { kind: 'new', verdict: 'accepted', billing: 'passedOn' }
        : unbilled('late');
    case 'ended':
      return unbilled('late');
  }
};
