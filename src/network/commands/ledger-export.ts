import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { CodedError } from '../../lib/errors.ts';
import { openLedgerFile } from '../ledger-file.ts';
import type { Io } from './io.ts';

/**
 * Prints the ledger of a data folder as NDJSON, oldest first: result, receipt, owner, tokens. No prompts or outputs are in it.
 * Reads alone, one consistent state, also while the service runs.
 */
export const exportLedger = (data: string, io: Io): void => {
  const path = join(data, 'ledger.db');
  if (!existsSync(path)) throw new CodedError('bad_usage', `${path} does not exist`);
  const file = openLedgerFile(path);
  try {
    for (const { row } of file.receipts()) io.out(row);
  } finally {
    file.close();
  }
};
