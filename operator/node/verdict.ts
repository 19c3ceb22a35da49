import type { Reason } from '../../src/api/index.ts';

/** What one condition says, still without its type and times. */
export interface Verdict {
  readonly status: 'True' | 'False' | 'Unknown';
  readonly reason: Reason;
  readonly message: string;
}

export const yes = (reason: Reason, message: string): Verdict => ({ status: 'True', reason, message });
export const no = (reason: Reason, message: string): Verdict => ({ status: 'False', reason, message });
export const unknown = (reason: Reason, message: string): Verdict => ({ status: 'Unknown', reason, message });
