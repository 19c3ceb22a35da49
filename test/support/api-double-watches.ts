import type { ServerResponse } from 'node:http';
import type { JsonObject } from './api-double-apply.ts';
import { type At, bookmarkOf, matcher, meta, Refused } from './api-double-parts.ts';

export interface Happened {
  readonly collection: string;
  readonly rv: number;
  readonly before: JsonObject | undefined;
  readonly after: JsonObject | undefined;
}
interface Watcher {
  readonly collection: string;
  readonly matches: (o: JsonObject) => boolean;
  readonly response: ServerResponse;
  readonly timer: NodeJS.Timeout;
}

/** The versions of all that happened, and who watches: bookmarks, selectors, versions that are too old. */
export class Watches {
  readonly #history: Happened[] = [];
  readonly #watchers = new Set<Watcher>();
  /** Of what happened last. */
  version = 100;
  /** Versions below are forgotten. */
  oldest = 0;
  #held = false;
  #toTell: Happened[] = [];

  get size(): number {
    return this.#watchers.size;
  }
  nextVersion(): number {
    return ++this.version;
  }
  close(): void {
    for (const w of this.#watchers) clearTimeout(w.timer);
  }
  cut(gently: boolean): void {
    for (const w of this.#watchers) {
      if (gently) w.response.end();
      else w.response.destroy();
    }
  }
  say(line: string | JsonObject): void {
    for (const w of this.#watchers) w.response.write(`${typeof line === 'string' ? line : JSON.stringify(line)}\n`);
  }
  bookmark(): void {
    for (const w of this.#watchers) w.response.write(`${JSON.stringify(bookmarkOf(w.collection, this.version))}\n`);
  }
  compact(): void {
    this.oldest = this.nextVersion();
  }
  hold(): void {
    this.#held = true;
  }
  release(): void {
    this.#held = false;
    for (const h of this.#toTell.splice(0)) this.#tell(h);
  }

  open(at: At, all: Iterable<{ readonly object: JsonObject }>, query: URLSearchParams, response: ServerResponse): void {
    const from = query.get('resourceVersion') ?? '';
    const initial = query.get('sendInitialEvents') === 'true';
    if (from !== '' && from !== '0' && Number(from) < this.oldest)
      throw new Refused(410, 'Expired', `too old resource version: ${from}`);
    const matches = matcher(at, query);
    response.writeHead(200, { 'content-type': 'application/json' });
    response.flushHeaders();
    const timer = setTimeout(() => response.end(), Number(query.get('timeoutSeconds') ?? 300) * 1000);
    const watcher: Watcher = { collection: at.collection, matches, response, timer };
    response.on('close', () => {
      clearTimeout(timer);
      this.#watchers.delete(watcher);
    });
    if (initial || from === '' || from === '0') {
      for (const { object } of all)
        if (matches(object)) response.write(`${JSON.stringify({ type: 'ADDED', object })}\n`);
      if (initial) response.write(`${JSON.stringify(bookmarkOf(at.collection, this.version, true))}\n`);
    } else {
      for (const h of this.#history) if (h.rv > Number(from) && !this.#toTell.includes(h)) tell(watcher, h);
    }
    this.#watchers.add(watcher);
  }

  /** @param deleted the last state of what is gone, with the version of the deletion */
  happened(h: Happened, deleted?: JsonObject): void {
    const told = deleted ? { ...h, before: deleted } : h;
    this.#history.push(told);
    if (this.#held) this.#toTell.push(told);
    else this.#tell(told);
  }
  #tell(h: Happened): void {
    for (const w of this.#watchers) tell(w, h);
  }
}

const tell = (w: Watcher, h: Happened): void => {
  if (h.collection !== w.collection) return;
  const was = h.before !== undefined && w.matches(h.before);
  const is = h.after !== undefined && w.matches(h.after);
  if (!was && !is) return;
  const type = is ? (was ? 'MODIFIED' : 'ADDED') : 'DELETED';
  const gone =
    h.after === undefined
      ? h.before
      : { ...h.before, metadata: { ...meta(h.before ?? {}), resourceVersion: String(h.rv) } };
  w.response.write(`${JSON.stringify({ type, object: is ? h.after : gone })}\n`);
};
