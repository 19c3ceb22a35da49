/** What a trace shows: one line a promise, and how many were made before their bytes were on the disk. */
export interface TraceVerdict {
  readonly lines: readonly string[];
  readonly broken: number;
}

/**
 * Reads strace's output (-f -y): before each `PROMISE` that is written, no byte of a journal file may wait for fdatasync.
 * Pure. A trace without a promise is broken.
 */
export const judgeTrace = (trace: string): TraceVerdict => {
  const lines: string[] = [];
  const dirty = new Set<string>();
  let writes = 0;
  let syncs = 0;
  let broken = 0;
  for (const line of trace.split('\n')) {
    const call = /^\d+\s+(\w+)\(\d+<([^>]*)>/.exec(line);
    if (!call) continue;
    const [, name, path = ''] = call;
    if (path.includes('journal.db')) {
      if (name === 'fdatasync' || name === 'fsync') {
        dirty.delete(path);
        syncs++;
      } else if (name === 'pwrite64' || name === 'write') {
        dirty.add(path);
        writes++;
      }
    }
    const promise = /"PROMISE ([a-z.]+)/.exec(line)?.[1];
    if (promise === undefined) continue;
    const kept = dirty.size === 0 && (syncs > 0 || writes === 0);
    if (!kept) broken++;
    lines.push(`${promise.padEnd(12)} after ${writes} writes, ${syncs} fdatasync: ${kept ? 'kept' : 'NOT ON DISK'}`);
    writes = 0;
    syncs = 0;
  }
  if (lines.length === 0) return { lines: ['the trace holds no promise'], broken: 1 };
  return { lines, broken };
};
