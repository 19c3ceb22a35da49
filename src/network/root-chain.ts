import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { onlineKeys, openRoot, stepRoot, type TrustedRoot } from '../config/index.ts';
import { CodedError } from '../lib/errors.ts';
import { writeDurably } from '../lib/fs.ts';
import type { Address } from '../protocol/index.ts';

/**
 * The roots of the network from the pinned one to the newest; later ones lie in `<dir>/<n>.json` as they were given. Only
 * roots under which this service can work are taken: its key signs tickets, frames and receipts.
 */
export class RootChain {
  readonly #dir: string;
  readonly #key: Address;
  readonly #roots: TrustedRoot[];

  private constructor(dir: string, key: Address, roots: TrustedRoot[]) {
    this.#dir = dir;
    this.#key = key;
    this.#roots = roots;
  }

  /** @throws CodedError<Refusal> for a root that does not hold, `wrong_key` when `key` may not work under the newest */
  static async open(dir: string, pinned: string, key: Address): Promise<RootChain> {
    await mkdir(dir, { recursive: true });
    const roots = [openRoot(pinned)];
    for (;;) {
      const last = roots.at(-1) as TrustedRoot;
      const text = await readIfThere(join(dir, `${last.version + 1}.json`));
      if (text === undefined) break;
      roots.push(stepRoot(last, text));
    }
    requireKey(roots.at(-1) as TrustedRoot, key);
    return new RootChain(dir, key, roots);
  }

  get newest(): TrustedRoot {
    return this.#roots.at(-1) as TrustedRoot;
  }
  get answers(): readonly string[] {
    return this.#roots.map((r) => r.answer);
  }
  /** `GET /v1/roots/<n>`, as it was given to us. */
  answer(n: number): string | undefined {
    return this.#roots.find((r) => r.version === n)?.answer;
  }

  /**
   * Takes the next root, durable when it returns; calls must not overlap.
   * @returns false for one that is held already @throws CodedError<Refusal>, `wrong_key`
   */
  async add(answer: string, now: number): Promise<boolean> {
    if (this.#roots.some((r) => r.answer === answer)) return false;
    const next = stepRoot(this.newest, answer);
    if (next.document.expiresAt <= now) throw new CodedError('root_expired', `root v${next.version} has expired`);
    requireKey(next, this.#key);
    await writeDurably(join(this.#dir, `${next.version}.json`), answer);
    this.#roots.push(next);
    return true;
  }
}

const requireKey = (root: TrustedRoot, key: Address): void => {
  for (const [what, keys] of [
    ['ticket', root.document.roles.ticket.keys],
    ['online', onlineKeys(root)],
  ] as const)
    if (!keys.includes(key))
      throw new CodedError(
        'wrong_key',
        `${key} is no ${what} key of root v${root.version}: first publish a root that names both the old and the new key, then start with the new key`,
      );
};

export const readIfThere = async (path: string): Promise<string | undefined> => {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
};
