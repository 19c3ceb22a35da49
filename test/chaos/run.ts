import { copyFileSync, existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { check, type Verdict } from './checker.ts';
import { Load } from './clients.ts';
import { seeded } from './random.ts';
import { type FaultRecord, type JournalRow, readHistory, readJournal, writeRecords } from './records.ts';
import { type Planned, plan } from './schedule.ts';
import { Site, until } from './site.ts';

export interface RunOptions {
  readonly disconnects: number;
  readonly seed: number;
  /** Callers at work; half of them stream. */
  readonly clients: number;
  /** Jobs that must be open at the engine before a disconnect is forced. */
  readonly open: number;
  /** The run ends after this long, with what it has. */
  readonly limitMs: number;
  /** Where logs and records go; a fresh folder that is removed when nothing is wrong, if not given. */
  readonly dir?: string;
  readonly say: (line: string) => void;
}

export interface RunReport {
  readonly seed: number;
  readonly faults: readonly FaultRecord[];
  readonly verdict: Verdict;
  /** Requests by how they ended and, for errors, by code. */
  readonly errors: ReadonlyMap<string, number>;
  readonly attempts: number;
  readonly signaturesHold: boolean;
  /** Set when the run could not go on to its end. */
  readonly stopped: string | undefined;
  readonly dir: string;
}

/** Longest time from a healed fault to enough open jobs again; beyond it the run is over. I10 gives 60 s. */
const RECOVERY_MS = 90_000;

/** One whole run: site, load, forced disconnects, settling, records, judgement. Leaves no process behind. */
export const run = async (options: RunOptions): Promise<RunReport> => {
  const { seed, say, disconnects } = options;
  const dir = options.dir ?? mkdtempSync(join(tmpdir(), 'resultity-chaos-'));
  mkdirSync(dir, { recursive: true });
  say(`seed ${seed}, ${disconnects} disconnects, records in ${dir}`);
  const site = new Site({ dir, slots: options.clients, tokenMs: 200, random: seeded(seed, 'proxy') });
  try {
    const report = await disconnect(site, dir, options);
    if (options.dir === undefined && report.verdict.violations.length === 0 && report.stopped === undefined)
      rmSync(dir, { recursive: true, force: true });
    return report;
  } finally {
    await site.close();
  }
};

const disconnect = async (site: Site, dir: string, options: RunOptions): Promise<RunReport> => {
  const { seed, say, clients } = options;
  await site.start();
  const load = new Load({
    port: site.port,
    apiKey: site.apiKey,
    model: site.model,
    clients,
    tokens: [4, 16],
    patienceMs: 120_000,
    random: seeded(seed, 'load'),
  });
  load.start();
  const began = performance.now();
  const faults: FaultRecord[] = [];
  const journal: JournalRow[] = [];
  let stopped: string | undefined;
  try {
    for (const fault of plan(seed, options.disconnects)) {
      if (performance.now() - began > options.limitMs) {
        stopped = `the time was over after ${faults.length} disconnects`;
        break;
      }
      if (fault.latencyMs > 0) site.proxy.toxics = [{ kind: 'latency', ms: fault.latencyMs, jitterMs: 10 }];
      await sleep(fault.waitMs);
      await until(`${options.open} jobs are open again`, RECOVERY_MS, async () => {
        if (!site.healthy) throw new Error('a process ended that nobody killed');
        // in rotation first: until it is back, the engine still runs jobs that nobody waits for
        return (
          load.streaming >= options.open / 2 && (await site.inRotation()) && (await site.openAtEngine()) >= options.open
        );
      });
      await strike(site, load, fault, faults, journal);
      if (fault.n % 20 === 0)
        say(
          `${fault.n} disconnects, ${load.records.length} requests ended, ${Math.round((performance.now() - began) / 1_000)} s`,
        );
    }
  } catch (error) {
    stopped = error instanceof Error ? error.message : String(error);
  }
  site.proxy.toxics = [];
  await load.stop();
  await settle(site).catch((error: Error) => {
    stopped ??= error.message;
  });
  await site.killAgent();
  journal.push(...readJournal(site.stateDir, 'all', Date.now()));
  await site.stopNetwork();
  site.command(['ledger', 'export'], 'ledger.ndjson');
  const signaturesHold = site.command(['verify-ledger', '--root', join(dir, 'root.json')], 'verify-ledger.log') === 0;
  if (existsSync(site.callLog)) copyFileSync(site.callLog, join(dir, 'calls.ndjson'));
  writeRecords(dir, 'journal', journal);
  writeRecords(dir, 'clients', load.records);
  writeRecords(dir, 'faults', faults);
  const history = readHistory(dir);
  const errors = new Map<string, number>();
  for (const c of history.clients)
    if (c.outcome === 'error' || c.outcome === 'cut')
      errors.set(`${c.outcome} ${c.code}`, (errors.get(`${c.outcome} ${c.code}`) ?? 0) + 1);
  const attempts = new Set(history.journal.map((r) => `${r.jobId}.${r.attempt}`)).size;
  return { seed, faults, verdict: check(history), errors, attempts, signaturesHold, stopped, dir };
};

/** Forces one disconnect and heals it; notes what stood open at that moment. */
const strike = async (
  site: Site,
  load: Load,
  fault: Planned,
  faults: FaultRecord[],
  journal: JournalRow[],
): Promise<void> => {
  const { proxy } = site;
  const { kind, n, downMs } = fault;
  const open = await site.openAtEngine();
  const { streaming } = load;
  if (fault.blindMs > 0) {
    proxy.toxics = [{ kind: 'blackhole' }];
    await sleep(fault.blindMs);
  }
  let at = Date.now();
  const look = (): JournalRow[] => readJournal(site.stateDir, 'open', at);
  let rows: JournalRow[] = [];
  // a dead agent has its files as the kill left them; a living one is held still, and struck right after
  if (kind !== 'kill-agent') rows = await site.frozen(look);
  switch (kind) {
    case 'kill-agent':
      await site.killAgent();
      at = Date.now();
      rows = look();
      proxy.toxics = [];
      proxy.reset();
      await sleep(downMs);
      site.startAgent();
      break;
    case 'kill-network':
      at = Date.now();
      await site.killNetwork();
      proxy.toxics = [];
      proxy.reset();
      await sleep(downMs);
      await site.restartNetwork();
      break;
    case 'blackhole':
      proxy.toxics = [{ kind: 'blackhole' }];
      await sleep(downMs);
      proxy.toxics = [];
      proxy.reset();
      break;
    case 'reset':
      proxy.toxics = [];
      proxy.reset();
      break;
    case 'half-open': {
      proxy.toxics = [];
      const end = proxy.halfOpen(fault.cut);
      // patient: the node finds out by itself, the silence ends long after
      await sleep(fault.patient ? 45_000 : downMs);
      end();
      break;
    }
  }
  journal.push(...rows);
  const count = (state: JournalRow['state']): number => rows.filter((r) => r.state === state).length;
  const phases = { accepted: count('accepted'), result: count('result') };
  faults.push({ n, kind, at, healedAt: Date.now(), open, streaming, phases });
};

/** Waits until the node has neither open work nor results without a receipt. */
const settle = (site: Site): Promise<void> =>
  until('every result is receipted', 90_000, async () => {
    const open = await site.frozen(() => readJournal(site.stateDir, 'open', 0));
    return open.length === 0;
  });
