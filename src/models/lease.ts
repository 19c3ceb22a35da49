import { open, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock } from '../lib/clock.ts';
import { CodedError } from '../lib/errors.ts';

/** Who holds leases, and how often they are renewed. */
export interface Holder {
  /** The same over restarts of one agent, another for each agent: pod UID or node address. */
  readonly owner: string;
  /** Another in each process. */
  readonly boot: string;
  readonly clock: Clock;
  readonly renewMs: number;
  /** A lease that shows no renewal for this long is dead. */
  readonly ttlMs: number;
}

export interface Lease {
  /** Grows with every holder: a fencing token. */
  readonly n: number;
  /** The holder before fell silent and may only be asleep; otherwise it let go, or was an earlier process of this agent. */
  readonly forced: boolean;
  /** Aborted when somebody else holds it. */
  readonly lost: AbortSignal;
  /** Looks now. @throws CodedError `lease_lost` */
  check(): Promise<void>;
  release(): Promise<void>;
}

/** What a lease file says; anything else is a lease whose holder is not known. */
const read = (text: string): { owner?: unknown; boot?: unknown; free?: unknown; bytes?: unknown } => {
  try {
    return JSON.parse(text) ?? {};
  } catch {
    return {};
  }
};

/**
 * Leases as files, for agents that share a folder and nothing else. Node has no flock, and pods on one machine neither see
 * each other's processes nor, on a claim, share a clock. So: a lease is the file `<name>.<n>` with the highest n, made with
 * O_EXCL, so that n + 1 has one winner; its holder writes a growing count into it; whoever waits calls it dead when the text
 * has not changed for `ttlMs` of the waiter's own monotonic clock. No wall clock, file time or process number is believed.
 * A released file stays and says so, so that numbers only grow. A holder that slept finds the higher number and stops.
 */
export class Leases {
  readonly #root: string;
  readonly holder: Holder;
  /** Text last seen in each file, and since when. */
  readonly #seen = new Map<string, { readonly text: string; readonly since: number }>();

  constructor(root: string, holder: Holder) {
    this.#root = root;
    this.holder = holder;
  }

  /** Whether the file was seen unchanged for the whole time to live. The first look begins the watch. */
  #dead(file: string, text: string): boolean {
    const now = this.holder.clock.monotonic();
    const seen = this.#seen.get(file);
    if (seen?.text === text) return now - seen.since >= this.holder.ttlMs;
    this.#seen.set(file, { text, since: now });
    return false;
  }

  async #newest(name: string): Promise<{ n: number; text: string } | undefined> {
    const numbers = (await readdir(this.#root))
      .filter((file) => file.startsWith(`${name}.`))
      .map((file) => Number(file.slice(name.length + 1)))
      .filter(Number.isSafeInteger);
    if (numbers.length === 0) return undefined;
    const n = Math.max(...numbers);
    return { n, text: await readFile(join(this.#root, `${name}.${n}`), 'utf8').catch(() => '') };
  }

  /** Who else holds it as far as can be seen, with the bytes it announced. */
  async held(name: string): Promise<{ readonly bytes: number } | undefined> {
    const top = await this.#newest(name);
    if (!top) return undefined;
    const { free, boot, bytes } = read(top.text);
    if (free === true || boot === this.holder.boot || this.#dead(`${name}.${top.n}`, top.text)) return undefined;
    return { bytes: typeof bytes === 'number' ? bytes : 0 };
  }

  /**
   * Waits for the lease `name`. With `wait` false: undefined when it is held. `bytes` is announced to others.
   * @throws the signal's reason
   */
  acquire(name: string, options: { wait: false; bytes?: number }): Promise<Lease | undefined>;
  acquire(name: string, options: { bytes?: number; signal?: AbortSignal; onWait?: () => void }): Promise<Lease>;
  async acquire(
    name: string,
    o: { wait?: false; bytes?: number; signal?: AbortSignal; onWait?: () => void },
  ): Promise<Lease | undefined> {
    const { owner, boot, clock, renewMs } = this.holder;
    for (;;) {
      o.signal?.throwIfAborted();
      const top = await this.#newest(name);
      const is = top ? read(top.text) : { free: true };
      const earlier = is.owner === owner && is.boot !== boot;
      const forced = !(is.free === true || earlier);
      if (!forced || (top && this.#dead(`${name}.${top.n}`, top.text))) {
        const n = (top?.n ?? 0) + 1;
        if (await this.#create(name, n, o.bytes ?? 0)) return this.#keep(name, n, forced, o.bytes ?? 0);
        continue;
      }
      if (o.wait === false) return undefined;
      o.onWait?.();
      await clock.sleep(renewMs, o.signal);
    }
  }

  async #create(name: string, n: number, bytes: number): Promise<boolean> {
    try {
      const file = await open(join(this.#root, `${name}.${n}`), 'wx', 0o600);
      await file.writeFile(this.#text(bytes, 0)).finally(() => file.close());
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
      throw error;
    }
    for (const file of await readdir(this.#root))
      if (file.startsWith(`${name}.`) && Number(file.slice(name.length + 1)) < n) {
        this.#seen.delete(file);
        await rm(join(this.#root, file), { force: true });
      }
    return true;
  }

  #text(bytes: number, beat: number, free = false): string {
    const { owner, boot } = this.holder;
    return JSON.stringify({ owner, boot, bytes, ...(free ? { free } : {}), beat });
  }

  #keep(name: string, n: number, forced: boolean, bytes: number): Lease {
    const { clock, renewMs } = this.holder;
    const path = join(this.#root, `${name}.${n}`);
    const lost = new AbortController();
    const over = new AbortController();
    const check = async (): Promise<void> => {
      const top = await this.#newest(name);
      if (top?.n === n) return;
      const error = new CodedError('lease_lost', `another agent took over ${name}`);
      lost.abort(error);
      throw error;
    };
    const renew = async (): Promise<void> => {
      for (let beat = 1; !over.signal.aborted; beat++) {
        await clock.sleep(renewMs, over.signal);
        await check();
        // a disk that refuses one renewal may take the next
        await writeFile(path, this.#text(bytes, beat), { flag: 'r+' }).catch(() => {});
      }
    };
    const renewing = renew().catch(() => {}); // released or lost
    return {
      n,
      forced,
      lost: lost.signal,
      check,
      release: async () => {
        over.abort();
        await renewing; // a renewal that is under way must not come after
        if (!lost.signal.aborted) await writeFile(path, this.#text(bytes, 0, true), { flag: 'r+' }).catch(() => {});
      },
    };
  }
}
