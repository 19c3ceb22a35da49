/** What the node does for its model, as status shows it. */
export type Step = 'idle' | 'installing' | 'loading' | 'proving' | 'testing' | 'active' | 'quarantined';

/** What is there for a plan that serves a model, at one moment. */
export interface ServeFacts {
  /** Monotonic, ms. */
  readonly now: number;
  /** Seal of the files whose every byte was hashed; undefined: they have to be. */
  readonly seal: string | undefined;
  /** launcher.startedAt of the engine that loaded them; null: none did. */
  readonly loaded: number | null;
  /** What the launcher says it is now; undefined while it says nothing, or ends: no reason to act. */
  readonly engineStart: number | null | undefined;
  /** When the isolation of that engine was proved last, monotonic; null: not yet. */
  readonly provedAt: number | null;
  /** Key of the test that was passed, and of the one that is asked for: engine, its version, flags, files and request. */
  readonly passed: string | null;
  readonly wanted: string;
  readonly active: boolean;
}

export type Next = 'install' | 'load' | 'prove' | 'test' | 'activate' | 'hold';

export const REPROVE_MS = 3_600_000;

/**
 * What to do next so that the model becomes active, or stays it: the first thing that is not as it must be. What comes later
 * in this order rests on what comes before. Pure and total.
 */
export const nextOf = (f: ServeFacts): Next => {
  if (f.seal === undefined) return 'install';
  if (f.loaded === null || (f.engineStart !== undefined && f.engineStart !== f.loaded)) return 'load';
  if (f.provedAt === null || f.now - f.provedAt >= REPROVE_MS) return 'prove';
  if (f.passed !== f.wanted) return 'test';
  return f.active ? 'hold' : 'activate';
};

/** What an answer of the engine depends on: with another key a passed test says nothing. */
export const testKey = (
  planKey: string,
  engineStart: number | null,
  engineVersion: string,
  seal: string | undefined,
): string => JSON.stringify([planKey, engineStart, engineVersion, seal ?? '']);
