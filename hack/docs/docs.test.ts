/**
 * Every command of the documentation is run by a test that it names, marked as needing what is not here, or put through
 * the parser of the program that it calls. A command of which none of it holds fails.
 */
import { existsSync, globSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { expect } from 'chai';
import { repoRoot } from '../lib/index.ts';
import { problemOf } from './checks.ts';
import { commandsOf, type DocCommand } from './commands.ts';

const PAGES = ['README.md', 'CONTRIBUTING.md', 'SECURITY.md', ...globSync('docs/**/*.md', { cwd: repoRoot })];
const NEEDS = /^(GPU cloud|a cluster of your own|a registry|a release|a wallet)\b/;

/** It names the page: it runs what stands there, or writes the page out of what it ran. */
const runsPage = (file: string, page: string): boolean =>
  existsSync(join(repoRoot, file)) && readFileSync(join(repoRoot, file), 'utf8').includes(page);

const problem = (command: DocCommand): string | undefined => {
  const { words, mark, inline } = command;
  if (mark?.kind === 'run by' && runsPage(mark.file, command.page)) return undefined;
  const said = problemOf(words, inline);
  if (said) return said;
  if (mark?.kind === 'needs') return NEEDS.test(mark.what) ? undefined : `"needs: ${mark.what}" says nothing known`;
  if (mark?.kind === 'run by') {
    if (!existsSync(join(repoRoot, mark.file))) return `there is no ${mark.file}`;
    const test = readFileSync(join(repoRoot, mark.file), 'utf8');
    const missing = essential(words, said === null).find((word) => !test.includes(word));
    return missing === undefined ? undefined : `${mark.file} does not run it: it has no "${missing}"`;
  }
  return said === null && !inline ? 'no parser here knows it: name a test (run by) or say what it needs' : undefined;
};

/** The words by which a command is recognised; where a parser takes it, the first behind the program is enough. */
const essential = (words: readonly string[], unparsed: boolean): string[] =>
  words
    .slice(unparsed ? 0 : 1)
    .filter((word, i, all) => /^[a-z][a-z-]+$/.test(word) && !all[i - 1]?.startsWith('-'))
    .slice(0, unparsed ? 3 : 1);

const LINKS = /\]\(([^)#\s:]+)(?:#[^)]*)?\)/g;

describe('links in the documentation', () => {
  for (const page of PAGES.sort())
    it(`${page}: lead to files that are there`, () => {
      const text = readFileSync(join(repoRoot, page), 'utf8').replace(/```[\s\S]*?```|`[^`]*`/g, '');
      const dead = [...text.matchAll(LINKS)].filter(([, to = '']) => !existsSync(join(repoRoot, dirname(page), to)));
      expect(dead.map(([, to]) => to)).to.deep.equal([]);
    });
});

describe('commands in the documentation', () => {
  for (const page of PAGES.sort())
    it(`${page}: run by a test, marked, or right as far as its parser tells`, () => {
      const wrong = commandsOf(page, readFileSync(join(repoRoot, page), 'utf8')).flatMap((c) => {
        const why = problem(c);
        return why === undefined ? [] : [`${c.page}:${c.line}: ${c.words.join(' ')}\n    ${why}`];
      });
      expect(wrong.join('\n')).to.equal('');
    });
});

describe('the check of commands in the documentation', () => {
  const judged = (text: string): (string | undefined)[] => commandsOf('x.md', text).map(problem);
  const block = (text: string, mark = ''): string => `${mark}\n\`\`\`\n${text}\n\`\`\`\n`;

  it('finds a word, an option, a value or a resource that is not there', () => {
    const wrong = [
      'kubectl resultity explode x',
      'kubectl resultity drain x --softly',
      'kubectl resultity why-not',
      'resultity-network publish --everything',
      'npm run dance',
      'npm run demo -- --runtime sim --faster',
      'helm install r charts/resultity-operator --set operator.replica=1',
      'kubectl get resultitynods',
      'kubectl annotate rnode x resultity.com/holt=true',
      'kubectl wait rnode/x --for=condition=Redy',
      'kubectl apply -f hack/examples/none.yaml',
    ];
    for (const line of wrong) expect(judged(block(line))[0], line).to.be.a('string');
  });

  it('takes what is right, behind pipes and prompts too', () => {
    expect(
      judged(block('$ kubectl get rnode,pod -A | grep x\noutput', '<!-- needs: a cluster of your own -->')),
    ).to.deep.equal([undefined, undefined]);
    expect(judged(block('KUBECONFIG=x kubectl resultity status -o wide > file'))).to.deep.equal([undefined]);
  });

  it('wants a test or a need for what no parser knows, and the test to be one', () => {
    const unknown = 'curl https://example.com';
    expect(judged(block(unknown))[0]).to.contain('no parser here knows it');
    expect(judged(block(unknown, '<!-- needs: a cluster of your own -->'))).to.deep.equal([undefined]);
    expect(judged(block(unknown, '<!-- needs: luck -->'))[0]).to.contain('says nothing known');
    expect(judged(block(unknown, '<!-- run by: test/none.ts -->'))[0]).to.contain('there is no');
    expect(judged(block(unknown, '<!-- run by: package.json -->'))[0]).to.contain('does not run it');
    expect(() => judged(block('frobnicate now'))).to.throw('say ```text');
  });
});
