/** Values of the wire protocol (section 1 and 9) in the form in which they stand in objects. */
import type { Int64 } from './meta.ts';

/**
 * A sha256 digest.
 * @maxLength 71
 * @rule self.matches('^sha256:[0-9a-f]{64}$')
 *   message: is not a digest; write sha256: and 64 lower-case hex digits
 */
export type Digest = string;

/**
 * An Ethereum address; the checksum of a mixed-case one is judged by the operator (condition reason OwnerInvalid).
 * @maxLength 64
 * @rule self.matches('^0x[0-9a-fA-F]{40}$')
 *   messageExpression: '"' + self + '" is not an address; write 0x and 40 hex digits, for example 0x52908400098527886E0F7030069857D2E4169EE7'
 *   message: is not an address; write 0x and 40 hex digits, for example 0x52908400098527886E0F7030069857D2E4169EE7
 */
export type Address = string;

/**
 * A model with its version.
 * @maxLength 192
 * @rule self.matches('^[a-z0-9][a-z0-9._/-]{0,127}:[A-Za-z0-9._-]{1,63}$')
 *   messageExpression: '"' + self + '" is not a model; write name:version, for example qwen3-32b-instruct:v2'
 *   message: is not a model; write name:version, for example qwen3-32b-instruct:v2
 */
export type ModelReference = string;

/**
 * A model, with its version or without (then all its versions are meant).
 * @maxLength 192
 * @rule self.matches('^[a-z0-9][a-z0-9._/-]{0,127}(:[A-Za-z0-9._-]{1,63})?$')
 *   messageExpression: '"' + self + '" is not a model; write name or name:version, for example qwen3-8b or qwen3-8b:v2'
 *   message: is not a model; write name or name:version, for example qwen3-8b or qwen3-8b:v2
 */
export type ModelPattern = string;

/**
 * The name of a model, without version.
 * @maxLength 128
 * @rule self.matches('^[a-z0-9][a-z0-9._/-]{0,127}$')
 *   messageExpression: '"' + self + '" is not a model name; write for example qwen3-32b-instruct'
 *   message: is not a model name; write for example qwen3-32b-instruct
 */
export type ModelName = string;

/**
 * The version of a model.
 * @maxLength 63
 * @rule self.matches('^[A-Za-z0-9._-]{1,63}$')
 *   messageExpression: '"' + self + '" is not a model version; write letters, digits, ".", "_" and "-", for example v2'
 *   message: is not a model version; write letters, digits, ".", "_" and "-", for example v2
 */
export type ModelVersion = string;

/**
 * The name of a network.
 * @maxLength 63
 * @rule self.matches('^[a-z0-9][a-z0-9.-]{0,62}$')
 *   message: is not a network name; write lower-case letters, digits, "." and "-", for example testnet
 */
export type NetworkName = string;

/**
 * The id of a subcloud.
 * @minLength 1
 * @maxLength 63
 * @rule self.matches('^[A-Za-z0-9][A-Za-z0-9._-]*$')
 *   message: is not a subcloud id; write letters, digits, ".", "_" and "-", for example eu-research
 */
export type SubcloudId = string;

/** What an engine can be asked for. */
export type Task = 'chat.completions' | 'completions' | 'embeddings';

/** The state of a model, on a node or in the snapshot. */
export type ModelState = 'pending' | 'active' | 'inactive' | 'failed' | 'archived';

/** What the engine is doing. */
export type RuntimePhase =
  | 'waiting'
  | 'downloading'
  | 'loading'
  | 'compiling'
  | 'capturing'
  | 'ready'
  | 'draining'
  | 'crashed'
  | 'wedged'
  | 'stopped';

/** How far the engine is shut in; InitGuard counts as the last. */
export type IsolationTier = 'none' | 'podpolicy' | 'sandbox' | 'sandbox+policy';

/** A chain of its own, with its own owners and its own money. */
export type Environment = 'testnet' | 'mainnet';

/** A point in the order of configurations; it never falls. */
export interface ConfigVersion {
  /** Rises only when the network recovers from a fast-forward. */
  epoch: Int64;
  /** Rises with each snapshot of the epoch. */
  version: Int64;
}
