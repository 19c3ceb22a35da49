import { expect } from 'chai';
import { readVectors } from '../../test/support/vectors.ts';
import { Secret } from '../lib/secret.ts';
import { domainOf } from './eip712.ts';
import {
  BEFORE_HELLO,
  type Direction,
  FrameError,
  FrameReader,
  FrameWriter,
  parseFrame,
  parsePayload,
  type SessionKeys,
  sessionId,
} from './frame.ts';
import * as messages from './messages.ts';
import { createSigner } from './signature.ts';
import type { Address, Hex32 } from './values.ts';

const LIMIT = 1 << 20;
const vectors = readVectors<{
  network: string;
  chainId: number;
  serverNonce: Hex32;
  clientNonce: Hex32;
  node: Address;
  sid: Hex32;
  frames: { direction: Direction; keys: SessionKeys; signer: Address; frame: string }[];
}>('frames');
const keys = readVectors<{ keys: { node: string; online: string } }>('structs').keys;
const domain = domainOf(vectors.network, vectors.chainId);
const SCHEMAS: Record<string, Parameters<typeof parsePayload>[0]> = {
  challenge: messages.zChallenge,
  hello: messages.zHello,
  welcome: messages.zWelcome,
  heartbeat: messages.zHeartbeat,
  'job.offer': messages.zJobOffer,
  'job.accept': messages.zJobAccept,
  'job.reject': messages.zJobReject,
  'job.progress': messages.zJobProgressMessage,
  'job.delta': messages.zJobDelta,
  'job.result': messages.zJobResult,
  'job.receipt': messages.zJobReceipt,
  'job.lost': messages.zJobLost,
  'job.cancel': messages.zJobCancel,
  'config.notice': messages.zConfigNotice,
  'config.ack': messages.zConfigAck,
  control: messages.zControl,
  error: messages.zErrorMessage,
  bye: messages.zBye,
};
const closeCode = (act: () => unknown): number | undefined => {
  try {
    act();
    return undefined;
  } catch (error) {
    if (error instanceof FrameError) return error.closeCode;
    throw error;
  }
};

describe('frames', () => {
  it('derive sid from both nonces and the node', () => {
    expect(sessionId(vectors.serverNonce, vectors.clientNonce, vectors.node)).to.equal(vectors.sid);
  });
  it('have a vector for every message type', () => {
    const types = vectors.frames.map((f) => parseFrame(f.frame, LIMIT).t);
    expect([...types].sort()).to.deep.equal(Object.keys(SCHEMAS).sort());
  });
  it('read the vectors of one session in sequence, signature and schema', () => {
    const readers = { net: new FrameReader('net', domain), node: new FrameReader('node', domain) };
    for (const v of vectors.frames) {
      const frame = parseFrame(v.frame, LIMIT);
      readers[v.direction].verify(frame, v.signer, v.keys);
      expect(parsePayload(SCHEMAS[frame.t]!, frame)).to.be.an('object');
    }
  });
  it('write the vectors byte for byte', () => {
    const writers = {
      net: new FrameWriter('net', domain, createSigner(new Secret(keys.online))),
      node: new FrameWriter('node', domain, createSigner(new Secret(keys.node))),
    };
    for (const v of vectors.frames) {
      const { t, ts, payload } = parseFrame(v.frame, LIMIT);
      writers[v.direction].rekey(v.keys);
      expect(writers[v.direction].write(t, payload, ts)).to.equal(v.frame);
    }
  });

  const signer = createSigner(new Secret(keys.node));
  const session: SessionKeys = { sid: vectors.sid, node: vectors.node };
  const fresh = (): { writer: FrameWriter; reader: FrameReader } => ({
    writer: new FrameWriter('node', domain, signer, session),
    reader: new FrameReader('node', domain, session),
  });
  it('close 4010 on a repeated, skipped or reordered sequence', () => {
    const { writer, reader } = fresh();
    const [one, two, three] = [1, 2, 3].map((n) => parseFrame(writer.write('bye', `{"n":${n}}`, 1), LIMIT));
    expect(closeCode(() => reader.verify(two!, signer.address))).to.equal(4010);
    reader.verify(one!, signer.address);
    expect(closeCode(() => reader.verify(one!, signer.address))).to.equal(4010);
    expect(closeCode(() => reader.verify(three!, signer.address))).to.equal(4010);
    reader.verify(two!, signer.address);
  });
  it('close 4401 on a frame altered, reflected, replayed elsewhere or signed by another; the sequence does not advance', () => {
    const { writer, reader } = fresh();
    const good = writer.write('job.accept', '{"jobId":"a","attempt":1}', 7);
    const parsed = parseFrame(good, LIMIT);
    const wrong = [
      () => reader.verify({ ...parsed, payload: '{"jobId":"b","attempt":1}' }, signer.address),
      () => reader.verify({ ...parsed, ts: 8 }, signer.address),
      () => reader.verify({ ...parsed, t: 'job.lost' }, signer.address),
      () => reader.verify({ ...parsed, sig: undefined }, signer.address),
      () => reader.verify(parseFrame(good.replace(/,"sig":"0x[0-9a-f]+"/, ''), LIMIT), signer.address),
      () => reader.verify(parsed, createSigner(new Secret(keys.online)).address),
      () => reader.verify(parsed, signer.address, BEFORE_HELLO),
      () => new FrameReader('net', domain, session).verify(parsed, signer.address),
      () => new FrameReader('node', domainOf('other', vectors.chainId), session).verify(parsed, signer.address),
    ];
    for (const act of wrong) expect(closeCode(act)).to.equal(4401);
    reader.verify(parsed, signer.address);
  });
  it('close 4400 on a header or payload that breaks the form, 4413 above the limit', () => {
    const forms: [string, number][] = [
      ['{"v":1,"t":"bye","seq":1,"ts":1,"sig":"0x"}', 4400],
      ['{"v":2,"t":"bye","seq":1,"ts":1,"sig":"0x"}\n{}', 4400],
      ['{"v":1,"t":"bye","seq":1.0,"ts":1,"sig":"0x"}\n{}', 4400],
      ['{"v":1,"t":"bye","seq":1,"seq":1,"ts":1,"sig":"0x"}\n{}', 4400],
      [`{"v":1,"t":"bye","seq":1,"ts":1,"sig":"0x","x":"${'x'.repeat(4096)}"}\n{}`, 4400],
      ['{"v":1,"t":"bye","seq":1,"ts":1,"sig":"0x"}\n{}\n', 4400],
      [`{}\n${'x'.repeat(LIMIT)}`, 4413],
    ];
    for (const [text, code] of forms)
      expect(
        closeCode(() => parseFrame(text, LIMIT)),
        text.slice(0, 60),
      ).to.equal(code);
    for (const payload of [
      '',
      '[]',
      '{"reason":"other"}',
      '{"reason":"drained","retryAfterMs":1e3}',
      '{"reason":"drained"',
    ])
      expect(
        closeCode(() => parsePayload(messages.zBye, { t: 'bye', payload })),
        payload,
      ).to.equal(4400);
  });
  it('drop unknown fields of a payload', () => {
    expect(parsePayload(messages.zBye, { t: 'bye', payload: '{"reason":"drained","extra":1}' })).to.deep.equal({
      reason: 'drained',
    });
  });
});
