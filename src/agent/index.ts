/**
 * agent: the sidecar program. It holds the node's identity, speaks to the network, and keeps one model in the engine.
 *
 * Reading order: settings, identity and state-claim (what comes from outside, and whose the state folder is); server-clock and http (calls to the network),
 * registration; fit-jobs (pure); proxy-tunnel → socket → session (one socket: challenge, hello, welcome, signed frames) → reconnect (when to come back,
 * pure) → connection (the loop); offer-check (pure) → journal (the promises) → delta-stream → jobs (offer to signed result) →
 * results (until receipted);
 * config-sync (accepted, applied, what may be done now), ticket-age (how stale that is); engine-watch, isolation,
 * engine-loader, load-times, test-inference, wedge (pure: does it still work) → engine-guard, engine-room (these together); plan and
 * plan-steps (pure: what the engine shall do, and what a failing step undoes), model-next (pure: what to do next for it),
 * model-book (states), model-ports and model-install (files), model-steps (the deeds), model-review (files at rest) →
 * model-manager (the wanted model into the engine); annotations, drain, inbound (orders of operator and network);
 * node-view (heartbeat, hello and status as functions of one view) → heartbeat, status, observed; standing (what offers are
 * judged by); record (the execution record); survey; ground (all that is outside) → wiring (the parts) → agent (their
 * loops, stop), main (the program).
 *
 * Invariants: journalled before promised; an attempt reaches the engine at most once; what is accepted and not applied only
 * takes away; nothing is served before its files, its isolation and its test are proved; loops are level-based and one
 * loop's trouble never stops another; no prompt, output, key or token in any log, metric, record or status.
 */
export { type RunningAgent, startAgent } from './agent.ts';
export type { AgentOptions } from './ground.ts';
export type { Journal, JournalRecord } from './journal.ts';
export { parseSettings, type Settings } from './settings.ts';
