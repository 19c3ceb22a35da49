/**
 * The steps by which an accepted configuration takes effect (docs/protocol.md §7), in this order. Only `record` changes
 * what is applied, by one rename: a failure or a crash before it leaves the old configuration, after it the new one.
 */
export const PLAN_STEPS = {
  /** Arguments, engine and images of this pod. */
  validate: { engine: 'untouched' },
  /** Files beside the running model, every hash. */
  prefetch: { engine: 'untouched' },
  /** Jobs of the old model end. */
  drain: { engine: 'untouched' },
  /** The engine loads the new one. */
  switch: { engine: 'replaced' },
  /** Isolation proved, test request answered. */
  test: { engine: 'replaced' },
  /** applied.json, durably. */
  record: { engine: 'replaced' },
} as const satisfies Record<string, { readonly engine: 'untouched' | 'replaced' }>;

export type PlanStep = keyof typeof PLAN_STEPS;

/** A plan that could not be carried out, and the step at which it ended. */
export interface PlanFailure {
  /** Key of the plan (plan.ts). */
  readonly key: string;
  /** `name:version` that it was to serve. */
  readonly ref: string;
  readonly step: PlanStep;
  /** CamelCase, as the registry of conditions names it. */
  readonly reason: string;
  readonly why: string;
}

const SOON_CAP_MS = 300_000;
const LATE_FIRST_MS = 900_000;
const LATE_CAP_MS = 6 * 3_600_000;

/**
 * How long a failed plan waits before the same is tried again, in ms. Where the old model serves meanwhile and the next try
 * would take it out of the engine, that is 15 minutes and doubles to 6 hours; else `retryMs`, doubled to 5 minutes.
 * Something new (another snapshot, assignment or image) never waits.
 */
export const againAfterMs = (step: PlanStep, failures: number, retryMs: number, oldServes: boolean): number => {
  const doubled = 2 ** Math.min(Math.max(0, failures - 1), 30);
  return oldServes && PLAN_STEPS[step].engine === 'replaced'
    ? Math.min(LATE_CAP_MS, LATE_FIRST_MS * doubled)
    : Math.min(SOON_CAP_MS, retryMs * doubled);
};

interface Held extends PlanFailure {
  readonly version: number | undefined;
  readonly failures: number;
  readonly until: number;
}

/** The last plan that failed, and until when it is not tried again. */
export class Setback {
  readonly #monotonic: () => number;
  #held: Held | null = null;

  constructor(monotonic: () => number) {
    this.#monotonic = monotonic;
  }

  /** Ref of the model whose plan failed last. */
  get ref(): string | undefined {
    return this.#held?.ref;
  }

  /**
   * Remembers a failure under the accepted snapshot's version; `oldServes` tells whether, with it, there is a way back.
   * @returns the wait in ms
   */
  note(
    failure: PlanFailure,
    version: number | undefined,
    retryMs: number,
    oldServes: (failure: PlanFailure) => boolean,
  ): number {
    const failures = this.#held?.key === failure.key && this.#held.version === version ? this.#held.failures + 1 : 1;
    const ms = againAfterMs(failure.step, failures, retryMs, oldServes(failure));
    this.#held = { ...failure, version, failures, until: this.#monotonic() + ms };
    return ms;
  }

  /** The failure whose plan must wait under this version of the configuration. */
  inForce(version: number | undefined): PlanFailure | null {
    const held = this.#held;
    return held && held.version === version && this.#monotonic() < held.until ? held : null;
  }
}
