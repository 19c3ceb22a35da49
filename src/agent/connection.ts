import type { Clock } from '../lib/clock.ts';
import type { Logger } from '../lib/log.ts';
import { afterSession, FRESH, type ReconnectState } from './reconnect.ts';
import type { Session, SessionEnd } from './session.ts';

export interface ConnectionOptions {
  readonly clock: Clock;
  readonly logger: Logger;
  /** Registers until admitted. */
  readonly register: (signal: AbortSignal) => Promise<unknown>;
  /** Asks for configuration and roots before each hello; its failure does not hold the connection up. */
  readonly beforeHello: (signal: AbortSignal) => Promise<void>;
  readonly openSession: () => Session;
  /** `at-once`: come back without waiting, whatever the code (a result may have been what closed the session). */
  readonly onEnd: (end: SessionEnd) => 'at-once' | undefined;
  readonly random?: () => number;
}

/**
 * Keeps one session open: register, connect, wait as reconnect.ts says, again; never gives up but when another process with
 * a higher incarnation took the identity. `session` is the open one, or null.
 */
export class Connection {
  readonly #o: ConnectionOptions;
  #session: Session | null = null;
  #backAfterMs: number | undefined;
  #wake = new AbortController();
  #state: ReconnectState = FRESH;

  constructor(options: ConnectionOptions) {
    this.#o = options;
  }

  /** The session, when it is open for frames. */
  get session(): Session | null {
    return this.#session?.open ? this.#session : null;
  }

  /** Sends a frame if a session is open. */
  send(t: string, payload: string | object): boolean {
    return this.#session?.send(t, payload) ?? false;
  }

  /** The next reconnect waits so long, whatever ended the session (a drain's retryAfterMs). */
  backAfter(ms: number): void {
    this.#backAfterMs = ms;
  }

  /** Ends the present wait. */
  retryNow(): void {
    this.#wake.abort();
  }

  /** Cuts the present socket, with no goodbye. */
  close(): void {
    this.#session?.terminate();
  }

  /** Runs until `signal`; resolves with why, when it ends by itself. */
  async run(signal: AbortSignal): Promise<'stopped' | 'superseded'> {
    const { clock, logger } = this.#o;
    try {
      await this.#o.register(signal);
      for (;;) {
        signal.throwIfAborted();
        await this.#o.beforeHello(signal).catch((error: unknown) => {
          if (!signal.aborted) logger.debug({ error }, 'configuration not renewed before connecting');
        });
        signal.throwIfAborted();
        const started = clock.monotonic();
        const session = this.#o.openSession();
        this.#session = session;
        const end = await session.done;
        this.#session = null;
        const atOnce = this.#o.onEnd(end) === 'at-once';
        const alive = clock.monotonic() - started;
        const next = afterSession(end, alive, this.#state, clock.monotonic(), this.#o.random);
        if (next.kind === 'stop') {
          logger.error({ reason: next.why }, 'this process does not connect again');
          return 'superseded';
        }
        this.#state = next.state;
        const ms = this.#backAfterMs ?? (atOnce ? 0 : next.ms);
        this.#backAfterMs = undefined;
        if (!signal.aborted)
          logger.info(
            { code: end.code, own: end.own, reason: end.reason, ms: Math.round(ms) },
            end.welcomed ? 'session ended, connecting again' : 'no session, trying again',
          );
        this.#wake = new AbortController();
        await clock.sleep(ms, AbortSignal.any([signal, this.#wake.signal])).catch(() => {});
        signal.throwIfAborted();
        if (next.register) await this.#o.register(signal);
      }
    } catch (error) {
      if (signal.aborted) return 'stopped';
      throw error;
    }
  }
}
