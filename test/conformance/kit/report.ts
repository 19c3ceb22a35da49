/** One rule of docs/protocol.md and how it is tried. The run says what was seen, throws when the rule is broken. */
export interface Case<C> {
  readonly section: string;
  /** A sentence, stating the rule. */
  readonly title: string;
  readonly run: (context: C) => Promise<string> | string;
}
export interface Verdict {
  readonly section: string;
  readonly title: string;
  readonly outcome: 'pass' | 'fail' | 'skip';
  readonly seen: string;
  readonly ms: number;
}

/** Thrown by a case that cannot be tried here (no API key, no model of that kind). */
export class Skip extends Error {}

/** Runs cases one after the other, each with a bound of its own; a case that fails does not end the run. */
export const runCases = async <C>(
  cases: readonly Case<C>[],
  context: C,
  each: (verdict: Verdict) => void = () => {},
  limitMs = 90_000,
): Promise<Verdict[]> => {
  const verdicts: Verdict[] = [];
  for (const { section, title, run } of cases) {
    const from = performance.now();
    const about = { section, title };
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new Error(`took more than ${limitMs} ms`)), limitMs);
    });
    let result: Pick<Verdict, 'outcome' | 'seen'>;
    try {
      result = { outcome: 'pass', seen: await Promise.race([Promise.resolve(run(context)), late]) };
    } catch (error) {
      result = { outcome: error instanceof Skip ? 'skip' : 'fail', seen: (error as Error).message };
    } finally {
      clearTimeout(timer);
    }
    const verdict: Verdict = { ...about, ...result, ms: Math.round(performance.now() - from) };
    verdicts.push(verdict);
    each(verdict);
  }
  return verdicts;
};

const MARK = { pass: 'pass', fail: 'FAIL', skip: 'skip' } as const;
export const lineOf = (verdict: Verdict): string =>
  `${MARK[verdict.outcome]}  §${verdict.section.padEnd(2)} ${verdict.title}\n          ${verdict.seen}`;
export const summaryOf = (verdicts: readonly Verdict[]): string => {
  const count = (outcome: Verdict['outcome']): number => verdicts.filter((v) => v.outcome === outcome).length;
  return `${count('pass')} passed, ${count('fail')} failed, ${count('skip')} skipped`;
};

/** For cases: throws with what was expected and what was seen. */
export const expectThat: (holds: boolean, problem: string) => asserts holds = (holds, problem) => {
  if (!holds) throw new Error(problem);
};
export const expectEqual = (seen: unknown, wanted: unknown, what: string): void => {
  const [a, b] = [JSON.stringify(seen), JSON.stringify(wanted)];
  if (a !== b) throw new Error(`${what}: expected ${b}, saw ${a}`);
};
