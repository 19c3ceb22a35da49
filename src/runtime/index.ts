/**
 * runtime: the engine and the launcher that holds it, as the agent sees them.
 *
 * Reading order: launcher.py (≤ 300 lines of code; the one file that runs in the runtime container: sandbox, start, restart, probe, drain),
 * launcher-files (the two JSON files between agent and launcher), launcher-link (the agent's end), phase (facts → phase
 * and reason), probe (facts → proof of isolation), args (what the engine may be told), engine-client → engine-run →
 * sse-lines (one inference over the Unix socket), engine-metrics.
 *
 * Invariants: the launcher confines itself before the first engine start and cannot be talked out of it again; an
 * inference is sent to the engine at most once; a streamed line is byte for byte what the engine sent; what comes from
 * the runtime container is hostile text until zod has bounded it.
 */
export * from './args.ts';
export * from './engine-client.ts';
export type { EngineMetrics } from './engine-metrics.ts';
export type { RunDone, RunFailure, RunOptions, RunResult, Timeouts, Usage } from './engine-run.ts';
export * from './launcher-files.ts';
export * from './launcher-link.ts';
export * from './phase.ts';
export * from './probe.ts';
