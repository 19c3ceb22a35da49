import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { isSameProcess, processRef } from './proc.ts';

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
  mkdirSync(dirname(path), { recursive: true });
  const me = JSON.stringify(processRef(process.pid));
  for (let waited = false; ; ) {
    try {
      writeFileSync(path, me, { flag: 'wx' });
      break;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    }
    const holder = readHolder(path);
    if (holder === 'dead') {
      rmSync(path, { force: true });
      continue;
    }
    if (holder !== 'gone' && !waited) {
      waited = true;
      onWait?.(holder);
    }
    await sleep(250, undefined, signal ? { signal } : {});
  }
  try {
    return await work();
  } finally {
    rmSync(path, { force: true });
  }
}

function readHolder(path: string): number | 'dead' | 'gone' {
  try {
    const text = readFileSync(path, 'utf8');
    if (text === '') return 'gone'; // its holder is between creating and writing it
    const ref = JSON.parse(text) as { pid: number; startTime: string };
    return isSameProcess(ref) ? ref.pid : 'dead';
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ENOENT' ? 'gone' : 'dead';
  }
}
