import type { Reason } from '../api/conditions.ts';
import { CodedError } from '../lib/errors.ts';

const REASONS: Readonly<Record<string, Reason>> = {
  digest_mismatch: 'DigestMismatch',
  insufficient_disk: 'InsufficientDisk',
  state_unwritable: 'VolumeUnwritable',
  source_failed: 'SourceUnavailable',
  source_stalled: 'SourceUnavailable',
  untrusted_source: 'SourceNotTrusted',
  insecure_source: 'SourceNotTrusted',
  bad_manifest: 'ModelInvalid',
  test_failed: 'TestInferenceFailed',
  isolation_unproved: 'IsolationUnproved',
  args_refused: 'ArgumentRefused',
};

/** The registered reason that status shows for what put a model aside; reasons of the engine come as they are. */
export const quarantineReason = (error: unknown): string => {
  const code = error instanceof CodedError ? error.code : 'failed';
  return REASONS[code] ?? (/^[A-Z]\w+$/.test(code) ? code : 'Quarantined');
};
