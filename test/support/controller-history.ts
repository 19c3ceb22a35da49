/** What happened, in order. `by` names the process; `generation` is what it had seen of the key. */
export type Happening =
  /** The API server took a change of the key. */
  | { readonly type: 'changed'; readonly key: string; readonly generation: number }
  | { readonly type: 'gone'; readonly key: string }
  | { readonly type: 'began'; readonly key: string; readonly by: string }
  /** A reconcile ended: well, having looked at `generation`; or not (0). */
  | { readonly type: 'ended'; readonly key: string; readonly by: string; readonly generation: number }
  | { readonly type: 'leads'; readonly by: string }
  | { readonly type: 'lost'; readonly by: string }
  | { readonly type: 'wrote'; readonly key: string; readonly by: string };

/**
 * What a history breaks of what src/kube promises: the last generation of each key was reconciled; what was reconciled never
 * goes back within one process; no key runs twice at once in one; one leader at a time; nobody else writes. Empty = nothing.
 */
export const checkHistory = (history: readonly Happening[]): string[] => {
  const broken: string[] = [];
  const newest = new Map<string, number>();
  const settled = new Map<string, number>();
  const seen = new Map<string, number>();
  const running = new Set<string>();
  const leaders = new Set<string>();
  const elected = history.some((h) => h.type === 'leads');
  for (const [i, h] of history.entries()) {
    const say = (text: string): void => void broken.push(`${i}: ${text}`);
    switch (h.type) {
      case 'changed':
        newest.set(h.key, h.generation);
        break;
      case 'gone':
        newest.delete(h.key);
        break;
      case 'began':
        if (running.has(`${h.by} ${h.key}`)) say(`${h.key} runs twice at once in ${h.by}`);
        running.add(`${h.by} ${h.key}`);
        break;
      case 'ended': {
        running.delete(`${h.by} ${h.key}`);
        const last = seen.get(`${h.by} ${h.key}`) ?? 0;
        if (h.generation > 0 && h.generation < last) say(`${h.by} saw ${h.key} at ${h.generation} after ${last}`);
        seen.set(`${h.by} ${h.key}`, Math.max(last, h.generation));
        settled.set(h.key, Math.max(settled.get(h.key) ?? 0, h.generation));
        break;
      }
      case 'leads':
        leaders.add(h.by);
        if (leaders.size > 1) say(`${[...leaders].join(' and ')} lead at once`);
        break;
      case 'lost':
        leaders.delete(h.by);
        break;
      case 'wrote':
        if (elected && !leaders.has(h.by)) say(`${h.by} wrote ${h.key} without leading`);
        break;
    }
  }
  for (const [key, generation] of newest) {
    const to = settled.get(key) ?? 0;
    if (to < generation) broken.push(`${key} was never reconciled at ${generation}, only at ${to}`);
  }
  return broken;
};
