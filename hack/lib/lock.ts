import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { isSameProcess, processRef } from './proc.ts';

/**
 * Takes the lock file for this process, until it ends or `release`. A lock whose holder is dead (pid and start time
 * compared) is taken over. Undefined when it is ours now, else the pid of its holder, or `unknown` between its two writes.
 */
export function claim(path: string): number | 'unknown' | undefined {
  mkdirSync(dirname(path), { recursive: true });
  for (;;) {
    try {
      writeFileSync(path, JSON.stringify(processRef(process.pid)), { flag: 'wx' });
      return undefined;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    }
    const holder = readHolder(path);
    if (holder === 'dead') release(path);
    else if (holder !== 'gone') return holder;
  }
}

export const release = (path: string): void => rmSync(path, { force: true });

/**
 * Runs `work` while this process alone holds the lock file. A lock whose holder is dead (pid and start time compared)
 * is taken over, so a killed build blocks nobody. Waits without limit unless `signal` aborts; calls `onWait` once
 * when it has to wait.
 */
export async function withLock<T>(
  path: string,
  work: () => Promise<T>,
  { signal, onWait }: { signal?: AbortSignal; onWait?: (pid: number) => void } = {},
): Promise<T> {
  for (let waited = false; ; ) {
    const holder = claim(path);
    if (holder === undefined) break;
    if (holder !== 'unknown' && !waited) {
      waited = true;
      onWait?.(holder);
    }
    await sleep(250, undefined, signal ? { signal } : {});
  }
  try {
    return await work();
  } finally {
    release(path);
  }
}

function readHolder(path: string): number | 'dead' | 'gone' | 'unknown' {
  try {
    const text = readFileSync(path, 'utf8');
    if (text === '') return 'unknown'; // its holder is between creating and writing it
    const ref = JSON.parse(text) as { pid: number; startTime: string };
    return isSameProcess(ref) ? ref.pid : 'dead';
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ENOENT' ? 'gone' : 'dead';
  }
}
