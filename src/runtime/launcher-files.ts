import { z } from 'zod';
import { zModelRef } from '../protocol/values.ts';

/** The two files between agent and launcher. Additive only: agent N works with launcher N − 1. */

/** desired.json, agent → launcher. */
export interface Desired {
  readonly v: 1;
  /** Any number that differs from the last one written; the launcher echoes it. */
  readonly generation: number;
  readonly action: 'run' | 'stop';
  readonly model: { readonly name: string; readonly path: string } | null;
  readonly args: Readonly<Record<string, string>>;
  readonly env: Readonly<Record<string, string>>;
  readonly tier: 'sandbox' | 'none';
  /** Another number than before restarts the engine (a wedge). */
  readonly restart: number;
  /** Another `n` than before runs the egress probe once. */
  readonly probe: { readonly n: number; readonly targets: readonly string[] } | null;
}

const line = z.string().transform((s) => s.slice(0, 400));
const time = z.number().nonnegative();

/** What one probe of one target met. Only `blocked` (EACCES or EPERM) is the sandbox itself speaking. */
export const PROBE_OUTCOMES = ['blocked', 'refused', 'unreachable', 'timeout', 'open', 'error'] as const;

/** launcher.json, launcher → agent. It comes from the runtime container, so it is hostile text: bounded, never a command. */
export const zLauncherFacts = z.object({
  v: z.literal(1),
  launcherVersion: z.string().max(32),
  generation: z.number().int(),
  phase: z.enum(['waiting', 'loading', 'compiling', 'capturing', 'ready', 'crashed', 'stopped', 'draining']),
  model: zModelRef.nullish().default(null),
  pid: z.number().int().nullable(),
  startedAt: time.nullable(),
  restarts: z.number().int(),
  exit: z
    .object({ code: z.number().int().nullable(), signal: z.number().int().nullable(), lines: z.array(line).max(20) })
    .nullable(),
  reason: z
    .object({ code: z.string().max(40), message: line })
    .nullish()
    .default(null),
  sandbox: z.object({
    tier: z.enum(['sandbox', 'none']),
    landlockAbi: z.number().int(),
    kernel: z.string().max(128),
    error: line.optional(),
  }),
  probe: z
    .object({
      n: z.number(),
      tier: z.enum(['sandbox', 'none']).default('none'),
      at: time.default(0),
      results: z
        .array(
          z.object({
            target: z.string().max(256),
            outcome: z.enum(PROBE_OUTCOMES),
            errno: z.number().int().optional(),
          }),
        )
        .max(32),
    })
    .nullable(),
  gpus: z.array(z.record(z.string().max(40), z.string().max(128))).max(64),
  marks: z.array(z.object({ phase: z.string().max(20), at: time })).max(16),
  beat: time,
});
export type LauncherFacts = z.infer<typeof zLauncherFacts>;

/** One GPU as nvidia-smi told it; null where it does not say (MIG). */
export interface GpuFact {
  readonly index: string;
  readonly uuid: string;
  readonly name: string;
  readonly memoryTotalMiB: number | null;
  readonly memoryUsedMiB: number | null;
  readonly utilisation: number | null;
  readonly temperatureC: number | null;
  readonly driver: string;
  readonly computeCapability: string;
}

const numberOrNull = (text: string | undefined): number | null => {
  const value = Number(text);
  return text !== undefined && text !== '' && Number.isFinite(value) ? value : null;
};

/** Reads the launcher's rows of nvidia-smi. */
export const gpuFacts = (facts: LauncherFacts): GpuFact[] =>
  facts.gpus.map((row) => ({
    index: row.index ?? '',
    uuid: row.uuid ?? '',
    name: row.name ?? '',
    memoryTotalMiB: numberOrNull(row['memory.total']),
    memoryUsedMiB: numberOrNull(row['memory.used']),
    utilisation: numberOrNull(row['utilization.gpu']),
    temperatureC: numberOrNull(row['temperature.gpu']),
    driver: row.driver_version ?? '',
    computeCapability: row.compute_cap ?? '',
  }));
