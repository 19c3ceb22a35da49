import { appendFileSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { check, type Verdict } from './checker.ts';
import { Load } from './clients.ts';
import type { NodeSite } from './node-site.ts';
import { until } from './processes.ts';
import { seeded } from './random.ts';
import { addRecords, type FaultRecord, type History, readHistory } from './records.ts';
import { isDeathOfAgent, isOfNetwork, type Planned, type PlanOptions, plan } from './schedule.ts';
import { Site } from './site.ts';
import { strike } from './strike.ts';

export interface RunOptions {
  readonly disconnects: number;
  readonly seed: number;
  /** Each is struck in its turn, while the others serve. */
  readonly nodes: number;
  /** Jobs that a node works on at once; there are callers for a tenth more than all nodes can serve. */
  readonly slots: number;
  readonly tokenMs: number;
  /** Jobs that must be open at the engine of the node that is struck, half of them with a stream that has begun. */
  readonly open: number;
  /** What is planned. */
  readonly plan: PlanOptions;
  /** The run ends after this long, with what it has. */
  readonly limitMs: number;
  /** Where logs and records go; a fresh folder that is removed when nothing is wrong, if not given. */
  readonly dir?: string;
  readonly say: (line: string) => void;
  /** Ends the run early: what is broken is healed, callers have their end, records are judged. */
  readonly signal?: AbortSignal;
}

export interface RunReport {
  readonly seed: number;
  readonly history: History;
  readonly verdict: Verdict;
  readonly signaturesHold: boolean;
  /** Set when the run did not go on to its end. */
  readonly stopped: string | undefined;
  readonly seconds: number;
  readonly dir: string;
}

/** Longest time until a node that was healed has enough open jobs again; beyond it the run is over. */
const RECOVERY_MS = 180_000;
const SETTLE_MS = 120_000;
const SAY_EVERY = 20;
/** Cuts in a row after which a node's agent is killed next, and how far ahead in the plan that may be looked for. */
const DEATH_AFTER = 3;
const LOOK_AHEAD = 40;

/** One whole run: site, load, forced disconnects, settling, records, judgement. Leaves no process behind. */
export const run = async (options: RunOptions): Promise<RunReport> => {
  const { seed, say, disconnects, nodes, slots, tokenMs } = options;
  const dir = options.dir ?? mkdtempSync(join(tmpdir(), 'resultity-chaos-'));
  mkdirSync(dir, { recursive: true });
  if (existsSync(join(dir, 'faults.ndjson'))) throw new Error(`${dir} holds the records of another run`);
  say(`seed ${seed}, ${disconnects} disconnects, ${nodes} nodes, records in ${dir}`);
  const site = new Site({ dir, nodes, slots, tokenMs, seed });
  try {
    await site.start();
    const report = await new Driver(site, dir, options).run();
    if (options.dir === undefined && report.verdict.violations.length === 0 && report.stopped === undefined)
      rmSync(dir, { recursive: true, force: true });
    return report;
  } finally {
    await site.close();
  }
};

/** Walks the plan with one worker a node: each takes the next strike when its node is in full work again. */
class Driver {
  readonly #site: Site;
  readonly #dir: string;
  readonly #o: RunOptions;
  readonly #load: Load;
  readonly #plan: Planned[];
  readonly #over = new AbortController();
  readonly #began = performance.now();
  #stopped: string | undefined;
  #done = 0;
  #networkDown = false;
  /** Half-open connections of which the service is to find out by itself. */
  #silences = 0;

  constructor(site: Site, dir: string, options: RunOptions) {
    this.#site = site;
    this.#dir = dir;
    this.#o = options;
    this.#plan = [...plan(options.seed, options.disconnects, options.plan)];
    this.#load = new Load({
      port: site.port,
      apiKey: site.apiKey,
      model: site.model,
      clients: Math.ceil(options.nodes * options.slots * 1.1),
      tokens: [6, 20],
      patienceMs: 120_000,
      random: seeded(options.seed, 'load'),
      keep: (record) => addRecords(dir, 'clients', [record]),
    });
  }

  async run(): Promise<RunReport> {
    const { seed, limitMs, signal } = this.#o;
    const stop = (why: string): void => {
      this.#stopped ??= why;
      this.#over.abort();
    };
    const interrupted = (): void => stop(`interrupted after ${this.#done} disconnects`);
    if (signal?.aborted) interrupted();
    signal?.addEventListener('abort', interrupted, { once: true });
    const timer = setTimeout(() => stop(`the time was over after ${this.#done} disconnects`), limitMs);
    this.#load.start();
    await Promise.all(
      this.#site.nodes.map((node) =>
        this.#work(node).catch((error: Error) => {
          if (!this.#over.signal.aborted) stop(error.message);
        }),
      ),
    );
    clearTimeout(timer);
    signal?.removeEventListener('abort', interrupted);
    for (const node of this.#site.nodes) node.proxy.toxics = [];
    this.#o.say(`${this.#done} disconnects, waiting for the last answers`);
    await this.#load.stop();
    await this.#settle().catch((error: Error) => {
      this.#stopped ??= error.message;
    });
    const signaturesHold = await this.#collect();
    const history = readHistory(this.#dir);
    const seconds = Math.round((performance.now() - this.#began) / 1_000);
    return { seed, history, verdict: check(history), signaturesHold, stopped: this.#stopped, seconds, dir: this.#dir };
  }

  async #work(node: NodeSite): Promise<void> {
    const { signal } = this.#over;
    const pause = (ms: number): Promise<void> => sleep(ms, undefined, { signal });
    let sinceDeath = 0;
    for (let fault = this.#next(sinceDeath); fault; fault = this.#next(sinceDeath)) {
      if (fault.latencyMs > 0) node.proxy.toxics = [{ kind: 'latency', ms: fault.latencyMs, jitterMs: 10 }];
      await pause(fault.waitMs);
      const ofNetwork = isOfNetwork(fault.kind);
      const open = await this.#inFullWork(node);
      // another worker may have taken it down in between, or left it alone with a silence that its death would end
      if (ofNetwork && (this.#networkDown || this.#silences > 0)) {
        this.#plan.unshift(fault);
        continue;
      }
      this.#networkDown ||= ofNetwork;
      const silence = fault.patient && fault.cut === 'client' ? 1 : 0;
      this.#silences += silence;
      node.struck = true;
      const atNode = { open, streaming: this.#load.streamingOf(node.address) };
      const whole = { open: await this.#site.open(), streaming: this.#load.streaming };
      const before = new Map(this.#site.nodes.map((n) => [n, n.proxy.sockets]));
      const struck = await strike(this.#site, node, fault, signal).finally(() => {
        node.struck = false;
        this.#silences -= silence;
        if (ofNetwork) this.#networkDown = false;
      });
      const healedAt = Date.now();
      const { rows, ...did } = struck;
      addRecords(this.#dir, 'journal', rows);
      const count = (state: 'accepted' | 'result'): number => rows.filter((r) => r.state === state).length;
      const { n, kind } = fault;
      sinceDeath = isDeathOfAgent(kind) ? 0 : sinceDeath + 1;
      const recoveredMs = await this.#recovered(ofNetwork ? this.#site.nodes : [node], (one) =>
        kind === 'freeze' ? true : [...one.proxy.sockets].some((s) => !before.get(one)?.has(s)),
      );
      const phases = { accepted: count('accepted'), result: count('result') };
      const record: FaultRecord = {
        n,
        kind,
        node: node.address,
        healedAt,
        recoveredMs,
        ...whole,
        atNode,
        phases,
        ...did,
      };
      addRecords(this.#dir, 'faults', [record]);
      this.#done++;
      if (this.#done % SAY_EVERY === 0) this.#say();
    }
  }

  /** Resolves with the jobs at the node's engine when they are enough, half of them streams that have begun. */
  async #inFullWork(node: NodeSite): Promise<number> {
    let open = 0;
    const streams = (): boolean => this.#load.streamingOf(node.address) >= this.#o.open / 2;
    await until(
      `${this.#o.open} jobs are open at ${node.address} again`,
      RECOVERY_MS,
      async () => {
        if (!this.#site.healthy) throw new Error('a process ended that nobody killed');
        if (this.#networkDown || !streams()) return false;
        // in rotation first: until it is back, the engine may still run jobs that nobody waits for
        if (!(await this.#site.connected(node))) return false;
        open = await node.openAtEngine();
        return open >= this.#o.open && streams() && !this.#networkDown;
      },
      this.#over.signal,
    );
    return open;
  }

  /**
   * The next of the plan that may be now; or the next death of an agent, when this one was cut off so often that its back-off
   * has grown long.
   */
  #next(sinceDeath: number): Planned | undefined {
    const wanted = ({ kind }: Planned): boolean =>
      sinceDeath < DEATH_AFTER ? this.#silences === 0 || !isOfNetwork(kind) : isDeathOfAgent(kind);
    const at = this.#plan.findIndex((f, i) => i < LOOK_AHEAD && wanted(f));
    return this.#plan.splice(Math.max(at, 0), 1)[0];
  }

  /**
   * From now until these nodes, but those that are struck, have a new session and are offered work; null when the run ends
   * before. While the service is down again the clock does not run.
   */
  async #recovered(nodes: readonly NodeSite[], renewed: (node: NodeSite) => boolean): Promise<number | null> {
    let began = performance.now();
    const all = async (): Promise<boolean> => {
      if (this.#networkDown) began = performance.now();
      for (const n of nodes) if (!n.struck && !(renewed(n) && (await this.#site.connected(n)))) return false;
      return true;
    };
    return until('the node is back', RECOVERY_MS, all, this.#over.signal).then(
      () => Math.round(performance.now() - began),
      () => null,
    );
  }

  #say(): void {
    const seconds = Math.round((performance.now() - this.#began) / 1_000);
    this.#o.say(`${this.#done} disconnects, ${this.#load.ended} requests ended, ${seconds} s`);
  }

  /** Waits until no node has open work or results without a receipt. */
  #settle(): Promise<void> {
    return until('every result is receipted', SETTLE_MS, async () => {
      const open = await Promise.all(this.#site.nodes.map((n) => n.openRows(0, 'alive')));
      return open.flat().length === 0;
    });
  }

  /** Ends the programs and gathers their records. @returns whether every signature of the ledger holds */
  async #collect(): Promise<boolean> {
    const { nodes } = this.#site;
    await Promise.all(nodes.map((n) => n.killAgent()));
    const at = Date.now();
    for (const node of nodes) {
      addRecords(this.#dir, 'journal', node.allRows(at));
      if (existsSync(node.callLog)) appendFileSync(join(this.#dir, 'calls.ndjson'), readFileSync(node.callLog));
    }
    await this.#site.stopNetwork();
    this.#site.command(['ledger', 'export'], 'ledger.ndjson');
    return this.#site.command(['verify-ledger', '--root', this.#site.rootFile], 'verify-ledger.log') === 0;
  }
}
