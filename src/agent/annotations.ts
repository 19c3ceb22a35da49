import { readFile, stat } from 'node:fs/promises';
import { ANNOTATION } from '../api/contract.ts';
import type { Clock } from '../lib/clock.ts';

/** What the operator tells this agent through the pod's annotations. */
export interface Orders {
  /** `name:version`. */
  readonly assignedModel: string | undefined;
  readonly drain: boolean;
  readonly paused: boolean;
  readonly handover: boolean;
  /** Stay on what is applied. */
  readonly hold: boolean;
  /** The pod's creation time in ms; 0 if unknown. */
  readonly incarnation: number;
  readonly floor: { readonly epoch: number; readonly version: number } | undefined;
  /** Images that were patched into the live pod; undefined: those that it was made with. */
  readonly images: { readonly agent: string | undefined; readonly runtime: string | undefined };
}

/** Reads a downward-API file of annotations: one `key="value"` a line, the value quoted as Go does. */
export const parseAnnotations = (text: string): Map<string, string> => {
  const found = new Map<string, string>();
  for (const line of text.split('\n')) {
    const at = line.indexOf('=');
    if (at <= 0) continue;
    const quoted = line.slice(at + 1).replace(/\\(x[0-9a-f]{2}|U[0-9a-f]{8}|a|v)/g, (_, code: string) => {
      if (code === 'a') return '\\u0007';
      if (code === 'v') return '\\u000b';
      return code[0] === 'x' ? `\\u00${code.slice(1)}` : String.fromCodePoint(Number.parseInt(code.slice(1), 16));
    });
    try {
      const value: unknown = JSON.parse(quoted);
      if (typeof value === 'string') found.set(line.slice(0, at), value);
    } catch {
      // a line that cannot be read is no order
    }
  }
  return found;
};

export const readOrders = (text: string): Orders => {
  const a = parseAnnotations(text);
  const floor = /^(\d{1,15}),(\d{1,15})$/.exec(a.get(ANNOTATION.floor) ?? '');
  const incarnation = Number(a.get(ANNOTATION.incarnation) ?? '0');
  return {
    assignedModel: a.get(ANNOTATION.assignedModel) || undefined,
    drain: a.get(ANNOTATION.drain) === 'true',
    paused: a.get(ANNOTATION.paused) === 'true',
    handover: a.get(ANNOTATION.handover) === 'true',
    hold: a.get(ANNOTATION.hold) === 'true',
    incarnation: Number.isSafeInteger(incarnation) && incarnation >= 0 ? incarnation : 0,
    floor: floor ? { epoch: Number(floor[1]), version: Number(floor[2]) } : undefined,
    images: { agent: a.get(ANNOTATION.agentImage) || undefined, runtime: a.get(ANNOTATION.runtimeImage) || undefined },
  };
};

/** The annotations file, followed: the kubelet replaces it as a whole, 0.2–0.3 s after a change. */
export class PodAnnotations {
  readonly #path: string;
  #seen = '';
  orders: Orders = readOrders('');

  constructor(path: string) {
    this.#path = path;
  }

  /** Reads the file if it changed; true when the orders may be others now. */
  async refresh(): Promise<boolean> {
    try {
      const s = await stat(this.#path);
      const mark = `${s.ino} ${s.mtimeMs} ${s.size}`;
      if (mark === this.#seen) return false;
      this.orders = readOrders(await readFile(this.#path, 'utf8'));
      this.#seen = mark;
      return true;
    } catch {
      return false; // no file yet, or outside Kubernetes: the last orders hold
    }
  }

  async run(clock: Clock, signal: AbortSignal, onChange: (orders: Orders) => void): Promise<void> {
    while (!signal.aborted) {
      if (await this.refresh()) onChange(this.orders);
      await clock.sleep(250, signal).catch(() => {});
    }
  }
}
