import { type Random, seeded } from './random.ts';

/** A way to tear node and network apart. */
export const KINDS = ['kill-agent', 'kill-network', 'blackhole', 'reset', 'half-open'] as const;
export type Kind = (typeof KINDS)[number];

/** One forced disconnect, planned before the run so that a seed repeats it. */
export interface Planned {
  readonly n: number;
  readonly kind: Kind;
  /** At least so long after the last one healed; then until enough jobs are open. */
  readonly waitMs: number;
  /** Until the killed process starts again, or the hole heals. */
  readonly downMs: number;
  /** On the path of the frames before the fault, so that results are under way when it strikes. */
  readonly latencyMs: number;
  /** Kills only: the path is a hole for so long before, so that results pile up without a receipt. */
  readonly blindMs: number;
  /** Half-open: the end that is cut; the other one hears nothing. */
  readonly cut: 'client' | 'upstream';
  /** Half-open with the node left to its own liveness: 40 s of silence. */
  readonly patient: boolean;
}

/** One patient half-open disconnect in so many of its kind: each takes 40 s. */
const PATIENT_EVERY = 12;

/** Every block of six holds each kind once and `kill-agent` twice, as that one alone resets the agent's back-off. */
export const plan = (seed: number, disconnects: number): readonly Planned[] => {
  const random: Random = seeded(seed, 'schedule');
  const planned: Planned[] = [];
  let halfOpen = 0;
  while (planned.length < disconnects)
    for (const kind of random.shuffled<Kind>([...KINDS, 'kill-agent'])) {
      const patient = kind === 'half-open' && ++halfOpen % PATIENT_EVERY === 0;
      planned.push({
        n: planned.length + 1,
        kind,
        waitMs: random.chance(0.5) ? random.between(0, 800) : random.between(1_500, 4_000),
        downMs: kind.startsWith('kill') ? random.between(0, 400) : random.between(200, 2_500),
        latencyMs: random.chance(0.5) ? random.between(20, 200) : 0,
        blindMs: kind.startsWith('kill') && random.chance(0.3) ? random.between(300, 1_500) : 0,
        cut: patient || random.chance(0.5) ? 'upstream' : 'client',
        patient,
      });
    }
  return planned.slice(0, disconnects);
};
