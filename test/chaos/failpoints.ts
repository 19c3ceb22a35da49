import type { Readable } from 'node:stream';
import type { Journal } from '../../src/agent/index.ts';
import type { Store } from '../../src/network/index.ts';

/** Single writes of the agent's journal and of the service's ledger at which a process can be made to kill itself. */
export const STEPS = {
  agent: ['accept', 'result', 'receipted'],
  network: ['receipt'],
} as const;
export const MOMENTS = [
  'before', // the write was asked for and is not on the disk
  'written', // it is on the disk, and nobody was told
  'sent', // what it promises was handed to the kernel
] as const;
export type Moment = (typeof MOMENTS)[number];
export type Point = `${(typeof STEPS)[keyof typeof STEPS][number]}.${Moment}`;

/** Every point of one program. */
export const pointsOf = (program: keyof typeof STEPS): readonly Point[] =>
  STEPS[program].flatMap((step) => MOMENTS.map((moment): Point => `${step}.${moment}`));

/** Ends the process when a point that was armed has been passed so often as was said. One is armed at a time. */
export class Failpoints {
  readonly #die: () => void;
  #armed: { readonly point: Point; left: number } | null = null;

  /** @param die ends the process at once; nothing after it may run in earnest */
  constructor(die: () => void) {
    this.#die = die;
  }

  /** @param skip passes that are let through */
  arm(point: Point, skip: number): void {
    this.#armed = { point, left: skip };
  }
  /** Arms by lines `POINT SKIP`, as a driver writes them to the standard input of a process. */
  listen(input: Readable): void {
    input.setEncoding('utf8').on('data', (text: string) => {
      const [point, skip] = text.trim().split(' ');
      if (point) this.arm(point as Point, Number(skip ?? 0));
    });
  }

  pass(point: Point): void {
    if (this.#hits(point)) this.#die();
  }
  /** As `pass`, when all that follows in this turn of the event loop was done: frames were handed to the kernel. */
  passSent(point: Point): void {
    if (this.#hits(point)) setImmediate(this.#die);
  }

  #hits(point: Point): boolean {
    if (this.#armed?.point !== point || this.#armed.left-- > 0) return false;
    this.#armed = null;
    return true;
  }
}

/** Every write that is a promise passes `before`, `written` and `sent`; all else goes through as it is. */
export const journalWithFailpoints =
  (points: Failpoints) =>
  (journal: Journal): Journal => {
    const around = (step: (typeof STEPS.agent)[number], write: () => void): void => {
      points.pass(`${step}.before`);
      write();
      points.pass(`${step}.written`);
      points.passSent(`${step}.sent`);
    };
    return replacing(journal, {
      accept: (record) => around('accept', () => journal.accept(record)),
      result: (key, payload, lines) => around('result', () => journal.result(key, payload, lines)),
      receipted: (key, verdict) => around('receipted', () => journal.receipted(key, verdict)),
    });
  };

/** A receipt passes `before` while it waits for its commit, `written` after it, `sent` when node and caller were told. */
export const storeWithFailpoints =
  (points: Failpoints) =>
  (store: Store): Store =>
    replacing(store, {
      saveReceipt: (entry) => {
        store.saveReceipt(entry);
        points.pass('receipt.before');
      },
      durable: async () => {
        await store.durable();
        points.pass('receipt.written');
        points.passSent('receipt.sent');
      },
    });

/** `target` with some of its methods replaced. */
const replacing = <T extends object>(target: T, methods: Partial<T>): T =>
  new Proxy(target, {
    get: (_, name) => {
      if (Object.hasOwn(methods, name)) return methods[name as keyof T];
      const member = target[name as keyof T];
      return typeof member === 'function' ? member.bind(target) : member;
    },
  });
