/**
 * network: the reference IO service, program `resultity-network` (docs/network-service.md, docs/protocol.md).
 *
 * Reading order:
 *   pure cores  dispatcher (node-pool, roster, pace, job-queue), subclouds, verdict, tokens, rotation, admission
 *   state       store (sqlite-store, log-sync), registry (nodes), publications (root-chain, ticketing), ledger
 *   shells      connection-limits, session (one socket), hub (all sockets), desk (jobs between callers and nodes)
 *   edges       call-gate, node-api, openai-api (openai-request, openai-params, openai-errors), admin-api, node-orders, model-files, sockets, http; service wires them
 *   commands/   init, model, publish, serve, node, ledger, verify-ledger (ledger-check, ledger-file)
 *
 * Invariants: a result and its receipt are durable before the receipt is sent, and one job has at most one `accepted`;
 * what is published would be accepted by a fresh node, and versions only rise; one live session a node, the highest
 * incarnation wins; a caller always ends with an answer or an explicit error; prompts and outputs are never logged or
 * stored. Time and randomness are ports: cores take `now`, shells take a Clock.
 */
export type { AdmissionRules } from './admission.ts';
export { ApiKeys } from './api-keys.ts';
export { systemRandom } from './random.ts';
export { type Service, type ServiceOptions, startService } from './service.ts';
export { DEFAULT_LIMITS, type Limits } from './settings.ts';
export type { Store } from './store.ts';
