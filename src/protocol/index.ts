/**
 * protocol: wire protocol v1 as pure functions (docs/protocol.md). No sockets, no clocks, no disks.
 *
 * Reading order: values (addresses, digests), strict-json and canonical (what is read, what is compared), eip712 and
 * signature (what is signed), frame (the socket), request-auth (HTTP), messages (schemas), receipt (the offline check),
 * model-digest (digest and path rules of a model's files),
 * codes (closed sets).
 *
 * Invariants: bytes are signed as sent and hashed as received; a signature is compared with whom it must be from, in one
 * form only (low s, v 27 or 28); a sequence number advances only after its signature held.
 */
export * from './canonical.ts';
export * from './codes.ts';
export * from './eip712.ts';
export * from './frame.ts';
export * from './messages.ts';
export * from './model-digest.ts';
export * from './receipt.ts';
export * from './request-auth.ts';
export * from './signature.ts';
export * from './source-host.ts';
export * from './strict-json.ts';
export * from './values.ts';
