/**
 * `npm run bench`: rates, as mean ± sd over several runs, and ratios against a yardstick in the same run; then figures that
 * are no rates (latencies, memory, start). Nothing here fails when a machine is slow. `-- --runs N` (default 5),
 * `-- --only WORD` (names that contain it; some are long and run only when named).
 */
import { globSync } from 'node:fs';
import { cpus, loadavg, totalmem } from 'node:os';
import { parseArgs } from 'node:util';
import type { Bench, Figures } from '../../test/bench/types.ts';
import { meanSd, spread } from './stats.ts';

const { values } = parseArgs({
  options: { runs: { type: 'string', default: '5' }, only: { type: 'string', default: '' } },
});
const runs = Number(values.runs);

const isBench = (value: unknown): value is Bench => typeof value === 'object' && value !== null && 'run' in value;
const isFigures = (value: unknown): value is Figures =>
  typeof value === 'object' && value !== null && 'figures' in value;
const benches: Bench[] = [];
const figures: Figures[] = [];
for (const file of globSync('test/bench/*.bench.ts').sort()) {
  const all = Object.values((await import(`../../${file}`)) as object);
  benches.push(...all.filter(isBench).filter((b) => b.name.includes(values.only)));
  figures.push(...all.filter(isFigures).filter((f) => f.name.includes(values.only) && (values.only || !f.onlyByName)));
}
const load = (): string =>
  loadavg()
    .map((n) => n.toFixed(1))
    .join(' ');

process.stdout.write(
  `machine: ${cpus().length} × ${cpus()[0]?.model ?? 'unknown CPU'}, ${Math.round(totalmem() / 2 ** 30)} GiB, Node ${process.version}, load ${load()}, ${runs} runs each\n`,
);
const means = new Map<string, number>();
for (const bench of benches) {
  await bench.run(Math.ceil(bench.count / 10)); // warm
  const rates: number[] = [];
  for (let i = 0; i < runs; i++) {
    const start = performance.now();
    await bench.run(bench.count);
    rates.push((bench.count * 1000) / (performance.now() - start));
  }
  const { mean } = spread(rates);
  means.set(bench.name, mean);
  const against = bench.baselineOf === undefined ? undefined : means.get(bench.baselineOf);
  const ratio = against === undefined ? '' : `   (${bench.baselineOf}: ${(against / mean).toFixed(1)} × faster)`;
  process.stdout.write(`${bench.name.padEnd(42)} ${meanSd(rates, 0).padStart(14)} ${bench.unit}${ratio}\n`);
}
for (const figure of figures) {
  process.stdout.write(`${figure.name} (load ${load()})\n`);
  for (const line of await figure.figures()) process.stdout.write(`  ${line}\n`);
}
