import type { RunReport } from './run.ts';
import { KINDS } from './schedule.ts';

const SHOWN = 20;
const row = (cells: readonly (string | number)[], width = 12): string =>
  cells.map((c, i) => (i === 0 ? String(c).padEnd(16) : String(c).padStart(width))).join('');

/** What a run came to, for people. */
export const table = (report: RunReport): string => {
  const { faults, verdict } = report;
  const sum = (of: readonly number[]): number => of.reduce((a, b) => a + b, 0);
  const lines = [row(['disconnects', 'n', 'min open', 'min stream', 'ACCEPTED', 'RESULT', 'hit RESULT'])];
  for (const kind of [...KINDS, 'all'] as const) {
    const of = faults.filter((f) => kind === 'all' || f.kind === kind);
    if (of.length === 0) continue;
    lines.push(
      row([
        kind,
        of.length,
        Math.min(...of.map((f) => f.open)),
        Math.min(...of.map((f) => f.streaming)),
        sum(of.map((f) => f.phases.accepted)),
        sum(of.map((f) => f.phases.result)),
        of.filter((f) => f.phases.result > 0).length,
      ]),
    );
  }
  const { clients } = verdict;
  lines.push(
    '',
    `requests: ${clients.complete} complete, ${clients.error} errors (${verdict.midStream} of them in mid-stream), ${clients.left} left by the caller, ${clients.cut} cut by a kill of the service`,
    `errors by code: ${[...report.errors].map(([code, n]) => `${code} ${n}`).join(', ') || 'none'}`,
    `attempts journalled: ${report.attempts}; every signature of the ledger holds: ${report.signaturesHold ? 'yes' : 'NO'}`,
    `lost: ${verdict.lost}; accepted twice: ${verdict.acceptedTwice}; violations: ${verdict.violations.length}`,
    ...verdict.violations.slice(0, SHOWN).map((v) => `  ${v.invariant} ${v.key}: ${v.message}`),
  );
  if (verdict.violations.length > SHOWN) lines.push(`  … and ${verdict.violations.length - SHOWN} more`);
  if (report.stopped !== undefined) lines.push(`NOT FINISHED: ${report.stopped}`);
  lines.push(
    `seed ${report.seed}${report.stopped || verdict.violations.length ? `, records kept in ${report.dir}` : ''}`,
  );
  return lines.join('\n');
};
