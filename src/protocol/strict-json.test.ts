import { expect } from 'chai';
import fc from 'fast-check';
import { readVectors } from '../../test/support/vectors.ts';
import { canonicalJson } from './canonical.ts';
import { JsonError, parseStrictJson } from './strict-json.ts';
import { zUint } from './values.ts';

/** Any JSON whose integers lie within ±(2^53 − 1), as the protocol demands. */
const anyJson = fc
  .jsonValue({ maxDepth: 4 })
  .map((value) =>
    JSON.parse(JSON.stringify(value), (_key, v: unknown) =>
      typeof v === 'number' && Number.isInteger(v) && !Number.isSafeInteger(v) ? 7 : v,
    ),
  );

describe('strict JSON', () => {
  it('reads what JSON.parse reads', () => {
    fc.assert(
      fc.property(anyJson, (value) => {
        const text = JSON.stringify(value);
        expect(JSON.stringify(parseStrictJson(text))).to.equal(JSON.stringify(JSON.parse(text)));
      }),
    );
  });
  const refused: Record<string, string | Uint8Array> = {
    'a duplicate key': '{"a":1,"a":2}',
    'a duplicate key by escape': '{"a":1,"\\u0061":2}',
    'a lone surrogate': '"\\ud800"',
    'a BOM': '\ufeff{}',
    'BOM bytes': new Uint8Array([0xef, 0xbb, 0xbf, 0x7b, 0x7d]),
    'bytes that are not UTF-8': new Uint8Array([0x22, 0xff, 0x22]),
    'an integer beyond 2^53 - 1': '9007199254740992',
    'depth 33': `${'['.repeat(33)}${']'.repeat(33)}`,
    'text after the value': '{} {}',
    'a trailing comma': '[1,]',
    'a control character': '"\u0001"',
    'a leading zero': '01',
    'a bare word': 'nul',
    nothing: '',
    'an infinite number': '1e999',
  };
  for (const [name, text] of Object.entries(refused))
    it(`refuses ${name}`, () => {
      expect(() => parseStrictJson(text)).to.throw(JsonError);
    });
  it('accepts depth 32 and 2^53 - 1', () => {
    parseStrictJson(`${'['.repeat(32)}${']'.repeat(32)}`);
    expect(parseStrictJson('9007199254740991')).to.equal(Number.MAX_SAFE_INTEGER);
  });
  it('lets no integer with fraction, exponent or minus zero pass an integer schema, yet keeps it in free-form parts', () => {
    for (const text of ['1.0', '1e3', '-0', '0.5', '-1'])
      expect(zUint.safeParse(parseStrictJson(text)).success, text).to.equal(false);
    expect(JSON.stringify(parseStrictJson('{"temperature":1.0,"top_p":0.5}'))).to.equal(
      '{"temperature":1,"top_p":0.5}',
    );
  });
  it('keeps a key named __proto__ as data', () => {
    const value = parseStrictJson('{"__proto__":{"admin":true}}') as Record<string, unknown>;
    expect(Object.keys(value)).to.deep.equal(['__proto__']);
    expect((value as { admin?: unknown }).admin).to.equal(undefined);
  });
});

describe('RFC 8785', () => {
  for (const { value, text } of readVectors<{ canonical: { value: unknown; text: string }[] }>('digests').canonical)
    it('writes the vector byte for byte', () => {
      expect(canonicalJson(value)).to.equal(text);
    });
  it('is stable: canonical of a parsed canonical text is the text', () => {
    fc.assert(
      fc.property(anyJson, (value) => {
        const text = canonicalJson(value);
        expect(canonicalJson(parseStrictJson(text))).to.equal(text);
      }),
    );
  });
  it('refuses what JSON cannot say', () => {
    for (const bad of [Number.NaN, Number.POSITIVE_INFINITY, '\ud800', () => 1])
      expect(() => canonicalJson(bad)).to.throw();
  });
});
