import type { Clock } from '../lib/clock.ts';

/** Holds whoever moves bytes back to a rate. */
export interface Pace {
  /** Resolves when `bytes` may pass; true when it had to wait. Rejects with the signal's reason. */
  take(bytes: number, signal?: AbortSignal): Promise<boolean>;
}

/** No limit. */
export const unlimited: Pace = { take: async () => false };

/**
 * A token bucket over all that share it: `bytesPerSecond` on average, a quarter of a second's worth at once. Whoever takes
 * more than there is goes into debt and waits it out, so that a large part is delayed and never refused.
 */
export const rateLimit = (bytesPerSecond: number, clock: Clock): Pace => {
  const burst = bytesPerSecond / 4;
  let tokens = burst;
  let at = clock.monotonic();
  return {
    take: async (bytes, signal) => {
      const now = clock.monotonic();
      tokens = Math.min(burst, tokens + ((now - at) * bytesPerSecond) / 1000) - bytes;
      at = now;
      if (tokens >= 0) return false;
      await clock.sleep((-tokens * 1000) / bytesPerSecond, signal);
      return true;
    },
  };
};
