import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

/** A process that a recycled pid cannot be mistaken for: the kernel's start time stands beside the pid. */
export interface ProcessRef {
  readonly pid: number;
  /** Field 22 of /proc/PID/stat, clock ticks since boot. */
  readonly startTime: string;
}

function stat(pid: number): { state: string; startTime: string } | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' '); // the name before it may contain spaces
    return { state: fields[0] ?? '', startTime: fields[19] ?? '' };
  } catch {
    return undefined;
  }
}

/** The reference of a running process. Throws when it does not exist. */
export function processRef(pid: number): ProcessRef {
  const found = stat(pid);
  if (!found) throw new Error(`process ${pid} does not exist`);
  return { pid, startTime: found.startTime };
}

/** Whether that very process still runs (a zombie does not). */
export function isSameProcess(ref: ProcessRef): boolean {
  const found = stat(ref.pid);
  return found !== undefined && found.startTime === ref.startTime && found.state !== 'Z';
}

/** Asks the process to stop and kills it after `graceMs`. A pid that now belongs to another process is left alone. */
export async function killProcess(ref: ProcessRef, graceMs = 5000): Promise<void> {
  if (!isSameProcess(ref)) return;
  try {
    process.kill(ref.pid, graceMs > 0 ? 'SIGTERM' : 'SIGKILL');
    const end = performance.now() + graceMs;
    while (isSameProcess(ref) && performance.now() < end) await sleep(50);
    if (isSameProcess(ref)) process.kill(ref.pid, 'SIGKILL');
    while (isSameProcess(ref)) await sleep(20);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}
