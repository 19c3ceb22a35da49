/** Counts what is done between two turns of the event loop, without a clock: `add` as work is done, `most` at the end. */
export class LoopTurns {
  #now = 0;
  #most = 0;
  #stopped = false;

  constructor() {
    const turn = (): void => {
      this.#now = 0;
      if (!this.#stopped) setImmediate(turn);
    };
    setImmediate(turn);
  }
  add(amount = 1): void {
    this.#now += amount;
    this.#most = Math.max(this.#most, this.#now);
  }
  /** The most that was added between two turns. */
  most(): number {
    this.#stopped = true;
    return this.#most;
  }
}
