import { createHash } from 'node:crypto';
import type { Clock } from '../../src/lib/clock.ts';
import { createLogger, type Logger } from '../../src/lib/log.ts';
import { Metrics } from '../../src/lib/metrics.ts';
import type { Random as ServiceRandom } from '../../src/network/random.ts';
import { type Random, seeded } from '../chaos/random.ts';
import { FakeClock } from '../support/fake-clock.ts';

/** What happened, in order, each line with its monotonic time: two runs of one seed write the same bytes. */
export class Trace {
  readonly lines: string[] = [];
  readonly #clock: FakeClock;

  constructor(clock: FakeClock) {
    this.#clock = clock;
  }
  note(line: string): void {
    this.lines.push(`${this.#clock.monotonic().toFixed(3)} ${line}`);
  }
  get digest(): string {
    return createHash('sha256').update(this.lines.join('\n')).digest('hex');
  }
}

/** Eight digits that stand for a text in the trace. */
export const mark = (text: string): string => createHash('sha256').update(text).digest('hex').slice(0, 8);

/** Everything that the parts of one run share: the seed, the one clock below all clocks, the trace. */
export class World {
  readonly seed: number;
  readonly clock = new FakeClock();
  readonly trace = new Trace(this.clock);
  readonly metrics = new Metrics();
  /** What living programs logged as errors: none of it is expected. */
  readonly errors: string[] = [];

  constructor(seed: number) {
    this.seed = seed;
  }
  get at(): number {
    return this.clock.monotonic();
  }
  random(purpose: string): Random {
    return seeded(this.seed, purpose);
  }
}

/** Randomness as the network service takes it, from the seed. */
export const serviceRandom = (random: Random): ServiceRandom => ({
  bytes: (n) => Uint8Array.from({ length: n }, () => random.between(0, 255)),
  next: () => random.next(),
});

/** A machine: a wall clock of its own that may jump, and power. */
export class Host {
  readonly name: string;
  readonly world: World;
  wallOffset = 0;
  /** False from a loss of power until something runs here again: nobody even refuses a packet. */
  powered = true;

  constructor(world: World, name: string) {
    this.world = world;
    this.name = name;
  }
  readonly clock: Clock = {
    // whole, as every wall clock is
    now: () => Math.floor(this.world.clock.now()) + this.wallOffset,
    monotonic: () => this.world.clock.monotonic(),
    sleep: (ms, signal) => this.world.clock.sleep(ms, signal),
  };
}

/** What an agent says, as it should, when its identity has moved on. */
const SUPERSEDED = 'this process does not connect again';

/**
 * One run of a program. Once it is dead nothing that it waits for comes back, so its code runs no further; what it still
 * does in the turn of its death must be stopped by each port (`alive`). Held (SIGSTOP), it goes on when it is let go.
 */
export class Proc {
  readonly host: Host;
  readonly log: Logger;
  alive = true;
  readonly #ends: (() => void)[] = [];
  #held: Promise<void> | null = null;
  #letGo: () => void = () => {};

  constructor(host: Host) {
    this.host = host;
    host.powered = true;
    this.log = createLogger(host.name, 'error', {
      write: (line) => {
        if (this.alive && !line.includes(SUPERSEDED)) host.world.errors.push(line.trim());
      },
    });
  }
  /** Called at its death, in order. */
  onDeath(end: () => void): void {
    this.#ends.push(end);
  }
  die(): void {
    if (!this.alive) return;
    this.alive = false;
    this.host.world.trace.note(`${this.host.name} dies`);
    this.release();
    for (const end of this.#ends) end();
  }
  hold(): void {
    this.#held ??= new Promise((resolve) => {
      this.#letGo = resolve;
    });
  }
  release(): void {
    this.#letGo();
    this.#held = null;
  }
  /** Resolves when it is not held, dead or alive. */
  async freed(): Promise<void> {
    while (this.#held) await this.#held;
  }
  /** Resolves while it runs: at once, when it is let go, or never. */
  async running(): Promise<void> {
    await this.freed();
    if (!this.alive) await new Promise<never>(() => {});
  }
  readonly clock: Clock = {
    now: () => this.host.clock.now(),
    monotonic: () => this.host.clock.monotonic(),
    sleep: async (ms, signal) => {
      try {
        await this.host.clock.sleep(ms, signal);
      } finally {
        await this.running();
      }
    },
  };
}
