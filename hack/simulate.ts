/**
 * `bash hack/run simulate -- [--seeds 200] [--from 1] [--trace FILE]`: the deterministic runs of test/simulation, one a
 * seed. Prints each seed that breaks an invariant, and a table. `--trace` writes the event trace of the last seed.
 */
import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { FAULTS, publish, type SimReport, simulate, unpublish } from '../test/simulation/index.ts';

const { values } = parseArgs({
  // npm takes the `--` away, bash does not
  args: process.argv.slice(2).filter((arg) => arg !== '--'),
  options: {
    seeds: { type: 'string', default: '200' },
    from: { type: 'string', default: '1' },
    trace: { type: 'string' },
  },
});
const whole = (text: string, name: string): number => {
  const n = Number(text);
  if (!Number.isInteger(n) || n < 0) throw new Error(`--${name} ${text} is no whole number`);
  return n;
};
const say = (line: string): void => void process.stdout.write(`${line}\n`);
const [seeds, from] = [whole(values.seeds, 'seeds'), whole(values.from, 'from')];
const SHOWN = 5;

const published = await publish();
const struck = new Map<string, number>();
const clients = new Map<string, number>();
const began = performance.now();
let [failing, attempts, receipts, sessions, simulated] = [0, 0, 0, 0, 0];
let last: SimReport | undefined;
for (let seed = from; seed < from + seeds; seed++) {
  const report = await simulate({ seed, published });
  last = report;
  for (const kind of report.faults) struck.set(kind, (struck.get(kind) ?? 0) + 1);
  for (const [outcome, n] of Object.entries(report.verdict.clients))
    clients.set(outcome, (clients.get(outcome) ?? 0) + n);
  attempts += new Set(report.history.journal.map((r) => `${r.jobId}.${r.attempt}`)).size;
  receipts += report.history.ledger.length;
  sessions += report.sessions;
  simulated += report.simulatedMs;
  if (report.breaches.length > 0) {
    failing++;
    say(`seed ${seed} (${report.faults.join(', ')})`);
    for (const breach of report.breaches.slice(0, SHOWN)) say(`  ${breach}`);
    if (report.breaches.length > SHOWN) say(`  … and ${report.breaches.length - SHOWN} more`);
  }
  const done = seed - from + 1;
  if (done % 100 === 0) say(`${done} seeds, ${failing} failing, ${Math.round((performance.now() - began) / 1_000)} s`);
}
await unpublish(published);
if (values.trace !== undefined && last) writeFileSync(values.trace, `${last.trace.join('\n')}\n`);

say('');
for (const kind of Object.keys(FAULTS)) say(`${kind.padEnd(40)}${String(struck.get(kind) ?? 0).padStart(8)}`);
say('');
say(`requests: ${[...clients].map(([outcome, n]) => `${n} ${outcome}`).join(', ')}`);
say(`attempts journalled: ${attempts}; receipts in the ledger: ${receipts}; sockets: ${sessions}`);
say(`simulated: ${(simulated / 3_600_000).toFixed(1)} h in ${Math.round((performance.now() - began) / 1_000)} s`);
say(`seeds ${from} to ${from + seeds - 1}: ${failing} failing`);
process.exitCode = failing === 0 ? 0 : 1;
