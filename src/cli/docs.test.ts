import { globSync, readFileSync } from 'node:fs';
import { expect } from 'chai';
import type { Command } from 'commander';
import { buildProgram, type Io } from './index.ts';

const io: Io = { out: () => {}, err: () => {}, stdin: async () => '', color: false, now: () => 0 };

/** Lines of code blocks that call the command, without what a shell does around them. */
const calls = (file: string): string[] =>
  [...readFileSync(file, 'utf8').matchAll(/```[a-z]*\n([\s\S]*?)```/g)].flatMap(([, block = '']) =>
    block
      .replaceAll('\\\n', ' ')
      .split('\n')
      .flatMap((line) => /^\$?\s*(?:kubectl )?resultity (.*)$/.exec(line)?.[1] ?? [])
      .map((call) => call.replace(/\s(\||>|#|2>).*$/, '')),
  );

describe('commands in the documentation', () => {
  for (const file of ['README.md', ...globSync('docs/**/*.md')].sort()) {
    const found = calls(file);
    if (found.length === 0) continue;
    it(`${file}: exist, with every option they name`, () => {
      for (const call of found) {
        const words = call.split(/\s+/).filter(Boolean);
        let command: Command = buildProgram(io, '0.0.0');
        for (const word of words) {
          const next = command.commands.find((c) => c.name() === word);
          if (next === undefined) break;
          command = next;
        }
        expect(command.parent, `${call}: no such command`).to.not.equal(null);
        const known = command.options.flatMap((o) => [o.short, o.long]);
        for (const word of words)
          if (/^--?[a-z]/.test(word))
            expect(known, `${call}: ${command.name()} has no ${word}`).to.include(word.split('=')[0]);
        const wanted = command.registeredArguments.filter((a) => a.required).length;
        const given = words.length - words.lastIndexOf(command.name()) - 1;
        expect(given, `${call}: an argument is missing`).to.be.at.least(wanted);
      }
    });
  }
});
