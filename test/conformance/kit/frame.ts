import { hash32, isInteger, isObject, type Json } from './bytes.ts';
import { parseJson } from './json.ts';
import { type Domain, type Key, signerOf } from './sign.ts';

export type Side = 'node' | 'net';

/** What a frame's signature covers beside its own header and payload. */
export interface FrameKeys {
  readonly domain: Domain;
  readonly side: Side;
  readonly node: string;
  readonly sid: string;
}
export interface Header {
  readonly v: number;
  readonly t: string;
  readonly seq: number;
  readonly ts: number;
  readonly sig: unknown;
}
export interface Frame {
  readonly header: Header;
  /** The payload's text: what was hashed. */
  readonly payload: string;
  readonly body: Json;
  readonly text: string;
}

/** Job and attempt that a frame is about. */
export const keyOf = ({ body }: Frame): Json => ({ jobId: body.jobId, attempt: body.attempt });

const message = (keys: FrameKeys, header: Omit<Header, 'sig' | 'v'>, payload: string): Json => ({
  type: `${keys.side}/${header.t}`,
  node: keys.node,
  sid: keys.sid,
  seq: header.seq,
  ts: header.ts,
  bodyHash: hash32(payload),
});

/** One text message: header JSON, LF, payload. */
export const writeFrame = (key: Key, keys: FrameKeys, t: string, seq: number, ts: number, payload: string): string => {
  const sig = key.sign(keys.domain, 'Frame', message(keys, { t, seq, ts }, payload));
  return `${JSON.stringify({ v: 1, t, seq, ts, sig })}\n${payload}`;
};

/** Takes a message apart; throws with what is wrong with its form. Whose signature it is says frameSigner. */
export const readFrame = (text: string): Frame => {
  const cut = text.indexOf('\n');
  if (cut < 0) throw new Error('a frame without LF');
  if (Buffer.byteLength(text.slice(0, cut)) > 4096) throw new Error('a header above 4 KiB');
  const header = parseJson(text.slice(0, cut));
  if (!isObject(header) || header.v !== 1) throw new Error('a header that is no object of v 1');
  if (typeof header.t !== 'string' || !/^[a-z][a-z0-9._-]{0,63}$/.test(header.t)) throw new Error('a header without t');
  if (!isInteger(header.seq) || !isInteger(header.ts)) throw new Error('a header without seq or ts');
  const payload = text.slice(cut + 1);
  if (payload.includes('\n')) throw new Error('a payload with an LF');
  const body = payload === '' ? {} : parseJson(payload);
  if (!isObject(body)) throw new Error('a payload that is no object');
  return { header: header as unknown as Header, payload, body, text };
};

export const frameSigner = (keys: FrameKeys, frame: Frame): string | undefined =>
  signerOf(keys.domain, 'Frame', message(keys, frame.header, frame.payload), frame.header.sig);
