import { readFile } from 'node:fs/promises';
import { z } from 'zod';
import { writeDurably } from '../lib/fs.ts';
import type { LauncherFacts } from '../runtime/index.ts';

/** Seconds of each phase of one load, and of all of it. */
export type LoadSeconds = Readonly<Record<string, number>>;

const zTimes = z.array(z.tuple([z.string(), z.record(z.string(), z.number().nonnegative())])).max(64);
const KEPT = 16;

/** How long each phase took, from the launcher's marks; the last one lasted until the engine answered. */
export const secondsOf = (marks: LauncherFacts['marks'], startedAt: number, readyAt: number): LoadSeconds => {
  const known = marks.filter((m) => ['loading', 'compiling', 'capturing'].includes(m.phase));
  const seconds: Record<string, number> = { load: Math.max(0, readyAt - startedAt) / 1000 };
  for (const [i, mark] of known.entries()) {
    const end = known[i + 1]?.at ?? readyAt;
    seconds[mark.phase] = (seconds[mark.phase] ?? 0) + Math.max(0, end - mark.at) / 1000;
  }
  return seconds;
};

/** What the last loads took, by model and arguments, in a small file: the next one's expected end. */
export class LoadTimes {
  readonly #file: string;
  #times: Map<string, LoadSeconds> | null = null;

  constructor(file: string) {
    this.#file = file;
  }

  async of(key: string): Promise<LoadSeconds | undefined> {
    return (await this.#open()).get(key);
  }

  /** The newest stand last; the oldest go. A failing disk loses an estimate, no work. */
  async keep(key: string, seconds: LoadSeconds): Promise<void> {
    const times = await this.#open();
    times.delete(key);
    times.set(key, seconds);
    for (const old of [...times.keys()].slice(0, -KEPT)) times.delete(old);
    await writeDurably(this.#file, JSON.stringify([...times])).catch(() => {});
  }

  async #open(): Promise<Map<string, LoadSeconds>> {
    if (!this.#times) {
      const text = await readFile(this.#file, 'utf8').catch(() => '[]');
      let raw: unknown = [];
      try {
        raw = JSON.parse(text);
      } catch {
        // as good as none
      }
      this.#times = new Map(zTimes.catch([]).parse(raw));
    }
    return this.#times;
  }
}
