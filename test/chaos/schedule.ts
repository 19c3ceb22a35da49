import { type Point, pointsOf } from './failpoints.ts';
import type { Toxic } from './proxy.ts';
import { type Random, seeded } from './random.ts';

/** A way to tear node and network apart. `freeze` is the one that may leave the session whole. */
export const KINDS = [
  'kill-agent',
  'failpoint-agent',
  'kill-network',
  'failpoint-network',
  'blackhole',
  'blackhole-up',
  'blackhole-down',
  'reset',
  'half-open',
  'slice',
  'slow',
  'limit',
  'duplicate',
  'reorder',
  'freeze',
] as const;
export type Kind = (typeof KINDS)[number];
/** True for what takes the service down, and so strikes every node. */
export const isOfNetwork = (kind: Kind): boolean => kind.endsWith('-network');
/** True for what ends the agent's process, and with it its back-off. */
export const isDeathOfAgent = (kind: Kind): boolean => kind.endsWith('-agent');

/** One forced disconnect, planned before the run so that a seed repeats it. */
export interface Planned {
  readonly n: number;
  readonly kind: Kind;
  /** At least so long after the node's last one healed; then until enough jobs are open. */
  readonly waitMs: number;
  /** Until the killed process starts again, the hole heals, the toxics go, or the frozen agent thaws. */
  readonly downMs: number;
  /** On the path of the frames before the fault, so that results are under way when it strikes. */
  readonly latencyMs: number;
  /** kill-agent: the path is a hole for so long before, so that results pile up without a receipt. */
  readonly blindMs: number;
  /** Half-open: the end that is cut; the other one hears nothing. */
  readonly cut: 'client' | 'upstream';
  /** Half-open whose silent end is left to its own liveness: 40 s. */
  readonly patient: boolean;
  /** Failpoints: the write at which the process ends, and how many of that sort before it. */
  readonly point?: Point;
  readonly skip: number;
  /** slice, slow, limit, duplicate, reorder: what lies on the path for `downMs`. */
  readonly toxics: readonly Toxic[];
}

/** A block holds each kind at least once; agents die more often, as that alone resets their back-off. */
const BLOCK: readonly Kind[] = [
  ...KINDS.filter((k) => k !== 'freeze'),
  'kill-agent',
  'failpoint-agent',
  'failpoint-agent',
  'half-open',
];
/** One patient half-open in so many of its kind, one freeze in so many blocks, one long freeze in so many freezes. */
const PATIENT_EVERY = 5;
const FREEZE_EVERY = 3;
const LONG_EVERY = 4;

export interface PlanOptions {
  /** False leaves out what lasts 40 s and more, for a short run. */
  readonly patient?: boolean;
  /** Only these; every one by default. */
  readonly kinds?: readonly Kind[];
}

/** So many disconnects; freezes come on top, as one of 5 s leaves the session whole. */
export const plan = (
  seed: number,
  disconnects: number,
  { patient = true, kinds = KINDS }: PlanOptions = {},
): readonly Planned[] => {
  const random: Random = seeded(seed, 'schedule');
  const points = { agent: pointsOf('agent'), network: pointsOf('network') };
  const counts = new Map<Kind, number>();
  const planned: Planned[] = [];
  if (kinds.every((k) => k === 'freeze')) throw new Error('a plan needs a kind that disconnects');
  let left = disconnects;
  for (let block = 1; left > 0; block++) {
    const all: Kind[] = block % FREEZE_EVERY === 0 ? [...BLOCK, 'freeze'] : [...BLOCK];
    for (const kind of random.shuffled(all.filter((k) => kinds.includes(k)))) {
      if (left === 0) break;
      if (kind !== 'freeze') left--;
      const nth = (counts.get(kind) ?? 0) + 1;
      counts.set(kind, nth);
      const isPatient = patient && kind === 'half-open' && nth % PATIENT_EVERY === 0;
      const program = kind === 'failpoint-agent' ? 'agent' : 'network';
      const point = kind.startsWith('failpoint') ? points[program][nth % points[program].length] : undefined;
      planned.push({
        n: planned.length + 1,
        kind,
        waitMs: random.between(0, 800),
        downMs: downMs(kind, nth, patient, random),
        latencyMs: random.chance(0.5) ? random.between(20, 200) : 0,
        blindMs: kind === 'kill-agent' && random.chance(0.4) ? random.between(300, 1_500) : 0,
        // patient ones leave node and service to themselves in turn
        cut: (isPatient ? (nth / PATIENT_EVERY) % 2 === 1 : random.chance(0.5)) ? 'upstream' : 'client',
        patient: isPatient,
        ...(point === undefined ? {} : { point }),
        skip: random.between(0, 4),
        toxics: toxicsOf(kind, random),
      });
    }
  }
  return planned;
};

const downMs = (kind: Kind, nth: number, patient: boolean, random: Random): number => {
  if (kind === 'freeze') return patient && nth % LONG_EVERY === 0 ? 60_000 : 5_000;
  return kind.startsWith('kill') || kind.startsWith('failpoint') ? random.between(0, 400) : random.between(200, 2_500);
};

const toxicsOf = (kind: Kind, random: Random): readonly Toxic[] => {
  const direction = random.chance(0.5) ? 'up' : 'down';
  switch (kind) {
    case 'slice':
      return [{ kind, bytes: random.between(1, 40), gapMs: 1 }];
    case 'slow':
      return [{ kind, bytesPerSecond: random.between(2_000, 20_000) }];
    // tears handshakes too: what comes back is cut again until the limit goes
    case 'limit':
      return [{ kind, bytes: random.between(200, 20_000), direction }];
    case 'duplicate':
    case 'reorder':
      return [{ kind, chance: 0.3, direction }];
    case 'blackhole':
      return [{ kind }];
    case 'blackhole-up':
      return [{ kind: 'blackhole', direction: 'up' }];
    case 'blackhole-down':
      return [{ kind: 'blackhole', direction: 'down' }];
    default:
      return [];
  }
};
