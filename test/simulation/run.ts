import { check, type Verdict } from '../chaos/checker.ts';
import type { FaultRecord, History, JournalRow } from '../chaos/records.ts';
import { drawFault, type FaultKind, strike } from './faults.ts';
import type { Conn } from './link.ts';
import { type Published, rowOf, SimSite } from './site.ts';
import { World } from './world.ts';

/** What a run came to. */
export interface SimReport {
  readonly seed: number;
  /** Of the whole event trace: the same seed gives the same. */
  readonly digest: string;
  readonly trace: readonly string[];
  readonly faults: readonly FaultKind[];
  readonly verdict: Verdict;
  /** Breaches of I1, I2, I3 and lost, by the offline checker; of I5, I7 and I10 by what was seen; errors that were logged. */
  readonly breaches: readonly string[];
  readonly history: History;
  readonly sessions: number;
  readonly simulatedMs: number;
}

export interface SimOptions {
  readonly seed: number;
  readonly published: Published;
  /** A disk that lies: how many promised writes a crash takes. A run must then be found wanting. */
  readonly lies?: { readonly store?: number; readonly journal?: number };
}

const CALLERS = 6;
/** How long faults strike, and how many. */
const STORM_MS = 75_000;
const MOST_FAULTS = 9;
/** I10. */
const ACTIVE_MS = 60_000;
/** Results are sent again after 60 s. */
const SETTLE_MS = 200_000;
/** What a terminal close code costs, which I10 excepts. */
const BANNED_MS = 660_000;

/** One whole run: machines, callers, faults, healing, settling, judgement. Nothing of it waits for real time. */
export const simulate = async ({ seed, published, lies }: SimOptions): Promise<SimReport> => {
  const world = new World(seed);
  const site = await SimSite.open(world, published);
  site.network.volume.forgets = 0;
  site.start();
  for (const pod of site.pods) pod.volume.forgets = lies?.journal ?? 0;
  await world.clock.advance(2_000);
  site.network.volume.forgets = lies?.store ?? 0;
  site.callers.start(CALLERS);

  const random = world.random('faults');
  const faults: FaultKind[] = [];
  const storm = async (): Promise<void> => {
    const n = random.between(2, MOST_FAULTS);
    for (let i = 0; i < n; i++) {
      await world.clock.sleep(random.between(200, (2 * STORM_MS) / MOST_FAULTS));
      if (site.healed) return;
      const kind = drawFault(random);
      faults.push(kind);
      world.trace.note(`fault ${kind}`);
      void strike(site, kind, world.random(`fault ${i}`));
    }
  };
  void storm();
  await world.clock.advance(STORM_MS);

  world.trace.note('heal');
  site.heal();
  const breaches: string[] = [];
  const within = async (ms: number, holds: () => boolean): Promise<boolean> => {
    for (const end = world.at + ms; !holds() && world.at < end; ) await world.clock.advance(1_000);
    return holds();
  };
  for (const pod of site.pods) {
    const limit = pod.banned ? BANNED_MS : ACTIVE_MS;
    if (!(await within(limit, () => site.isActive(pod) || pod.banned)))
      breaches.push(`I10 ${pod.options.host.name}: not active ${limit} ms after healing`);
  }
  for (const pod of site.pods) await within(BANNED_MS, () => site.isActive(pod));
  let asking = true;
  void site.callers.stop().then(() => {
    asking = false;
  });
  await within(SETTLE_MS, () => !asking && openRows(site) === 0);
  let probe: string | undefined;
  void site.callers
    .ask({ stream: true, tokens: 3, priority: 9, deadlineMs: 60_000, leaveAfter: Number.POSITIVE_INFINITY })
    .then(({ outcome, code }) => {
      probe = `${outcome} ${code ?? ''}`.trim();
    });
  await within(70_000, () => probe !== undefined && openRows(site) === 0);
  if (probe !== 'complete') breaches.push(`I10 a job after healing ended as ${probe}`);

  const history = historyOf(site, killsOf(world.trace.lines));
  const verdict = check(history);
  breaches.unshift(...verdict.violations.map((v) => `${v.invariant} ${v.key}: ${v.message}`));
  breaches.push(...incarnationsFell(site), ...tookEffectTwice(site));
  breaches.push(...world.errors.map((line) => `log ${line}`));
  site.close();
  const { digest, lines } = world.trace;
  const [sessions, simulatedMs] = [site.net.conns.length, world.at];
  return { seed, digest, trace: lines, faults, verdict, breaches, history, sessions, simulatedMs };
};

