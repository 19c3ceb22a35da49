import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { domainOfRoot, openRoot, receiptAuthorities, stepRoot, type TrustedRoot } from '../../config/index.ts';
import { CodedError } from '../../lib/errors.ts';
import { checkLedger } from '../ledger-check.ts';
import { openLedgerFile } from '../ledger-file.ts';
import type { Io } from './io.ts';

/**
 * Checks every entry of a data folder's ledger and says what it found. Trust starts at the root in `rootFile`; later ones
 * are taken from `<data>/roots/<n>.json` as far as their signatures carry. @throws CodedError `ledger_wrong`
 */
export const verifyLedger = async (data: string, rootFile: string, io: Io): Promise<void> => {
  const path = join(data, 'ledger.db');
  if (!existsSync(path)) throw new CodedError('bad_usage', `${path} does not exist`);
  const roots = await readRoots(data, await readFile(rootFile, 'utf8'));
  const [first, newest] = [roots[0] as TrustedRoot, roots.at(-1) as TrustedRoot];
  const file = openLedgerFile(path);
  try {
    const report = checkLedger(file, domainOfRoot(first.document), receiptAuthorities(roots));
    const { verdicts: v } = report;
    io.out(`network   ${first.document.network}, roots v${first.version} to v${newest.version}`);
    io.out(`ledger    ${report.entries} entries, ${report.jobs} jobs, ${report.nodes} nodes`);
    io.out(`verdicts  ${v.accepted} accepted, ${v.late} late, ${v.duplicate} duplicate, ${v.rejected} rejected`);
    io.out(`tokens    ${report.claimed} claimed, ${report.billed} billed`);
    for (const { entry, jobId, text } of report.faults) io.out(`wrong     entry ${entry}, job ${jobId}: ${text}`);
    if (report.wrong > 0) {
      throw new CodedError('ledger_wrong', `${report.wrong} of ${report.entries} entries are wrong`);
    }
    io.out('sound     every signature holds, no job has two accepted results');
  } finally {
    file.close();
  }
};

const readRoots = async (data: string, pinned: string): Promise<readonly TrustedRoot[]> => {
  const roots = [openRoot(pinned.trim())];
  for (;;) {
    const last = roots.at(-1) as TrustedRoot;
    const next = await readFile(join(data, 'roots', `${last.version + 1}.json`), 'utf8').catch(() => undefined);
    if (next === undefined) return roots;
    roots.push(stepRoot(last, next));
  }
};
