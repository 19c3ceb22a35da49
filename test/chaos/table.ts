import { isMidStream, type Verdict, WITH_NETWORK_MS } from './checker.ts';
import type { ClientRecord, FaultRecord, History } from './records.ts';
import type { RunReport } from './run.ts';
import { KINDS } from './schedule.ts';

const SHOWN = 20;
const row = (cells: readonly (string | number)[]): string =>
  cells.map((c, i) => (i === 0 ? String(c).padEnd(18) : String(c).padStart(10))).join('');
const seconds = (ms: number | undefined): string => (ms === undefined ? '–' : (ms / 1_000).toFixed(1));
const sum = (of: readonly number[]): number => of.reduce((a, b) => a + b, 0);
const quantile = (of: readonly number[], q: number): number | undefined =>
  [...of].sort((a, b) => a - b)[Math.floor((of.length - 1) * q)];
const counted = (of: readonly string[]): string => {
  const counts = new Map<string, number>();
  for (const one of of) counts.set(one, (counts.get(one) ?? 0) + 1);
  return (
    [...counts]
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, n]) => `${key} ${n}`)
      .join(', ') || 'none'
  );
};

/** What a run came to, for people. */
export const table = (report: RunReport): string => {
  const { verdict, stopped } = report;
  const kept = stopped !== undefined || verdict.violations.length > 0;
  return [
    tableOf(report.history, verdict),
    `every signature of the ledger holds: ${report.signaturesHold ? 'yes' : 'NO'}`,
    ...(stopped === undefined ? [] : [`NOT FINISHED: ${stopped}`]),
    `seed ${report.seed}, ${report.seconds} s${kept ? `, records kept in ${report.dir}` : ''}`,
  ].join('\n');
};

/** The same of records that were kept. */
export const tableOf = (history: History, verdict: Verdict): string => {
  const { faults } = history;
  const causes = causesOf(history);
  const broken = new Set(verdict.violations.map((v) => v.key));
  const lines = [
    row([
      'disconnects',
      'n',
      'min open',
      'min str.',
      'at node',
      'str.',
      'ACCEPTED',
      'RESULT',
      'p50 s',
      'max s',
      'mid-str.',
      'cut',
      'broken',
    ]),
  ];
  for (const kind of [...KINDS, 'all'] as const) {
    const of = faults.filter((f) => kind === 'all' || f.kind === kind);
    if (of.length === 0) continue;
    const recovered = of.flatMap((f) => f.recoveredMs ?? []);
    const clients = of.flatMap((f) => causes.get(f.n) ?? []);
    lines.push(
      row([
        kind,
        of.length,
        Math.min(...of.map((f) => f.open)),
        Math.min(...of.map((f) => f.streaming)),
        Math.min(...of.map((f) => f.atNode.open)),
        Math.min(...of.map((f) => f.atNode.streaming)),
        sum(of.map((f) => f.phases.accepted)),
        sum(of.map((f) => f.phases.result)),
        seconds(quantile(recovered, 0.5)),
        seconds(quantile(recovered, 1)),
        clients.filter(isMidStream).length,
        clients.filter((c) => c.outcome === 'cut').length,
        clients.filter((c) => broken.has(`client ${c.id}`) || broken.has(c.jobId ?? '')).length,
      ]),
    );
  }
  const { clients } = verdict;
  lines.push(
    '',
    `killed at a single write: ${counted(faults.flatMap((f) => f.point ?? []))}`,
    ...(['node', 'service'] as const).map((side) => silences(side, faults)),
    `not back within 60 s: ${faults.filter((f) => f.recoveredMs !== null && f.recoveredMs > 60_000).length}, not back in the run: ${faults.filter((f) => f.recoveredMs === null).length}`,
    `requests: ${clients.complete} complete, ${clients.error} errors (${verdict.midStream} of them in mid-stream), ${clients.left} left by the caller, ${verdict.cutWithNetwork} cut with the network, ${clients.truncated} truncated, ${clients.hung} hung`,
    `errors by code: ${counted(history.clients.flatMap((c) => (c.outcome === 'error' ? (c.code ?? c.raised ?? 'none') : [])))}`,
    `raised by clients: ${counted(history.clients.flatMap((c) => c.raised ?? []))}`,
    `attempts journalled: ${new Set(history.journal.map((r) => `${r.jobId}.${r.attempt}`)).size}; results in the ledger by verdict: ${counted(history.ledger.map((e) => e.receipt.receipt.verdict))}`,
    `lost: ${verdict.lost}; accepted twice: ${verdict.acceptedTwice}; violations: ${verdict.violations.length}`,
    ...verdict.violations.slice(0, SHOWN).map((v) => `  ${v.invariant} ${v.key}: ${v.message}`),
  );
  if (verdict.violations.length > SHOWN) lines.push(`  … and ${verdict.violations.length - SHOWN} more`);
  return lines.join('\n');
};

/** How long one end took to find out by itself that the other one is gone. A service that was killed meanwhile did not. */
const silences = (side: 'node' | 'service', faults: readonly FaultRecord[]): string => {
  const killed = (f: FaultRecord): boolean =>
    side === 'service' &&
    faults.some((k) => k.diedAt !== undefined && k.diedAt >= f.at && k.diedAt <= f.healedAt + WITH_NETWORK_MS);
  const of = faults.filter((f) => f.silent === side && !killed(f));
  const gaveUp = of.flatMap((f) => f.gaveUpMs ?? []);
  return `half-open, ${side} left alone: ${of.length}, gave up after p50 ${seconds(quantile(gaveUp, 0.5))} s, max ${seconds(quantile(gaveUp, 1))} s, not in 45 s: ${of.length - gaveUp.length}`;
};

/**
 * Whose doing a caller's bad end most likely was: of a broken connection the last kill of the service, else the last strike
 * before it at its node or at the service. By fault number; callers with a good end are nobody's.
 */
const causesOf = ({ faults, clients }: History): Map<number, ClientRecord[]> => {
  const began = (f: FaultRecord): number => f.diedAt ?? f.at;
  const inOrder = [...faults].sort((a, b) => began(a) - began(b));
  const causes = new Map<number, ClientRecord[]>();
  for (const c of clients) {
    if (c.outcome === 'complete' || c.outcome === 'left') continue;
    const by = inOrder.findLast((f) =>
      c.outcome === 'cut'
        ? f.diedAt !== undefined && (f.killedAt ?? f.diedAt) <= c.endedAt + WITH_NETWORK_MS
        : f.at <= c.endedAt && (f.diedAt !== undefined || c.node === undefined || f.node === c.node),
    );
    if (by) causes.set(by.n, [...(causes.get(by.n) ?? []), c]);
  }
  return causes;
};
