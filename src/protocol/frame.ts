import { hash } from 'node:crypto';
import { z } from 'zod';
import { CodedError } from '../lib/errors.ts';
import { CLOSE, type CloseCode } from './codes.ts';
import type { Domain } from './eip712.ts';
import { isSignatureForm, type Signer, signStruct, verifyStruct } from './signature.ts';
import { parseStrictJson } from './strict-json.ts';
import { type Address, type Hex32, ZERO_32, ZERO_ADDRESS, zUint } from './values.ts';

/** Who speaks: `node/<t>` and `net/<t>` are what is signed, so a frame cannot be reflected. */
export type Direction = 'node' | 'net';

const MAX_HEADER_BYTES = 4096;

/** A frame that breaks the protocol; `closeCode` is what the receiver closes the socket with (§6). */
export class FrameError extends CodedError<'bad_frame'> {
  readonly closeCode: CloseCode;
  constructor(closeCode: CloseCode, message: string) {
    super('bad_frame', message);
    this.name = 'FrameError';
    this.closeCode = closeCode;
  }
}

const zHeader = z.object({
  v: z.literal(1),
  t: z.string().regex(/^[a-z][a-z0-9._-]{0,63}$/),
  seq: zUint,
  ts: zUint,
  // judged apart: a wrong signature form is an authentication failure, not a schema error
  sig: z.unknown().optional(),
});

/** What stands behind a session's signatures; both ends hold the same. */
export interface SessionKeys {
  readonly sid: Hex32;
  readonly node: Address;
}
export const BEFORE_HELLO: SessionKeys = { sid: ZERO_32, node: ZERO_ADDRESS };

/** sid = sha256(serverNonce ‖ clientNonce ‖ node), §3. */
export const sessionId = (serverNonce: Hex32, clientNonce: Hex32, node: Address): Hex32 =>
  `0x${hash('sha256', Buffer.from(serverNonce.slice(2) + clientNonce.slice(2) + node.slice(2), 'hex'), 'hex')}`;

const bodyHash = (payload: string | Uint8Array): Hex32 => `0x${hash('sha256', payload, 'hex')}`;

/**
 * One direction's sending end: numbers and signs each frame. `payload` is the exact text that is hashed and sent.
 * A session's keys change once, when hello is sent or verified; the sequence goes on.
 */
export class FrameWriter {
  readonly #direction: Direction;
  readonly #domain: Domain;
  readonly #signer: Signer;
  #keys: SessionKeys;
  #seq = 0;

  constructor(direction: Direction, domain: Domain, signer: Signer, keys: SessionKeys = BEFORE_HELLO) {
    this.#direction = direction;
    this.#domain = domain;
    this.#signer = signer;
    this.#keys = keys;
  }
  rekey(keys: SessionKeys): void {
    this.#keys = keys;
  }
  /** @param ts milliseconds since the epoch, of the sender's clock */
  write(t: string, payload: string, ts: number): string {
    const seq = ++this.#seq;
    const sig = signStruct(this.#signer, this.#domain, 'Frame', {
      type: `${this.#direction}/${t}`,
      node: this.#keys.node,
      sid: this.#keys.sid,
      seq,
      ts,
      bodyHash: bodyHash(payload),
    });
    return `${JSON.stringify({ v: 1, t, seq, ts, sig })}\n${payload}`;
  }
}

/** A frame whose form held: nothing in it is to be believed before `FrameReader.verify`. */
export interface ParsedFrame {
  readonly t: string;
  readonly seq: number;
  readonly ts: number;
  readonly sig: unknown;
  readonly payload: string;
}

/** Splits a message at its first LF and checks the header's form. @throws FrameError 4400 or 4413 */
export const parseFrame = (message: string, frameBytes: number): ParsedFrame => {
  if (Buffer.byteLength(message) > frameBytes) throw new FrameError(CLOSE.tooLarge, `frame above ${frameBytes} bytes`);
  const at = message.indexOf('\n');
  if (at < 0) throw new FrameError(CLOSE.badFrame, 'frame has no LF after its header');
  const head = message.slice(0, at);
  if (Buffer.byteLength(head) > MAX_HEADER_BYTES) throw new FrameError(CLOSE.badFrame, 'header above 4 KiB');
  const payload = message.slice(at + 1);
  if (payload.includes('\n')) throw new FrameError(CLOSE.badFrame, 'payload has an LF');
  let raw: unknown;
  try {
    raw = parseStrictJson(head);
  } catch (error) {
    throw new FrameError(CLOSE.badFrame, `header: ${(error as Error).message}`);
  }
  const header = zHeader.safeParse(raw);
  if (!header.success) throw new FrameError(CLOSE.badFrame, 'header does not match its schema');
  const { t, seq, ts, sig } = header.data;
  return { t, seq, ts, sig, payload };
};

/** One direction's receiving end: sequence, then signature; the sequence advances only after the signature held (§3). */
export class FrameReader {
  readonly #direction: Direction;
  readonly #domain: Domain;
  #keys: SessionKeys;
  #seq = 0;

  constructor(direction: Direction, domain: Domain, keys: SessionKeys = BEFORE_HELLO) {
    this.#direction = direction;
    this.#domain = domain;
    this.#keys = keys;
  }
  get keys(): SessionKeys {
    return this.#keys;
  }
  rekey(keys: SessionKeys): void {
    this.#keys = keys;
  }
  /** @throws FrameError 4010 on a sequence gap or repetition, 4401 on a wrong signature */
  verify(frame: ParsedFrame, signer: Address, keys: SessionKeys = this.#keys): void {
    if (frame.seq !== this.#seq + 1) throw new FrameError(CLOSE.sequence, `seq ${frame.seq} after ${this.#seq}`);
    const sig = frame.sig;
    const held =
      typeof sig === 'string' &&
      isSignatureForm(sig) &&
      verifyStruct(
        this.#domain,
        'Frame',
        {
          type: `${this.#direction}/${frame.t}`,
          node: keys.node,
          sid: keys.sid,
          seq: frame.seq,
          ts: frame.ts,
          bodyHash: bodyHash(frame.payload),
        },
        sig,
        signer,
      );
    if (!held) throw new FrameError(CLOSE.auth, `frame ${frame.t} is not signed by ${signer}`);
    this.#seq = frame.seq;
  }
}

/** Parses a payload against its schema. @throws FrameError 4400 */
export const parsePayload = <T>(schema: z.ZodType<T>, frame: Pick<ParsedFrame, 't' | 'payload'>): T => {
  let raw: unknown;
  try {
    raw = parseStrictJson(frame.payload);
  } catch (error) {
    throw new FrameError(CLOSE.badFrame, `${frame.t}: ${(error as Error).message}`);
  }
  const parsed = schema.safeParse(raw);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  throw new FrameError(CLOSE.badFrame, `${frame.t}: ${issue?.path.join('.') ?? ''} ${issue?.message ?? 'is wrong'}`);
};
