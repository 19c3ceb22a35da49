import { type Reason, reasons } from '../src/api/index.ts';
import { REFUSALS, type Refusal } from '../src/protocol/index.ts';

/** The reason of a condition for each refusal of a configuration; the code itself stands in the message. */
export const reasonOfRefusal = (code: Refusal): Reason => {
  switch (code) {
    case 'bad_signature':
    case 'threshold_not_met':
    case 'digest_mismatch':
    case 'ticket_mismatch':
    case 'document_mismatch':
      return 'SignatureInvalid';
    case 'config_stale':
      return 'ConfigStale';
    case 'snapshot_expired':
      return 'ConfigExpired';
    case 'root_expired':
      return 'RootExpired';
    case 'bad_root':
    case 'root_gap':
    case 'root_rollback':
    case 'root_withheld':
      return 'RootInvalid';
    case 'unreachable':
      return 'NetworkUnreachable';
    default:
      return 'ConfigRejected';
  }
};

/** Codes of the wire and of the agent that are no refusal of a configuration. */
const CODES: Readonly<Record<string, Reason>> = {
  not_admitted: 'NotAdmitted',
  not_registered: 'NotRegistered',
  revoked: 'Revoked',
  owner_mismatch: 'RegistrationRejected',
  bad_request: 'RegistrationRejected',
  version: 'RegistrationRejected',
  isolation_unproved: 'IsolationUnproved',
  superseded: 'DuplicateIdentity',
};

/** A reason or a code that an agent gave, as one of the registry; `otherwise` when it is neither. */
export const reasonOfCode = (text: string | undefined, otherwise: Reason): Reason => {
  if (text === undefined) return otherwise;
  if (Object.hasOwn(reasons, text)) return text as Reason;
  if (Object.hasOwn(CODES, text)) return CODES[text] ?? otherwise;
  return (REFUSALS as readonly string[]).includes(text) ? reasonOfRefusal(text as Refusal) : otherwise;
};
