/** Parameters of an exponential back-off, in milliseconds. */
export interface BackoffOptions {
  readonly baseMs: number;
  readonly capMs: number;
  /** Uniform in [0, 1); a port so that tests are exact. Default Math.random. */
  readonly random?: () => number;
}

/**
 * Full jitter (AWS Architecture Blog, "Exponential Backoff And Jitter"): uniform in [0, min(cap, base × 2^attempt)).
 * `attempt` counts from 0.
 */
export const fullJitter = (attempt: number, { baseMs, capMs, random = Math.random }: BackoffOptions): number =>
  random() * Math.min(capMs, baseMs * 2 ** Math.min(attempt, 52));

/** `ms` spread by ± `share` (default 10 %), so that a fleet does not act in step. */
export const jitter = (ms: number, share = 0.1, random: () => number = Math.random): number =>
  ms * (1 + share * (2 * random() - 1));
