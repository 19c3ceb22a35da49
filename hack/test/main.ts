/**
 * `npm test [unit|contract|e2e …]`: the checks and the suites, in the order of what fails fastest. Each suite installs what
 * it needs by itself. Ends with a line `N passed, N failed`; the exit code says the same.
 *   unit      checks (types, lint, layers, dead code, generated files) and the tests beside the code
 *   contract  suites against a real API server (etcd and kube-apiserver only); `--kubernetes 1.33.13` another version of it
 *   e2e       the whole path on a real cluster with real pods; `--runtime vllm` with the real engine, `mixed` with one
 *             among stand-ins, default the stand-in
 */
import { spawn } from 'node:child_process';
import { globSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { CHECKS, runCheck } from '../checks.ts';
import { ensurePrograms } from '../cluster/index.ts';
import { formatElapsed, terminalProgress } from '../lib/index.ts';

const SUITES = {
  unit: {
    spec: ['src/**/*.test.ts', 'operator/**/*.test.ts', 'hack/**/*.test.ts', 'test/integration/**/*.test.ts'],
    // what a machine with too much to do needs; nothing waits for it otherwise
    timeout: 60_000,
    parallel: true,
  },
  // these share an API server or a cluster
  contract: { spec: ['test/contract/**/*.test.ts'], timeout: 120_000, parallel: false },
  e2e: { spec: ['test/e2e/**/*.test.ts'], timeout: 600_000, parallel: false },
} as const;
/** Files at a time where they are independent. Most of them wait for processes and sockets, so one more than there are processors. */
const JOBS = Math.min(4, availableParallelism() + 1);
type Suite = keyof typeof SUITES;
interface Totals {
  passes: number;
  failures: number;
  skipped: string[];
  /** Each failure, with its message. */
  broken: string[];
}

const { values, positionals } = parseArgs({
  options: { runtime: { type: 'string', default: 'sim' }, grep: { type: 'string' }, kubernetes: { type: 'string' } },
  allowPositionals: true,
});
if (!['sim', 'vllm', 'mixed'].includes(values.runtime))
  throw new Error(`--runtime ${values.runtime} is unknown: sim, vllm or mixed`);
const wanted = positionals.length === 0 ? (Object.keys(SUITES) as Suite[]) : (positionals as Suite[]);
for (const name of wanted)
  if (!(name in SUITES)) throw new Error(`no suite ${name}: choose from ${Object.keys(SUITES).join(', ')}`);

const { kubernetes } = values;
if (kubernetes !== undefined && (!/^1\.\d+\.\d+$/.test(kubernetes) || wanted.some((name) => name !== 'contract')))
  throw new Error('--kubernetes is for the contract suite alone: npm run test:contract -- --kubernetes 1.33.13');

const progress = terminalProgress();
const started = performance.now();
let passed = 0;
let failed = 0;
const skipped: string[] = [];
const broken: string[] = [];

// made here, where it may take minutes, and not within a test's time
if (kubernetes !== undefined) await ensurePrograms(['kube-apiserver'], progress, undefined, { kubernetes });
if (wanted.includes('unit'))
  for (const check of CHECKS) {
    const output = await runCheck(check);
    progress.line(output === undefined ? `✓ ${check.name}` : `✗ ${check.name}\n${output}`);
    if (output === undefined) passed++;
    else {
      failed++;
      broken.push(`${check.name}: ${output}`);
    }
  }
for (const suite of wanted) {
  const totals = await mocha(suite);
  passed += totals.passes;
  failed += totals.failures;
  skipped.push(...totals.skipped);
  broken.push(...totals.broken);
}
for (const title of skipped) progress.line(`skipped: ${title}`);
// once more and last: a log is often kept by its end alone
for (const failure of broken) progress.line(`FAILED ${failure}`);
progress.line(`took ${formatElapsed(performance.now() - started)}`);
process.stdout.write(`${passed} passed, ${failed} failed${skipped.length ? `, ${skipped.length} skipped` : ''}\n`);
process.exitCode = failed === 0 ? 0 : 1;

/** Runs one suite in a process of its own. A run that leaves no totals (crash, syntax error) counts as one failure. */
async function mocha(suite: Suite): Promise<Totals> {
  const { spec, timeout, parallel } = SUITES[suite];
  // backwards: the longest are under test/integration, and what is long must not come last
  const sorted = spec.flatMap((pattern) => globSync(pattern)).sort();
  const files = parallel ? sorted.reverse() : sorted;
  if (files.length === 0) return { passes: 0, failures: 0, skipped: [`suite ${suite}: it has no files`], broken: [] };
  progress.line(`suite ${suite}: ${files.length} files`);
  const folder = mkdtempSync(join(tmpdir(), 'resultity-test-'));
  const report = join(folder, 'totals.json');
  const argv = [
    'node_modules/mocha/bin/mocha.js',
    '--reporter',
    'hack/test/reporter.cjs',
    '--timeout',
    String(timeout),
  ];
  if (parallel) argv.push('--parallel', '--jobs', String(JOBS));
  if (values.grep !== undefined) argv.push('--grep', values.grep);
  const child = spawn(process.execPath, [...argv, ...files.flatMap((f) => ['--spec', f])], {
    stdio: ['ignore', 'inherit', 'inherit'],
    env: {
      ...process.env,
      RESULTITY_TEST_TOTALS: report,
      RESULTITY_RUNTIME: values.runtime,
      ...(kubernetes !== undefined && { RESULTITY_KUBERNETES: kubernetes }),
    },
  });
  const code = await new Promise<number>((resolve) => child.on('close', (c) => resolve(c ?? 1)));
  try {
    const totals = JSON.parse(readFileSync(report, 'utf8')) as Totals;
    return code !== 0 && totals.failures === 0
      ? { ...totals, failures: 1, broken: [`suite ${suite}: mocha exited with ${code}`] }
      : totals;
  } catch {
    return { passes: 0, failures: 1, skipped: [], broken: [`suite ${suite}: it left no totals (exit code ${code})`] };
  } finally {
    rmSync(folder, { recursive: true });
  }
}
