/**
 * `npm run chaos -- [--disconnects 20] [--seed N] [--dir FOLDER]`: the real service and real agents torn apart under
 * load, over and over, then judged by their own records (docs/faults.md). An interrupt ends it early: what is broken is
 * healed, and what was seen is judged. `--check FOLDER` judges kept records again.
 */
import { parseArgs } from 'node:util';
import { check, KINDS, type Kind, readHistory, run, table, tableOf } from '../../test/chaos/index.ts';

const { values } = parseArgs({
  options: {
    disconnects: { type: 'string', default: '20' },
    seed: { type: 'string' },
    nodes: { type: 'string', default: '4' },
    slots: { type: 'string', default: '64' },
    open: { type: 'string', default: '50' },
    'token-ms': { type: 'string', default: '400' },
    /** Kinds of disconnect, with commas; every kind by default. */
    kinds: { type: 'string' },
    minutes: { type: 'string', default: '240' },
    dir: { type: 'string' },
    check: { type: 'string' },
  },
});
const say = (line: string): void => void process.stdout.write(`${line}\n`);
const whole = (name: keyof typeof values, fallback = ''): number => {
  const text = values[name] ?? fallback;
  const n = Number(text);
  if (!Number.isInteger(n) || n < 0) throw new Error(`--${name} ${text} is no whole number`);
  return n;
};
const kindsOf = (text: string): Kind[] =>
  text.split(',').map((name) => {
    const kind = KINDS.find((k) => k === name);
    if (!kind) throw new Error(`--kinds ${name} is none of ${KINDS.join(', ')}`);
    return kind;
  });

if (values.check !== undefined) {
  const history = readHistory(values.check);
  const verdict = check(history);
  say(tableOf(history, verdict));
  process.exitCode = verdict.violations.length === 0 ? 0 : 1;
} else {
  const over = new AbortController();
  for (const name of ['SIGINT', 'SIGTERM'] as const)
    process.on(name, () => {
      // the second time it means it
      if (over.signal.aborted) process.exit(130);
      say(`${name}: healing and judging; once more ends it at once`);
      over.abort();
    });
  const report = await run({
    disconnects: whole('disconnects'),
    seed: whole('seed', String(Date.now() % 1_000_000)),
    nodes: whole('nodes'),
    slots: whole('slots'),
    tokenMs: whole('token-ms'),
    open: whole('open'),
    plan: values.kinds === undefined ? {} : { kinds: kindsOf(values.kinds) },
    limitMs: whole('minutes') * 60_000,
    ...(values.dir === undefined ? {} : { dir: values.dir }),
    say,
    signal: over.signal,
  });
  say(table(report));
  process.exit(report.verdict.violations.length === 0 && report.stopped === undefined ? 0 : 1);
}
