import { expect } from 'chai';
import { cellsOf, missingTests, readDocument } from '../support/named-tests.ts';

interface Row {
  readonly heading: string;
  readonly requirement: string;
  readonly file: string;
  readonly test: string;
}

/** Headings of the second and third level, in order; code blocks are none. */
const headings = (text: string): string[] => {
  let fenced = false;
  return text.split('\n').filter((line) => {
    if (line.startsWith('```')) fenced = !fenced;
    return !fenced && /^###? /.test(line);
  });
};

const rows = (text: string): Row[] => {
  const found: Row[] = [];
  let heading = '';
  for (const line of text.split('\n')) {
    if (/^###? /.test(line)) heading = line;
    const [requirement = '', file = '', test = ''] = cellsOf(line) ?? [];
    if (file === '' || requirement === 'requirement') continue;
    found.push({ heading, requirement, file, test });
  }
  return found;
};

describe('docs/conformance-tests.md', () => {
  const list = readDocument('docs/conformance-tests.md');
  const all = rows(list);

  it('goes through docs/protocol.md heading by heading', () => {
    expect(headings(list)).to.deep.equal(headings(readDocument('docs/protocol.md')));
    const parts = list.split(/^(?=###? )/m).slice(1);
    expect(parts.filter((part) => rows(part).length === 0).map((part) => part.split('\n')[0])).to.deep.equal([]);
  });

  it('names tests, cases and rows of tables that stand in their files', () => {
    expect(all.length).to.be.above(250);
    expect(missingTests(all)).to.deep.equal([]);
  });
});
