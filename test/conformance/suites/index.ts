/**
 * The cases: each names the section of docs/protocol.md, says the rule in a sentence and tries it.
 *
 * Reading order: `network-context` and the network's cases (`network-http`, `network-socket`, `network-jobs`), which the
 * minimal agent runs against any network; `agent-cases` (session, orders) and `agent-jobs`, which the minimal network runs
 * against whatever agent connects.
 *
 * Invariants: a case demands only what the document demands; what needs something that is not there is skipped, and says so.
 */
import type { Case } from '../kit/index.ts';
import type { MinimalNetwork } from '../network/index.ts';
import { agentOrderCases, agentSessionCases } from './agent-cases.ts';
import { agentJobCases } from './agent-jobs.ts';
import type { NetworkContext } from './network-context.ts';
import { networkHttpCases } from './network-http.ts';
import { networkJobCases } from './network-jobs.ts';
import { networkSocketCases } from './network-socket.ts';

export const NETWORK_CASES: readonly Case<NetworkContext>[] = [
  ...networkHttpCases,
  ...networkSocketCases,
  ...networkJobCases,
];
export const AGENT_CASES: readonly Case<MinimalNetwork>[] = [
  ...agentSessionCases,
  ...agentJobCases,
  ...agentOrderCases,
];
export { NetworkContext, type NetworkTarget } from './network-context.ts';
