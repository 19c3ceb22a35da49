import type { Clock } from '../lib/clock.ts';
import {
  type ConfigAnswer,
  type Domain,
  type Signer,
  type SnapshotStruct,
  signStruct,
  type TicketStruct,
} from '../protocol/index.ts';

export const TICKET_MS = 3_600_000;
/** A ticket is signed anew when it is older, so that what is handed out is always fresh for most of its hour. */
const RENEW_MS = 60_000;

/** Keeps one fresh ticket over a published snapshot and joins both into the answer of GET /v1/config. */
export class Ticketing {
  readonly #domain: Domain;
  readonly #signer: Signer;
  readonly #clock: Clock;
  #last: { readonly digest: string; readonly at: number; readonly answer: ConfigAnswer } | undefined;

  constructor(domain: Domain, signer: Signer, clock: Clock) {
    this.#domain = domain;
    this.#signer = signer;
    this.#clock = clock;
  }

  answer(snapshot: SnapshotStruct, snapshotSignatures: readonly unknown[]): ConfigAnswer {
    const now = this.#clock.now();
    const key = `${snapshot.epoch} ${snapshot.version} ${snapshot.digest}`;
    const last = this.#last;
    // a wall clock that went back makes a new one too
    if (last && last.digest === key && now >= last.at && now - last.at < RENEW_MS) return last.answer;
    const { network, epoch, version, digest } = snapshot;
    const ticket: TicketStruct = { network, epoch, version, digest, issuedAt: now, expiresAt: now + TICKET_MS };
    const answer: ConfigAnswer = {
      snapshot,
      snapshotSignatures: [...snapshotSignatures],
      ticket,
      ticketSignatures: [
        { signer: this.#signer.address, sig: signStruct(this.#signer, this.#domain, 'ConfigTicket', ticket) },
      ],
    };
    this.#last = { digest: key, at: now, answer };
    return answer;
  }
}
