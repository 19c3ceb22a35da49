import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';

const ROOT = join(import.meta.dirname, '../..');
const read = (path: string): string => readFileSync(join(ROOT, path), 'utf8');
const CELLS = /(?<!\\)\|/;

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
    if (!line.startsWith('|') || line.startsWith('|---') || line.startsWith('| requirement |')) continue;
    const [, requirement = '', file = '', test = ''] = line.split(CELLS).map((c) => c.trim().replaceAll('\\|', '|'));
    found.push({ heading, requirement, file, test });
  }
  return found;
};

describe('docs/conformance-tests.md', () => {
  const list = read('docs/conformance-tests.md');
  const all = rows(list);

  it('goes through docs/protocol.md heading by heading', () => {
    expect(headings(list)).to.deep.equal(headings(read('docs/protocol.md')));
    const parts = list.split(/^(?=###? )/m).slice(1);
    expect(parts.filter((part) => rows(part).length === 0).map((part) => part.split('\n')[0])).to.deep.equal([]);
  });

  it('names tests, cases and rows of tables that stand in their files', () => {
    expect(all.length).to.be.above(250);
    const missing = all.filter(({ file, test }) => {
      // a title is quoted in the source: in a template, an escape or another kind of quote it stands as it is written there
      return !existsSync(join(ROOT, file)) || !["'", '`', '"'].some((q) => read(file).includes(q + test + q));
    });
    expect(missing).to.deep.equal([]);
  });
});
