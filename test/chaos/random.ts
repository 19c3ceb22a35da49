import { createHash } from 'node:crypto';

/** Numbers that a seed repeats. One stream a purpose, so that what one part draws never shifts another's. */
export interface Random {
  /** Uniform in [0, 1). */
  next(): number;
  /** Whole, from … to, both included. */
  between(from: number, to: number): number;
  chance(p: number): boolean;
  shuffled<T>(of: readonly T[]): T[];
}

export const seeded = (seed: number, purpose: string): Random => {
  let state = createHash('sha256').update(`${seed} ${purpose}`).digest().readUInt32LE(0);
  // mulberry32
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
  const between = (from: number, to: number): number => from + Math.floor(next() * (to - from + 1));
  return {
    next,
    between,
    chance: (p) => next() < p,
    shuffled: <T>(of: readonly T[]): T[] => {
      const all = [...of];
      for (let i = all.length - 1; i > 0; i--) {
        const j = between(0, i);
        [all[i], all[j]] = [all[j] as T, all[i] as T];
      }
      return all;
    },
  };
};
