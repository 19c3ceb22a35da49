import { readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Sha256 } from '../protocol/values.ts';
import type { Holder } from './lease.ts';

const NAME = /^\.(sha256-[0-9a-f]{64})\.use\.([A-Za-z0-9-]{1,128})$/;

/**
 * Which models of a shared folder are in an engine: one file per model and agent, `.sha256-<hex>.use.<owner>`, renewed while
 * it holds. Seen by others as dead by the rule of Leases: unchanged for the time to live of the one who looks.
 */
export class UseLeases {
  readonly #root: string;
  readonly #holder: Holder;
  readonly #own = new Set<Sha256>();
  readonly #seen = new Map<string, { readonly text: string; readonly since: number }>();
  #beat = 0;

  constructor(root: string, holder: Holder) {
    this.#root = root;
    this.#holder = holder;
  }

  #file(digest: Sha256): string {
    return join(this.#root, `.${digest.replace(':', '-')}.use.${this.#holder.owner.replace(/[^A-Za-z0-9-]/g, '-')}`);
  }
  #write(digest: Sha256): Promise<void> {
    return writeFile(this.#file(digest), `${this.#holder.boot} ${++this.#beat}`);
  }

  get own(): ReadonlySet<Sha256> {
    return this.#own;
  }

  /** Exactly these models are in use here, or about to be. */
  async only(digests: ReadonlySet<Sha256>): Promise<void> {
    for (const digest of this.#own)
      if (!digests.has(digest)) {
        this.#own.delete(digest);
        await rm(this.#file(digest), { force: true });
      }
    for (const digest of digests) {
      if (this.#own.has(digest)) continue;
      this.#own.add(digest);
      await this.#write(digest);
    }
  }

  /** Renews until the signal; then lets go. */
  async run(signal: AbortSignal): Promise<void> {
    try {
      for (;;) {
        await this.#holder.clock.sleep(this.#holder.renewMs, signal);
        for (const digest of this.#own) await this.#write(digest).catch(() => {});
      }
    } catch {
      await this.only(new Set());
    }
  }

  /** Every model that is in use, here or by another agent whose lease is not known to be dead. Sweeps dead ones away. */
  async inUse(): Promise<ReadonlySet<Sha256>> {
    const { clock, ttlMs } = this.#holder;
    const now = clock.monotonic();
    const used = new Set<Sha256>(this.#own);
    for (const name of await readdir(this.#root).catch(() => [])) {
      const hex = NAME.exec(name)?.[1];
      const digest = hex?.replace('-', ':') as Sha256 | undefined;
      if (!digest || this.#own.has(digest)) continue;
      const text = await readFile(join(this.#root, name), 'utf8').catch(() => '');
      const seen = this.#seen.get(name);
      if (seen?.text !== text) this.#seen.set(name, { text, since: now });
      else if (now - seen.since >= ttlMs) {
        this.#seen.delete(name);
        await rm(join(this.#root, name), { force: true });
        continue;
      }
      used.add(digest);
    }
    return used;
  }
}
