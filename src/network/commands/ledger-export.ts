import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { CodedError } from '../../lib/errors.ts';
import { SqliteStore } from '../sqlite-store.ts';
import type { Io } from './io.ts';

/** Prints the ledger of a data folder as NDJSON, oldest first: result, receipt, owner, tokens. No prompts or outputs are in it. */
export const exportLedger = (data: string, io: Io): void => {
  const path = join(data, 'ledger.db');
  if (!existsSync(path)) throw new CodedError('bad_usage', `${path} does not exist`);
  const store = new SqliteStore(path);
  try {
    for (const entry of store.ledger()) io.out(JSON.stringify(entry));
  } finally {
    store.close();
  }
};
