import { expect } from 'chai';
import { cellsOf, missingTests, readDocument } from '../support/named-tests.ts';

describe('SECURITY.md', () => {
  const [, threats = ''] = readDocument('SECURITY.md').split(/^## Threats$/m);
  const rows = threats.split('\n').flatMap((line) => {
    const [threat = '', done = '', file = '', test = ''] = cellsOf(line) ?? [];
    return threat === '' || threat === 'threat' ? [] : [{ threat, done, file, test }];
  });

  it('names for each threat what is done, and a test that stands in its file', () => {
    expect(rows.length).to.be.above(30);
    expect(rows.filter((row) => row.done === '')).to.deep.equal([]);
    expect(missingTests(rows)).to.deep.equal([]);
  });
});