const openRows = (site: SimSite): number =>
  site.pods.flatMap((pod) => pod.volume.records()).filter((r) => r.state === 'accepted' || r.state === 'result').length;

/** When the service was down, from the trace. */
const killsOf = (trace: readonly string[]): { at: number; healedAt: number }[] => {
  const kills: { at: number; healedAt: number }[] = [];
  for (const line of trace)
    if (line.endsWith(' network dies')) kills.push({ at: Number.parseFloat(line), healedAt: Number.POSITIVE_INFINITY });
    else if (line.endsWith(' network starts')) {
      const last = kills.at(-1);
      if (last) last.healedAt = Number.parseFloat(line);
    }
  return kills;
};

const historyOf = (site: SimSite, kills: readonly { at: number; healedAt: number }[]): History => {
  const { at } = site.world;
  const rows = (pods: SimSite['pods'], when: number): JournalRow[] =>
    pods.flatMap((pod) => pod.volume.records()).map((record) => rowOf(record, when));
  // what a deleted pod promised to send again went with its volume; what it had receipts for counts all the same
  const gone = rows(site.old, at).map(
    (row): JournalRow => (row.state === 'receipted' ? row : { ...row, at: 0, state: 'accepted', payload: null }),
  );
  const lost = new Set(gone.filter((r) => r.state !== 'receipted').map((r) => `${r.jobId}.${r.attempt}`));
  return {
    ledger: site.network.volume.ledger(),
    calls: [...site.pods, ...site.old].flatMap((pod) => pod.engine.calls),
    journal: [...site.journal.filter((r) => !lost.has(`${r.jobId}.${r.attempt}`)), ...gone, ...rows(site.pods, at)],
    clients: site.callers.records,
    faults: kills.map(
      (kill, n): FaultRecord => ({
        n,
        kind: 'kill-network',
        node: '',
        at: kill.at,
        diedAt: kill.at,
        healedAt: kill.healedAt,
        recoveredMs: null,
        open: 0,
        streaming: 0,
        atNode: { open: 0, streaming: 0 },
        phases: { accepted: 0, result: 0 },
      }),
    ),
  };
};

/** I5: who is welcomed has the highest incarnation that its node ever had. */
const incarnationsFell = (site: SimSite): string[] => {
  const highest = new Map<string, number>();
  const found: string[] = [];
  for (const { node, incarnation } of site.network.welcomed) {
    const before = highest.get(node) ?? 0;
    if (incarnation < before) found.push(`I5 ${node}: incarnation ${incarnation} was welcomed after ${before}`);
    highest.set(node, Math.max(before, incarnation));
  }
  return found;
};

/** I7: in each session no frame took effect more often than its true sender sent it there. */
const tookEffectTwice = (site: SimSite): string[] => {
  const found: string[] = [];
  const judge = (way: 'up' | 'down', effects: readonly { conn: Conn; payload: string; t: string }[]): void => {
    const seen = new Map<Conn, Map<string, number>>();
    for (const { conn, payload } of effects) {
      const counts = seen.get(conn) ?? new Map<string, number>();
      seen.set(conn, counts.set(payload, (counts.get(payload) ?? 0) + 1));
    }
    for (const [conn, counts] of seen) {
      const sent = new Map<string, number>();
      for (const text of conn.sent[way]) {
        const payload = text.slice(text.indexOf('\n') + 1);
        sent.set(payload, (sent.get(payload) ?? 0) + 1);
      }
      for (const [payload, n] of counts)
        if (n > (sent.get(payload) ?? 0))
          found.push(
            `I7 conn ${conn.id} ${way}: ${payload.slice(0, 60)} took effect ${n} times, sent ${sent.get(payload) ?? 0}`,
          );
    }
  };
  judge('up', site.network.effects);
  judge(
    'down',
    [...site.pods, ...site.old].flatMap((pod) => pod.obeyed),
  );
  return found;
};
