import { CodedError } from '../lib/errors.ts';

const REASONS: Readonly<Record<string, string>> = {
  digest_mismatch: 'DigestMismatch',
  insufficient_disk: 'InsufficientDisk',
  state_unwritable: 'VolumeUnwritable',
  lease_lost: 'LeaseLost',
  source_failed: 'SourceFailed',
  source_stalled: 'SourceStalled',
  untrusted_source: 'SourceUntrusted',
  insecure_source: 'SourceUntrusted',
  bad_manifest: 'SignatureInvalid',
  test_failed: 'TestInferenceFailed',
  isolation_unproved: 'IsolationUnproved',
  args_refused: 'ArgumentRefused',
};

/** The reason that status shows for what put a model aside; reasons of the engine come as they are. */
export const quarantineReason = (error: unknown): string => {
  const code = error instanceof CodedError ? error.code : 'failed';
  return REASONS[code] ?? (/^[A-Z]\w+$/.test(code) ? code : 'InstallFailed');
};
