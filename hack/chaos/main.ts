/**
 * `npm run chaos -- [--disconnects 20] [--seed N] [--dir FOLDER]`: the real service and the real agent torn apart under
 * load, over and over, then judged by their own records (docs/faults.md). `--check FOLDER` judges kept records again.
 */
import { parseArgs } from 'node:util';
import { check, readHistory, run, table } from '../../test/chaos/index.ts';

const { values } = parseArgs({
  options: {
    disconnects: { type: 'string', default: '20' },
    seed: { type: 'string' },
    clients: { type: 'string', default: '64' },
    open: { type: 'string', default: '50' },
    minutes: { type: 'string', default: '240' },
    dir: { type: 'string' },
    check: { type: 'string' },
  },
});
const say = (line: string): void => void process.stdout.write(`${line}\n`);
const whole = (text: string, name: string): number => {
  const n = Number(text);
  if (!Number.isInteger(n) || n < 0) throw new Error(`--${name} ${text} is no whole number`);
  return n;
};
for (const name of ['SIGINT', 'SIGTERM'] as const) process.once(name, () => process.exit(130));

if (values.check !== undefined) {
  const verdict = check(readHistory(values.check));
  say(JSON.stringify(verdict, null, 2));
  process.exitCode = verdict.violations.length === 0 ? 0 : 1;
} else {
  const report = await run({
    disconnects: whole(values.disconnects, 'disconnects'),
    seed: whole(values.seed ?? String(Date.now() % 1_000_000), 'seed'),
    clients: whole(values.clients, 'clients'),
    open: whole(values.open, 'open'),
    limitMs: whole(values.minutes, 'minutes') * 60_000,
    ...(values.dir === undefined ? {} : { dir: values.dir }),
    say,
  });
  say(table(report));
  process.exitCode = report.verdict.violations.length === 0 && report.stopped === undefined ? 0 : 1;
}
