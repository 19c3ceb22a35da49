import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import {
  canonical,
  type Domain,
  frameSigner,
  hash32,
  type Json,
  Key,
  modelDigestOf,
  parseJson,
  readAuth,
  readFrame,
  type Side,
  sessionId,
  signerOf,
  spoiled,
  structDigest,
  writeAuth,
  writeFrame,
} from '../conformance/kit/index.ts';

const read = (name: string): Record<string, never> =>
  parseJson(readFileSync(join(import.meta.dirname, '../vectors', `${name}.json`), 'utf8')) as never;
interface StructVector {
  readonly struct: string;
  readonly message: Json;
  readonly digest: string;
  readonly signature: string;
  readonly signer: string;
}
interface FrameVector {
  readonly direction: Side;
  readonly keys: { sid: string; node: string };
  readonly signer: string;
  readonly frame: string;
}

describe('the conformance kit, written from docs/protocol.md alone, against the golden vectors', () => {
  const structs = read('structs') as unknown as {
    keys: Record<string, string>;
    structs: StructVector[];
  } & Domain;
  const keyOf = (address: string): Key =>
    Object.values(structs.keys)
      .map((secret) => new Key(secret))
      .find((key) => key.address === address) as Key;

  for (const [n, vector] of structs.structs.entries())
    it(`reads and writes struct ${n + 1}, ${vector.struct}`, () => {
      expect(structDigest(structs, vector.struct, vector.message)).to.equal(vector.digest);
      expect(signerOf(structs, vector.struct, vector.message, vector.signature)).to.equal(vector.signer);
      expect(keyOf(vector.signer).sign(structs, vector.struct, vector.message)).to.equal(vector.signature);
      for (const [name, sig] of Object.entries(spoiled(vector.signature)))
        expect(signerOf(structs, vector.struct, vector.message, sig), name).not.to.equal(vector.signer);
    });

  const frames = read('frames') as unknown as {
    serverNonce: string;
    clientNonce: string;
    node: string;
    sid: string;
    frames: FrameVector[];
  } & Domain;
  it('makes the session of the frames', () => {
    expect(sessionId(frames.serverNonce, frames.clientNonce, frames.node)).to.equal(frames.sid);
  });
  for (const vector of frames.frames) {
    const frame = readFrame(vector.frame);
    it(`reads and writes ${vector.direction}/${frame.header.t}`, () => {
      const keys = { domain: frames, side: vector.direction, ...vector.keys };
      expect(frameSigner(keys, frame)).to.equal(vector.signer);
      const { t, seq, ts } = frame.header;
      expect(writeFrame(keyOf(vector.signer), keys, t, seq, ts, frame.payload)).to.equal(vector.frame);
    });
  }

  it('reads and writes the signed call', () => {
    const calls = read('calls') as unknown as { request: never; header: string; signer: string } & Domain;
    const auth = readAuth(calls, calls.header, calls.request);
    expect(auth.node).to.equal(calls.signer);
    const facts = Object.assign({}, calls.request as object, auth) as never;
    expect(writeAuth(keyOf(calls.signer), calls, facts)).to.equal(calls.header);
  });

  it('makes the digests and the canonical text', () => {
    const digests = read('digests') as unknown as {
      model: { files: never; digest: string };
      canonical: { value: unknown; text: string }[];
    };
    expect(modelDigestOf(digests.model.files)).to.equal(digests.model.digest);
    for (const { value, text } of digests.canonical) expect(canonical(value)).to.equal(text);
    expect(hash32('')).to.equal('0xe3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855');
  });

  it('refuses the JSON that the protocol refuses', () => {
    for (const text of [
      '{"a":1,"a":2}',
      '"\\ud800"',
      `${'['.repeat(33)}${']'.repeat(33)}`,
      '9007199254740992',
      '\ufeff{}',
      '[1] x',
      '{a:1}',
      '\u00a0{}',
    ])
      expect(() => parseJson(text), text).to.throw();
    expect(parseJson(`${'['.repeat(32)}${']'.repeat(32)}`)).to.be.an('array');
  });
});
