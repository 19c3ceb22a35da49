import { mkdir, readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import {
  compareVersions,
  domainOfRoot,
  type SnapshotDocument,
  type TrustedRoot,
  verifyPublication,
} from '../config/index.ts';
import type { Clock } from '../lib/clock.ts';
import { CodedError, errorText, isCoded } from '../lib/errors.ts';
import { writeDurably } from '../lib/fs.ts';
import {
  type ConfigAnswer,
  type Domain,
  parseStrictJson,
  REFUSALS,
  type Refusal,
  type Sha256,
  type Signer,
  type SnapshotStruct,
  sha256Hex,
  zSnapshotStruct,
} from '../protocol/index.ts';
import { RootChain, readIfThere } from './root-chain.ts';
import { Ticketing } from './ticketing.ts';

/** What `resultity-network publish` uploads: a signed snapshot and its exact bytes. */
export const zPublication = z.object({
  snapshot: zSnapshotStruct,
  snapshotSignatures: z.array(z.unknown()).max(32),
  /** The snapshot's bytes; they are UTF-8 by their own form. */
  document: z.string(),
});
export type Publication = z.infer<typeof zPublication>;

interface Current extends Publication {
  readonly parsed: SnapshotDocument;
}

/**
 * What the network has published: the chain of roots, every snapshot by its digest, the newest one with a fresh ticket.
 * Nothing is published that a fresh node would refuse, and the version only rises. Durable before it is answered.
 */
export class Publications {
  readonly domain: Domain;
  readonly #dir: string;
  readonly #clock: Clock;
  readonly #roots: RootChain;
  readonly #ticketing: Ticketing;
  readonly #bytes = new Map<Sha256, Uint8Array>();
  #current: Current | undefined;
  /** The highest place that was published, also when it is withheld. */
  #last: { readonly epoch: number; readonly version: number } | undefined;
  #withheld: string | undefined;
  #turn: Promise<unknown> = Promise.resolve();

  private constructor(dir: string, clock: Clock, roots: RootChain, signer: Signer) {
    this.domain = domainOfRoot(roots.newest.document);
    this.#dir = dir;
    this.#clock = clock;
    this.#roots = roots;
    this.#ticketing = new Ticketing(this.domain, signer, clock);
  }

  /**
   * Opens the folder. `pinned` is the text of the first root; later ones lie in `<dir>/roots/<n>.json`.
   * @throws CodedError `bad_root` …, `wrong_key` when the key is none of the newest root's ticket and online keys
   */
  static async open(dir: string, pinned: string, signer: Signer, clock: Clock): Promise<Publications> {
    await mkdir(join(dir, 'snapshots'), { recursive: true });
    const roots = await RootChain.open(join(dir, 'roots'), pinned, signer.address);
    const made = new Publications(dir, clock, roots, signer);
    await made.#load();
    return made;
  }

  get root(): TrustedRoot {
    return this.#roots.newest;
  }
  /** `GET /v1/roots/<n>`, as it was given to us. */
  rootAnswer(n: number): string | undefined {
    return this.#roots.answer(n);
  }
  get document(): SnapshotDocument | undefined {
    return this.#current?.parsed;
  }
  get reference(): { epoch: number; version: number; digest: Sha256 } | null {
    if (!this.#current) return null;
    const { epoch, version, digest } = this.#current.snapshot;
    return { epoch, version, digest };
  }
  /** `GET /v1/config` with a fresh ticket; undefined before the first publication. */
  answer(): ConfigAnswer | undefined {
    return this.#current && this.#ticketing.answer(this.#current.snapshot, this.#current.snapshotSignatures);
  }
  /** The bytes of a snapshot that was published once. */
  bytes(digest: string): Uint8Array | undefined {
    return this.#bytes.get(digest as Sha256);
  }

  /** Why what was published last is not served: a newer root, or time, took its signatures or its term away. */
  get withheld(): string | undefined {
    return this.#withheld;
  }

  /**
   * Takes a publication that every node would accept and whose version rises; the same one again changes nothing.
   * @returns true when it is new @throws CodedError<Refusal>
   */
  publish(publication: Publication): Promise<boolean> {
    return this.#inTurn(async () => {
      const { snapshot } = publication;
      if (this.#current?.snapshot.digest === snapshot.digest && compareVersions(snapshot, this.#current.snapshot) === 0)
        return false;
      const checked = await this.#check(publication);
      if (this.#last && compareVersions(snapshot, this.#last) <= 0)
        throw new CodedError('rollback', `version ${snapshot.version} does not rise above ${this.#last.version}`);
      await writeDurably(join(this.#dir, 'snapshots', snapshot.digest.replace(':', '-')), publication.document);
      await writeDurably(join(this.#dir, 'current.json'), JSON.stringify(publication));
      this.#take(checked);
      return true;
    });
  }

  /**
   * Takes the next root, signed by the thresholds of the last and its own. What is published stays in force for those who
   * applied it; `withheld` says whether a newcomer would still accept it.
   * @returns false for one that is held already @throws CodedError<Refusal>, `wrong_key`
   */
  addRoot(answer: string): Promise<boolean> {
    return this.#inTurn(async () => {
      const isNew = await this.#roots.add(answer, this.#clock.now());
      if (isNew && this.#current)
        this.#withheld = await this.#check(this.#current).then(
          () => undefined,
          (error: unknown) => errorText(error),
        );
      return isNew;
    });
  }

  /** One change after another: each is checked against what the one before left. */
  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#turn.then(work);
    this.#turn = turn.catch(() => {});
    return turn;
  }

  async #check(publication: Publication): Promise<Current> {
    const { snapshot, snapshotSignatures, document } = publication;
    const outcome = await verifyPublication({
      roots: this.#roots.answers,
      answer: JSON.stringify(this.#ticketing.answer(snapshot as SnapshotStruct, snapshotSignatures)),
      bytes: Buffer.from(document),
      now: this.#clock.now(),
    });
    if (outcome.kind === 'refused') throw new CodedError(outcome.code, outcome.message);
    return { ...publication, parsed: outcome.config.document };
  }

  #take(current: Current): void {
    this.#current = current;
    this.#last = current.snapshot;
    this.#withheld = undefined;
    this.#bytes.set(current.snapshot.digest, Buffer.from(current.document));
  }

  async #load(): Promise<void> {
    for (const name of await readdir(join(this.#dir, 'snapshots')).catch(() => [])) {
      if (!/^sha256-[0-9a-f]{64}$/.test(name)) continue;
      const bytes = await readFile(join(this.#dir, 'snapshots', name));
      this.#bytes.set(sha256Hex(bytes), bytes);
    }
    const text = await readIfThere(join(this.#dir, 'current.json'));
    if (text === undefined) return;
    const kept = zPublication.parse(parseStrictJson(text));
    this.#last = kept.snapshot;
    // verified again: what lies on the disk of an online host is not believed
    const checked = await this.#check(kept).catch((error: unknown) => {
      if (!isCoded<Refusal>(error, ...REFUSALS)) throw error;
      this.#withheld = errorText(error);
      return undefined;
    });
    if (checked) this.#take(checked);
  }
}
