/** One look at an engine that was ready. */
export interface Look {
  /** Monotonic, ms. */
  readonly at: number;
  /** launcher.startedAt: another start is another engine. */
  readonly start: number;
  /** /health answered 200. */
  readonly up: boolean;
  /** Requests in it, running or waiting; undefined when its metrics could not be read. */
  readonly busy: number | undefined;
  /** Grows with each token and each step of the scheduler. */
  readonly progress: number | undefined;
}

export type Suspicion =
  | 'none' /** One more request tells. */
  | 'ask' /** Nobody has asked anything of it for long: one request tells. */
  | 'idle' /** Its server does not even answer any more. */
  | 'dead';

/** Busy without a token or a step for this long is asked; a prompt may take a step this long. */
export const STILL_MS = 30_000;
/** Without a token or a step for this long it is asked for one, busy or not: a dead core shows only when it is used. */
export const IDLE_MS = 600_000;
/** The server of a live process without an answer for this long. */
export const SILENT_MS = 60_000;

/**
 * Whether a ready engine still works (docs/kubernetes.md, vLLM facts): /health may answer 200 over a dead core. Counts the time
 * in which it was busy and moved nothing; time without requests proves nothing and does not count, nor does it clear, but
 * when it is long the engine is asked all the same. Pure but for what it remembers of the looks before.
 */
export class Pulse {
  #last: Look | null = null;
  #stillMs = 0;
  #quietMs = 0;
  #silentMs = 0;

  see(look: Look): Suspicion {
    const last = this.#last;
    this.#last = look;
    if (last?.start !== look.start) {
      this.answered();
      return 'none';
    }
    const passed = Math.max(0, look.at - last.at);
    this.#silentMs = look.up ? 0 : this.#silentMs + passed;
    if (look.progress !== undefined && last.progress !== undefined) {
      if (look.progress !== last.progress) this.#stillMs = this.#quietMs = 0;
      else {
        this.#quietMs += passed;
        if ((look.busy ?? 0) > 0 && (last.busy ?? 0) > 0) this.#stillMs += passed;
      }
    }
    if (this.#silentMs >= SILENT_MS) return 'dead';
    if (this.#stillMs >= STILL_MS) return 'ask';
    return this.#quietMs >= IDLE_MS ? 'idle' : 'none';
  }

  /** A request got through, or there is another engine: everything before is forgotten. */
  answered(): void {
    this.#stillMs = 0;
    this.#quietMs = 0;
    this.#silentMs = 0;
  }
}

const FIRST_MS = 0;
const AGAIN_MS = 30_000;
const CAP_MS = 600_000;
const FORGET_MS = 3_600_000;

/** How long a wedged engine waits for its restart: the first at once, then doubling, until an hour went well. */
export class RestartPace {
  #count = 0;
  #last = Number.NEGATIVE_INFINITY;

  next(at: number): number {
    if (at - this.#last > FORGET_MS) this.#count = 0;
    const wait = this.#count === 0 ? FIRST_MS : Math.min(CAP_MS, AGAIN_MS * 2 ** (this.#count - 1));
    this.#count++;
    this.#last = at;
    return wait;
  }
}
