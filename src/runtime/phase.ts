import { assertNever } from '../lib/errors.ts';
import type { RuntimePhase } from '../protocol/codes.ts';
import type { Health } from './engine-client.ts';
import type { LauncherFacts } from './launcher-files.ts';

/** Reasons of RuntimeReady=False, as the registry of conditions names them. */
export type RuntimeReason =
  | 'LauncherMissing'
  | 'Waiting'
  | 'LoadingWeights'
  | 'Compiling'
  | 'CapturingGraphs'
  | 'EngineReady'
  | 'EngineDead'
  | 'EngineWedged'
  | 'EngineOutOfMemory'
  | 'KVCacheTooSmall'
  | 'ArgumentRefused'
  | 'ModelMissing'
  | 'EngineMissing'
  | 'IsolationUnproved'
  | 'Stopped'
  | 'Draining';

export interface RuntimeView {
  readonly phase: RuntimePhase;
  readonly reason: RuntimeReason;
  /** ≤ 256 characters, no prompt, no random name. */
  readonly message: string;
}

/** The launcher writes once a second; this long without a beat it counts as gone. */
export const LAUNCHER_SILENT_MS = 15_000;

const KV_TOO_SMALL =
  /(?:estimated maximum model length is|max(?:imum)? (?:sequence|model) length[^0-9]{0,40}(?:is|to)|maximum number of tokens that can be stored in KV cache \() ?([0-9][0-9,]*)/i;
const CAUSES: readonly { readonly reason: RuntimeReason; readonly pattern: RegExp; readonly say: string }[] = [
  {
    reason: 'KVCacheTooSmall',
    pattern:
      /KV cache is needed|larger than the maximum number of tokens that can be stored in KV cache|No available memory for the cache blocks/i,
    say: 'the KV cache does not hold one request of the wanted length',
  },
  {
    reason: 'EngineOutOfMemory',
    pattern:
      /OutOfMemoryError|CUDA out of memory|HIP out of memory|Free memory on device .* is less than|MemoryError|Cannot allocate memory/i,
    say: 'the engine ran out of memory',
  },
  {
    reason: 'ArgumentRefused',
    pattern: /unrecognized arguments|invalid choice|argument --|invalid .* value:|validation error for/i,
    say: 'the engine refused an argument',
  },
  {
    reason: 'ModelMissing',
    pattern:
      /does not appear to have a file named|FileNotFoundError|No such file or directory|safetensors.*not found|Cannot find any model weights/i,
    say: 'the engine misses a file of the model',
  },
];

/** Why the engine ended, from its exit and last lines. Pure; the lines are hostile text and are never passed on whole. */
export const exitCause = (exit: NonNullable<LauncherFacts['exit']>): RuntimeView => {
  const text = exit.lines.join('\n');
  const how = exit.signal !== null ? `signal ${exit.signal}` : `status ${exit.code ?? '?'}`;
  const cause = CAUSES.find((c) => c.pattern.test(text));
  if (!cause) {
    // SIGKILL that nobody here sent is, nearly always, the kernel's memory killer.
    const killed = exit.signal === 9 || exit.code === 137;
    return killed
      ? {
          phase: 'crashed',
          reason: 'EngineOutOfMemory',
          message: `the engine was killed (${how}): most likely the memory limit`,
        }
      : {
          phase: 'crashed',
          reason: 'EngineDead',
          message: `the engine ended with ${how}; see the runtime container's log`,
        };
  }
  const fits = cause.reason === 'KVCacheTooSmall' ? KV_TOO_SMALL.exec(text)?.[1]?.replaceAll(',', '') : undefined;
  const hint = fits ? `; max-model-len ${fits} would fit` : '';
  return { phase: 'crashed', reason: cause.reason, message: `${cause.say} (${how})${hint}` };
};

/**
 * Joins what the launcher reports with what the socket answers. Health decides ready, never a log line; `facts` null or
 * silent with a healthy socket is still ready, as the launcher may be between two writes.
 */
export const runtimeView = (facts: LauncherFacts | null, health: Health, nowMs: number): RuntimeView => {
  if (facts === null)
    return { phase: 'waiting', reason: 'LauncherMissing', message: 'the runtime container has not started yet' };
  if (facts.phase === 'draining')
    return { phase: 'draining', reason: 'Draining', message: 'the runtime container is ending' };
  if (health.state === 'up') return { phase: 'ready', reason: 'EngineReady', message: 'the engine answers' };
  if (Math.abs(nowMs - facts.beat) > LAUNCHER_SILENT_MS && facts.pid === null)
    return { phase: 'waiting', reason: 'LauncherMissing', message: 'the launcher is silent' };
  switch (facts.phase) {
    case 'waiting':
      return { phase: 'waiting', reason: 'Waiting', message: 'waiting for a model' };
    case 'loading':
      return { phase: 'loading', reason: 'LoadingWeights', message: 'the engine loads the weights' };
    case 'compiling':
      return { phase: 'compiling', reason: 'Compiling', message: 'the engine compiles' };
    case 'capturing':
      return { phase: 'capturing', reason: 'CapturingGraphs', message: 'the engine captures graphs' };
    case 'ready': // by its log; the socket does not answer (yet)
      return { phase: 'capturing', reason: 'CapturingGraphs', message: 'the engine is about to answer' };
    case 'stopped':
      return { phase: 'stopped', reason: 'Stopped', message: 'the engine is stopped' };
    case 'crashed':
      return crashed(facts);
    default:
      return assertNever(facts.phase);
  }
};

const REFUSALS: Readonly<Record<string, RuntimeReason>> = {
  ArgumentRefused: 'ArgumentRefused',
  ModelMissing: 'ModelMissing',
  ModelRefused: 'ModelMissing',
  EngineMissing: 'EngineMissing',
  SandboxUnavailable: 'IsolationUnproved',
};

const crashed = (facts: LauncherFacts): RuntimeView => {
  const refused = facts.reason;
  if (refused)
    return { phase: 'crashed', reason: REFUSALS[refused.code] ?? 'EngineDead', message: refused.message.slice(0, 256) };
  return facts.exit ? exitCause(facts.exit) : { phase: 'crashed', reason: 'EngineDead', message: 'the engine ended' };
};
