/**
 * The protocol's primitives a second time, written from docs/protocol.md alone: nothing here comes from src/.
 *
 * Reading order: `bytes` (hashes, forms), `json` (strict reading, RFC 8785), `sign` (EIP-712 by ethers, the signature's
 * form, ways to spoil one), `frame` and `call` (what is signed on the socket and over HTTP), `config` (root, snapshot,
 * ticket: read, checked, written), `peer` (one end of a socket), `report` (cases and verdicts).
 *
 * Invariants: test/integration/conformance-kit.test.ts reads and writes every golden vector with it; nothing is imported
 * from src/; a broken rule of the other side is a verdict, never a crash.
 */
export * from './bytes.ts';
export * from './call.ts';
export * from './config.ts';
export * from './frame.ts';
export * from './json.ts';
export * from './peer.ts';
export * from './report.ts';
export * from './sign.ts';
