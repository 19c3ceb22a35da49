import { assertNever } from '../../src/lib/errors.ts';
import type { ClientRecord, FaultRecord, History, JournalRow, LedgerRecord } from './records.ts';

export interface Violation {
  readonly invariant: 'I1' | 'I2' | 'I3' | 'lost';
  /** `jobId.attempt`, a jobId, or `client N`. */
  readonly key: string;
  readonly message: string;
}

export interface Verdict {
  readonly violations: readonly Violation[];
  readonly clients: Readonly<Record<ClientRecord['outcome'], number>>;
  /** Errors after a part of the answer had come. */
  readonly midStream: number;
  /** Broken by a SIGKILL of the service, with an error that the caller's client raised. */
  readonly cutWithNetwork: number;
  readonly lost: number;
  readonly acceptedTwice: number;
}

/** A service that is killed takes its callers' connections with it; seen by two observers, this far apart at most. */
export const WITH_NETWORK_MS = 1_000;
/** What it had held when it was gone has broken, though on a busy machine a caller may see it so much later. */
const SEEN_LATE_MS = 5_000;

const keyOf = (r: { readonly jobId: string; readonly attempt: number }): string => `${r.jobId}.${r.attempt}`;

const grouped = <T>(all: readonly T[], by: (one: T) => string): Map<string, T[]> => {
  const groups = new Map<string, T[]>();
  for (const one of all) groups.set(by(one), [...(groups.get(by(one)) ?? []), one]);
  return groups;
};

/**
 * Judges a whole history by I1, I2, I3 and "lost" (docs/faults.md). Pure; every breach is named, not the first alone.
 * Assumes that the run was left to settle before the records were taken: what is open then counts as dropped.
 */
export const check = (history: History): Verdict => {
  const violations = [...receiptedAndGone(history), ...dropped(history), ...twice(history), ...lostCallers(history)];
  const clients = { complete: 0, error: 0, left: 0, cut: 0, truncated: 0, hung: 0 };
  for (const c of history.clients) clients[c.outcome]++;
  return {
    violations,
    clients,
    midStream: history.clients.filter(isMidStream).length,
    cutWithNetwork: history.clients.filter((c) => isCutWithNetwork(c, history.faults)).length,
    lost: violations.filter((v) => v.invariant === 'I1' || v.invariant === 'lost').length,
    acceptedTwice: [...grouped(accepted(history.ledger), (e) => e.result.jobId).values()].filter((g) => g.length > 1)
      .length,
  };
};

const accepted = (ledger: readonly LedgerRecord[]): LedgerRecord[] =>
  ledger.filter((e) => e.receipt.receipt.verdict === 'accepted');

const lastAt = (journal: readonly JournalRow[]): number => journal.reduce((at, r) => Math.max(at, r.at), 0);

/** I1: what a node or a caller holds a receipt or an answer for stands in the ledger, unchanged. */
const receiptedAndGone = ({ ledger, journal, clients }: History): Violation[] => {
  const entries = grouped(ledger, (e) => keyOf(e.result));
  const byJob = grouped(accepted(ledger), (e) => e.result.jobId);
  const i1 = (key: string, message: string): Violation => ({ invariant: 'I1', key, message });
  const found: Violation[] = [];
  for (const row of journal) {
    if (row.state !== 'receipted') continue;
    const held = entries.get(keyOf(row)) ?? [];
    if (held.length === 0) found.push(i1(keyOf(row), `receipted as ${row.note}, and not in the ledger`));
    else if (!held.some((e) => e.receipt.receipt.verdict === row.note && e.result.requestHash === row.requestHash))
      found.push(i1(keyOf(row), `receipted as ${row.note}, and the ledger says otherwise`));
  }
  for (const c of clients) {
    if (c.outcome !== 'complete') continue;
    const held = c.jobId === undefined ? undefined : byJob.get(c.jobId)?.[0];
    if (!held) found.push(i1(`client ${c.id}`, `has a complete answer of ${c.jobId}, and no accepted result is kept`));
    else if (held.result.outputHash !== c.outputHash)
      found.push(i1(`client ${c.id}`, `got another output of ${c.jobId} than the ledger's`));
  }
  return found;
};

