/** The closed sets of docs/protocol.md §2, §5, §6, §7, §9. */

export const KINDS = ['chat.completions', 'completions', 'embeddings'] as const;
export type Kind = (typeof KINDS)[number];

export const MODEL_STATES = ['pending', 'active', 'inactive', 'failed', 'archived'] as const;
export type ModelState = (typeof MODEL_STATES)[number];

export const RUNTIME_PHASES = [
  'waiting',
  'downloading',
  'loading',
  'compiling',
  'capturing',
  'ready',
  'draining',
  'crashed',
  'wedged',
  'stopped',
] as const;
export type RuntimePhase = (typeof RUNTIME_PHASES)[number];

/** Weakest first; `InitGuard` counts as the last. */
export const TIERS = ['none', 'podpolicy', 'sandbox', 'sandbox+policy'] as const;
export type Tier = (typeof TIERS)[number];
export const tierAtLeast = (tier: Tier, minimum: Tier): boolean => TIERS.indexOf(tier) >= TIERS.indexOf(minimum);

export const NODE_STATES = [
  'pending',
  'registered',
  'active',
  'out_of_rotation',
  'paused',
  'draining',
  'revoked',
] as const;
export type NodeState = (typeof NODE_STATES)[number];

/** In the order in which a node checks an offer. */
export const REJECT_CODES = [
  'expired',
  'draining',
  'paused',
  'config_mismatch',
  'model_not_active',
  'wrong_subcloud',
  'stale_attempt',
  'invalid_request',
  'at_capacity',
  'not_ready',
] as const;
export type RejectCode = (typeof REJECT_CODES)[number];

export const LOST_REASONS = [
  'cancelled',
  'engine_error',
  'engine_crash',
  'timeout_first',
  'timeout_gap',
  'timeout_total',
  'agent_restart',
  'handover',
  'draining',
  'output_too_large',
  'disk_full',
] as const;
export type LostReason = (typeof LOST_REASONS)[number];

export const CANCEL_REASONS = ['client_gone', 'deadline', 'reassigned', 'unanswered', 'operator'] as const;
export type CancelReason = (typeof CANCEL_REASONS)[number];

export const BYE_REASONS = ['drained', 'restart', 'shutdown', 'replaced', 'overload'] as const;
export type ByeReason = (typeof BYE_REASONS)[number];

export const FINISH_REASONS = ['stop', 'length', 'tool_calls', 'content_filter'] as const;
export type FinishReason = (typeof FINISH_REASONS)[number];

export const VERDICTS = ['accepted', 'late', 'duplicate', 'rejected'] as const;
export type Verdict = (typeof VERDICTS)[number];

export const CONTROL_ACTIONS = ['ping', 'pause', 'resume', 'drain', 'shutdown'] as const;
export type ControlAction = (typeof CONTROL_ACTIONS)[number];

/** WebSocket close codes of §6. */
export const CLOSE = {
  bye: 4000,
  restart: 4001,
  internal: 4004,
  slow: 4008,
  noPong: 4009,
  sequence: 4010,
  rate: 4029,
  badFrame: 4400,
  auth: 4401,
  forbidden: 4403,
  superseded: 4409,
  tooLarge: 4413,
  version: 4426,
} as const;
export type CloseCode = (typeof CLOSE)[keyof typeof CLOSE];

const TERMINAL: readonly number[] = [
  CLOSE.badFrame,
  CLOSE.auth,
  CLOSE.forbidden,
  CLOSE.superseded,
  CLOSE.tooLarge,
  1009,
  CLOSE.version,
];
/** A received code after which the node waits 10 minutes instead of backing off. */
export const isTerminalClose = (code: number): boolean => TERMINAL.includes(code);

/** HTTP error codes of §2 with their status. */
export const HTTP_STATUS = {
  bad_request: 400,
  bad_signature: 401,
  bad_clock: 401,
  replayed: 401,
  not_registered: 403,
  revoked: 403,
  not_admitted: 403,
  not_found: 404,
  owner_mismatch: 409,
  log_gap: 409,
  too_large: 413,
  version: 426,
  rate: 429,
  unavailable: 503,
} as const;
export type HttpErrorCode = keyof typeof HTTP_STATUS;

/** Refusal codes of a configuration, §7. */
export const REFUSALS = [
  'bad_json',
  'not_canonical',
  'too_large',
  'bad_schema',
  'bad_root',
  'root_rollback',
  'root_expired',
  'root_withheld',
  'root_gap',
  'bad_signature',
  'threshold_not_met',
  'wrong_network',
  'wrong_environment',
  'wrong_epoch',
  'digest_mismatch',
  'ticket_mismatch',
  'document_mismatch',
  'rollback',
  'same_version_other_digest',
  'snapshot_expired',
  'config_stale',
  'floor_missing',
  'floor_unreadable',
  'floor_of_another_network',
  'state_unwritable',
  'unreachable',
] as const;
export type Refusal = (typeof REFUSALS)[number];

export const PROTOCOL_VERSION = '1';
export const SUBPROTOCOL = 'resultity.v1';
