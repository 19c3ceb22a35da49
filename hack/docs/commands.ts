/**
 * The commands that the documentation shows: every fenced block without a language (or with `sh`), and inline code that
 * begins with one of our programs.
 */

/** What a page says of a block of commands, in a comment above it. */
type Mark = { readonly kind: 'run by'; readonly file: string } | { readonly kind: 'needs'; readonly what: string };

/** One simple command, without redirections and the environment set for it. */
export interface DocCommand {
  readonly page: string;
  readonly line: number;
  readonly words: readonly string[];
  readonly mark: Mark | undefined;
  /** In running text: placeholders may stand for whole arguments there, and arguments may be left out. */
  readonly inline: boolean;
}

/** First words that make a block one of commands. */
const PROGRAMS =
  /^(kubectl|helm|npm|bash|node|docker|cosign|cast|curl|git|resultity|resultity-network|install|source|printf|chmod|export|openssl|sqlite3|tar|grep|stat|sed|ls|umask|gcloud|eksctl)$/;
const OURS = /^(kubectl|helm|npm|bash hack\/run|node hack\/|resultity|resultity-network)\s\S/;

const MARK = /^<!-- (run by|needs): (.+?) -->$/;

/** Splits at spaces, pipes and separators outside quotes; a comment ends the line. */
export const simpleCommands = (line: string): string[][] => {
  const commands: string[][] = [[]];
  const token =
    /\s+|(#.*$)|(\|\||&&|\||;|&(?!>))|((?:'[^']*'|"(?:\\.|[^"\\])*"|\$\([^)]*\)|<\([^)]*\)|\\.|[^\s|;&])+)/g;
  for (const [, comment, separator, word] of line.matchAll(token)) {
    if (comment !== undefined) break;
    if (separator !== undefined) commands.push([]);
    else if (word !== undefined) commands.at(-1)?.push(word.replace(/^(['"])(.*)\1$/s, '$2'));
  }
  return commands.map(withoutPlumbing).filter((words) => words.length > 0);
};

const withoutPlumbing = (words: readonly string[]): string[] => {
  const kept: string[] = [];
  for (let i = 0; i < words.length; i++) {
    const word = words[i] ?? '';
    if (/^\d?(>>?|<)$/.test(word)) i++;
    else if (!/^\d?[<>]/.test(word) && !(kept.length === 0 && /^[A-Z_]+=/.test(word))) kept.push(word);
  }
  return kept;
};

/** @throws Error for a block that is neither commands nor marked as something else */
export const commandsOf = (page: string, text: string): DocCommand[] => {
  const found: DocCommand[] = [];
  const lines = text.split('\n');
  let mark: Mark | undefined;
  for (let i = 0; i < lines.length; i++) {
    const line = lines[i] ?? '';
    const said = MARK.exec(line.trim());
    const fence = /^\s*```\s*(\S*)\s*$/.exec(line);
    if (said) {
      const [, kind = '', what = ''] = said;
      mark = kind === 'needs' ? { kind: 'needs', what } : { kind: 'run by', file: what };
    } else if (fence) {
      const end = lines.findIndex((l, at) => at > i && /^\s*```\s*$/.test(l));
      const block = lines.slice(i + 1, end);
      if (['', 'sh', 'bash', 'console'].includes(fence[1] ?? ''))
        for (const { at, words } of inBlock(page, i + 2, block))
          found.push({ page, line: at, words, mark, inline: false });
      i = end;
      mark = undefined;
    } else {
      if (line.trim() !== '') mark = undefined;
      for (const [, code = ''] of line.matchAll(/`([^`]+)`/g))
        if (OURS.test(code))
          for (const words of simpleCommands(code.replaceAll('\\|', '|')).slice(0, 1))
            found.push({ page, line: i + 1, words, mark: undefined, inline: true });
    }
  }
  return found;
};

/** The first word of a line, behind the environment that is set for it. */
const programOf = (line: string): string | undefined => /^(?:[A-Z_]+=\S* )*([a-z][a-z0-9_.-]*)(?=\s|$)/.exec(line)?.[1];

/** Commands stand behind `$ `, or, where no line does, at the beginning of lines; what else there is is output. */
const inBlock = (page: string, first: number, block: readonly string[]): { at: number; words: string[] }[] => {
  const prompts = block.some((line) => line.startsWith('$ '));
  const word = programOf(block[0] ?? '');
  if (!prompts && word === undefined) return [];
  if (!prompts && word !== undefined && !PROGRAMS.test(word))
    throw new Error(`${page}:${first}: "${word}" is no program that is known here; say \`\`\`text if it is none`);
  const found: { at: number; words: string[] }[] = [];
  for (let i = 0; i < block.length; i++) {
    let line = block[i] ?? '';
    const at = first + i;
    if (prompts ? !line.startsWith('$ ') : !PROGRAMS.test(programOf(line) ?? '')) continue;
    while (line.endsWith('\\')) line = line.slice(0, -1) + (block[++i] ?? '');
    for (const words of simpleCommands(line.replace(/^\$ /, ''))) found.push({ at, words });
  }
  return found;
};