/** I2: a signed result stays what it is, byte for byte, until it is settled, and it is settled in the end. */
const dropped = ({ ledger, journal }: History): Violation[] => {
  const end = lastAt(journal);
  const entries = grouped(ledger, (e) => keyOf(e.result));
  const found: Violation[] = [];
  for (const [key, rows] of grouped(journal, keyOf)) {
    const i2 = (message: string): void => void found.push({ invariant: 'I2', key, message });
    const inOrder = [...rows].sort((a, b) => a.at - b.at);
    const signed = inOrder.filter((r) => r.state === 'result');
    const last = inOrder.at(-1) as JournalRow;
    if (new Set(signed.map((r) => r.payload?.sha256)).size > 1) i2('the signed bytes changed while it waited');
    if (signed.length > 0) {
      if (last.at !== end) i2('a signed result is no longer in the journal');
      else if (last.state === 'result') i2('never receipted, though the run was left to settle');
      else if (last.state !== 'receipted') i2(`a signed result was given up: ${last.state} (${last.note})`);
    }
    const first = signed[0]?.payload;
    for (const entry of entries.get(key) ?? []) {
      if (first && (entry.resultSig !== first.sig || entry.result.outputHash !== first.outputHash))
        i2('the ledger holds another result than the one that was signed first');
      if (last.state === 'ended') i2(`the ledger holds a result of what the node gave up (${last.note})`);
    }
  }
  for (const [key, row] of grouped(
    journal.filter((r) => r.at === end && r.state === 'accepted'),
    keyOf,
  ))
    found.push({ invariant: 'I2', key, message: `still open when all had ended (${row.length})` });
  return found;
};

/** I3: an attempt reaches the engine at most once, and never unjournalled; a job is accepted and billed at most once. */
const twice = ({ ledger, calls, journal }: History): Violation[] => {
  const i3 = (key: string, message: string): Violation => ({ invariant: 'I3', key, message });
  const found: Violation[] = [];
  const known = new Set(journal.map(keyOf));
  const jobs = calls.filter((c) => c.request !== undefined);
  for (const [key, group] of grouped(jobs, (c) => c.request as string)) {
    if (group.length > 1) found.push(i3(key, `reached the engine ${group.length} times`));
    if (!known.has(key)) found.push(i3(key, 'reached the engine without a record in the journal'));
  }
  for (const [jobId, group] of grouped(ledger, (e) => e.result.jobId)) {
    const billed = group.filter((e) => e.tokens.promptBilled + e.tokens.completionBilled > 0);
    if (accepted(group).length > 1) found.push(i3(jobId, `accepted ${accepted(group).length} times`));
    if (billed.length > 1) found.push(i3(jobId, `billed ${billed.length} times`));
    for (const e of billed)
      if (e.receipt.receipt.verdict !== 'accepted') found.push(i3(keyOf(e.result), 'billed without being accepted'));
  }
  return found;
};

/** An error that was told after a part of the answer had come. */
export const isMidStream = (c: ClientRecord): boolean => c.outcome === 'error' && c.lines > 0;

/**
 * A connection that broke while the very process that held it was killed: nobody was left to say more, and the client
 * raised an error, so that no caller can take what came for an answer.
 */
const isCutWithNetwork = (c: ClientRecord, faults: readonly FaultRecord[]): boolean =>
  c.outcome === 'cut' &&
  c.raised !== undefined &&
  faults.some(
    ({ diedAt, killedAt = diedAt }) =>
      diedAt !== undefined &&
      killedAt !== undefined &&
      c.endedAt >= killedAt - WITH_NETWORK_MS &&
      c.endedAt <= diedAt + (c.at <= killedAt ? SEEN_LATE_MS : WITH_NETWORK_MS),
  );

/**
 * Lost: a request that ended with neither a complete answer nor an explicit error. A stream that ends cleanly without
 * [DONE], or a body that is not whole, is lost whatever was done to the service.
 */
const lostCallers = ({ clients, faults }: History): Violation[] => {
  const found: Violation[] = [];
  for (const c of clients) {
    const lost = (message: string): void => void found.push({ invariant: 'lost', key: `client ${c.id}`, message });
    switch (c.outcome) {
      case 'complete':
      case 'error':
      case 'left':
        break;
      case 'hung':
        lost(`no end after ${c.endedAt - c.at} ms (job ${c.jobId ?? 'unknown'})`);
        break;
      case 'truncated':
        lost(`ended cleanly after ${c.lines} lines without [DONE] or error (job ${c.jobId})`);
        break;
      case 'cut':
        if (c.raised === undefined) lost('the connection broke, and the client raised no error');
        else if (!isCutWithNetwork(c, faults)) lost(`the connection broke (${c.raised}) while the service was up`);
        break;
      default:
        assertNever(c.outcome);
    }
  }
  return found;
};
