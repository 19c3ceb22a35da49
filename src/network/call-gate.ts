import { createHmac, timingSafeEqual } from 'node:crypto';
import type { Clock } from '../lib/clock.ts';
import {
  type Address,
  CLOCK_TOLERANCE_MS,
  type Domain,
  type Hex32,
  parseAuth,
  type RequestAuth,
  verifyCall,
} from '../protocol/index.ts';
import { HttpFailure } from './errors.ts';
import type { Random } from './random.ts';

const SERVER_NONCE_MS = 60_000;
const NONCE_KEPT_MS = 180_000;

/** A signed call as it arrived. */
export interface ArrivedCall {
  readonly method: string;
  /** The raw request target. */
  readonly path: string;
  readonly body: Uint8Array;
  readonly header: string | undefined;
}

/**
 * The checks of every signed HTTP call, in the document's order: form, signature, clock, registered, nonce (§2). Nonces
 * live in memory: after a restart every call dated before the start is refused instead.
 */
export class CallGate {
  readonly #domain: Domain;
  readonly #authorities: readonly string[];
  readonly #clock: Clock;
  readonly #secret: Uint8Array;
  readonly #startedAt: number;
  readonly #seen = new Map<Address, Map<string, number>>();
  #sweptAt = 0;

  constructor(domain: Domain, authorities: readonly string[], clock: Clock, random: Random) {
    this.#domain = domain;
    this.#authorities = authorities;
    this.#clock = clock;
    this.#secret = random.bytes(32);
    this.#startedAt = clock.now();
  }

  /**
   * @param registered throws what the node's registration stands against; it runs between clock and nonce
   * @returns the node that signed @throws HttpFailure
   */
  admit(call: ArrivedCall, registered: (node: Address) => void): Address {
    const auth = parseAuth(call.header);
    if (!auth) throw new HttpFailure('bad_signature', 'the header resultity-auth is missing or malformed');
    const { method, path, body } = call;
    if (!this.#authorities.some((authority) => verifyCall(this.#domain, { method, authority, path, body }, auth)))
      throw new HttpFailure('bad_signature', 'the signature is not of this node over this call to this host');
    this.#checkClock(auth);
    registered(auth.node);
    this.#takeNonce(auth);
    return auth.node;
  }

  #checkClock(auth: RequestAuth): void {
    if (this.#isServerNonce(auth)) return;
    const now = this.#clock.now();
    if (Math.abs(now - auth.ts) <= CLOCK_TOLERANCE_MS && auth.ts >= this.#startedAt) return;
    throw new HttpFailure('bad_clock', 'the call’s time is too far from ours; call again with serverNonce as nonce', {
      serverTime: now,
      serverNonce: this.#serverNonce(auth.node),
    });
  }

  /** 8 bytes of monotonic time and 24 of an HMAC over node and time: bound to the node, made without storage. */
  #serverNonce(node: Address, at = Math.floor(this.#clock.monotonic())): Hex32 {
    const time = Buffer.alloc(8);
    time.writeBigUInt64BE(BigInt(at));
    const mac = createHmac('sha256', this.#secret).update(node).update(time).digest().subarray(0, 24);
    return `0x${Buffer.concat([time, mac]).toString('hex')}`;
  }
  #isServerNonce(auth: RequestAuth): boolean {
    const at = Number(BigInt(auth.nonce.slice(0, 18)));
    const age = this.#clock.monotonic() - at;
    if (age < 0 || age > SERVER_NONCE_MS) return false;
    return timingSafeEqual(Buffer.from(this.#serverNonce(auth.node, at)), Buffer.from(auth.nonce));
  }

  #takeNonce(auth: RequestAuth): void {
    const now = this.#clock.monotonic();
    this.#sweep(now);
    const known = this.#seen.get(auth.node) ?? new Map<string, number>();
    if (known.has(auth.nonce)) throw new HttpFailure('replayed', 'this nonce was used before');
    known.set(auth.nonce, now + NONCE_KEPT_MS);
    this.#seen.set(auth.node, known);
  }
  #sweep(now: number): void {
    if (now - this.#sweptAt < 30_000) return;
    this.#sweptAt = now;
    for (const [node, nonces] of this.#seen) {
      for (const [nonce, until] of nonces) if (until <= now) nonces.delete(nonce);
      if (nonces.size === 0) this.#seen.delete(node);
    }
  }
}
