import { expect } from 'chai';
import fc from 'fast-check';
import { fingerprint, stableJson } from './fingerprint.ts';

describe('fingerprint', () => {
  const shuffled = (value: unknown, turn: number): unknown => {
    if (Array.isArray(value)) return value.map((v) => shuffled(v, turn));
    if (typeof value !== 'object' || value === null) return value;
    const entries = Object.entries(value).map(([k, v]) => [k, shuffled(v, turn)] as const);
    return Object.fromEntries(turn % 2 ? entries.toReversed() : entries.toSorted(([a], [b]) => (a < b ? 1 : -1)));
  };

  it('property: is the same in whatever order keys stand, and the text is the value', () => {
    fc.assert(
      fc.property(fc.jsonValue(), fc.nat(3), (value, turn) => {
        expect(fingerprint(shuffled(value, turn))).to.equal(fingerprint(value));
        expect(JSON.parse(stableJson(value))).to.deep.equal(JSON.parse(JSON.stringify(value)));
      }),
      { seed: 3 },
    );
  });

  it('leaves out what is undefined, and tells different values apart', () => {
    expect(stableJson({ b: undefined, a: [undefined, {}], c: '' })).to.equal('{"a":[null,{}],"c":""}');
    expect(fingerprint({ a: ['1'] })).not.to.equal(fingerprint({ a: [1] }));
    expect(fingerprint({ a: '' })).not.to.equal(fingerprint({}));
  });
});
