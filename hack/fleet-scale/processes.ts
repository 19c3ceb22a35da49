import { readFileSync } from 'node:fs';
import { loadavg } from 'node:os';

/** The kernel's clock ticks a second; 100 on every Linux that Node runs on. */
const TICKS = 100;

/** CPU seconds that a process has used; 0 when it is gone. */
export const cpuSeconds = (pid: number): number => {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
    return (Number(fields[11]) + Number(fields[12])) / TICKS;
  } catch {
    return 0;
  }
};

/** Resident and peak resident memory in MiB. */
export const memoryMiB = (pid: number): { now: number; peak: number } => {
  const text = readFileSync(`/proc/${pid}/status`, 'utf8');
  const of = (field: string): number =>
    Math.round(Number(new RegExp(`${field}:\\s+(\\d+)`).exec(text)?.[1] ?? 0) / 1024);
  return { now: of('VmRSS'), peak: of('VmHWM') };
};

/** CPU seconds of several processes since this was made. */
export class CpuClock {
  readonly #pids: Readonly<Record<string, number>>;
  readonly #from: Readonly<Record<string, number>>;

  constructor(pids: Readonly<Record<string, number>>) {
    this.#pids = pids;
    this.#from = this.#now();
  }

  used(): Record<string, number> {
    const now = this.#now();
    return Object.fromEntries(
      Object.keys(this.#pids).map((name) => [name, (now[name] ?? 0) - (this.#from[name] ?? 0)]),
    );
  }

  #now(): Record<string, number> {
    return Object.fromEntries(Object.entries(this.#pids).map(([name, pid]) => [name, cpuSeconds(pid)]));
  }
}

export const loadText = (): string => loadavg()[0]?.toFixed(1) ?? '?';
