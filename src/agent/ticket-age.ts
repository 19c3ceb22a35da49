import { readFile } from 'node:fs/promises';
import { z } from 'zod';
import type { Clock } from '../lib/clock.ts';
import { writeDurably } from '../lib/fs.ts';
import type { ServerClock } from './server-clock.ts';

interface Ticket {
  readonly issuedAt: number;
  readonly expiresAt: number;
}

const zKept = z.object({ issuedAt: z.number(), ageMs: z.number().nonnegative() });
const KEEP_EVERY_MS = 600_000;
/** Clocks may differ by this much. */
const TOLERANCE_MS = 60_000;

/** How the last fresh ticket stands: within its life, past it, or past maxStalenessSeconds. */
export type Freshness = 'Fresh' | 'Stale' | 'Expired';

/**
 * How long ago the last fresh ticket was issued (docs/protocol.md §7, staleness). Counted on the monotonic clock from the
 * moment it was accepted, and by server time once that is known: the higher counts, so that neither a jump of the wall clock
 * nor a network that tells an old time changes it. Kept durably; time in which no agent ran does not count without server time.
 */
export class TicketAge {
  readonly #clock: Clock;
  readonly #server: Pick<ServerClock, 'known'>;
  readonly #file: string;
  #ticket: Ticket | null = null;
  #base = 0;
  #since = 0;
  #kept = 0;

  constructor(clock: Clock, server: Pick<ServerClock, 'known'>, file: string) {
    this.#clock = clock;
    this.#server = server;
    this.#file = file;
  }

  /** In ms; 0 before the first ticket. */
  get ms(): number {
    if (!this.#ticket) return 0;
    const counted = this.#base + this.#clock.monotonic() - this.#since;
    const known = this.#server.known();
    return Math.max(0, counted, known === undefined ? 0 : known - this.#ticket.issuedAt);
  }

  /** A ticket that is fresh now was accepted. */
  renewed(ticket: Ticket): void {
    if (this.#ticket && ticket.issuedAt <= this.#ticket.issuedAt) return;
    this.#begin(ticket, 0);
  }

  /** Goes on from what an earlier run counted for this ticket. */
  async restore(ticket: Ticket): Promise<void> {
    const text = await readFile(this.#file, 'utf8').catch(() => '{}');
    const kept = zKept.safeParse(parse(text));
    this.#begin(ticket, kept.success && kept.data.issuedAt === ticket.issuedAt ? kept.data.ageMs : 0);
  }

  /** Writes the age down when it has grown by ten minutes. A failing disk loses minutes, no work. */
  async keep(): Promise<void> {
    const ageMs = this.ms;
    if (!this.#ticket || ageMs - this.#kept < KEEP_EVERY_MS) return;
    this.#kept = ageMs;
    await writeDurably(this.#file, JSON.stringify({ issuedAt: this.#ticket.issuedAt, ageMs })).catch(() => {});
  }

  standing(maxStalenessSeconds: number): Freshness {
    if (this.ms > maxStalenessSeconds * 1000) return 'Expired';
    const life = this.#ticket ? this.#ticket.expiresAt - this.#ticket.issuedAt : 0;
    return this.#ticket && this.ms > life + TOLERANCE_MS ? 'Stale' : 'Fresh';
  }

  #begin(ticket: Ticket, ageMs: number): void {
    this.#ticket = ticket;
    this.#base = ageMs;
    this.#kept = ageMs;
    this.#since = this.#clock.monotonic();
  }
}

const parse = (text: string): unknown => {
  try {
    return JSON.parse(text);
  } catch {
    return {};
  }
};
