import type { Random } from '../chaos/random.ts';
import { type Conn, WAYS, type Way } from './link.ts';
import type { SimSite } from './site.ts';

/** Everything that a run may suffer, with how often it is drawn. */
export const FAULTS = {
  'reset a socket': 3,
  'half-open a socket': 3,
  'partition a node': 2,
  'slow a path': 1,
  'repeat a frame': 2,
  'kill an agent': 2,
  'crash an agent at a journal write': 6,
  'cut the power of a node': 1,
  'hold an agent': 1,
  'restart an agent in order': 1,
  'crash an engine': 1,
  'kill the service': 1,
  'crash the service at a write': 3,
  'jump a wall clock': 2,
  'replace a pod whose old one lives on': 1,
} as const;
export type FaultKind = keyof typeof FAULTS;

const HOUR = 3_600_000;

export const drawFault = (random: Random): FaultKind => {
  const all = Object.entries(FAULTS).flatMap(([kind, weight]) => Array<FaultKind>(weight).fill(kind as FaultKind));
  return all[random.between(0, all.length - 1)] as FaultKind;
};

/** Strikes once; resolves when the fault is healed as far as it heals by itself. */
export const strike = async (site: SimSite, kind: FaultKind, random: Random): Promise<void> => {
  const { world } = site;
  const sleep = (from: number, to: number): Promise<void> => world.clock.sleep(random.between(from, to));
  const pick = <T>(of: readonly T[]): T | undefined => of[random.between(0, Math.max(0, of.length - 1))];
  const pod = pick(site.pods);
  if (!pod) return;
  const { path, host } = pod.options;
  const conn: Conn | undefined = pick(pod.conns);
  const way: Way = random.chance(0.5) ? 'up' : 'down';
  switch (kind) {
    case 'reset a socket':
      conn?.reset();
      return;
    case 'half-open a socket':
      conn?.halfOpen(way);
      await sleep(100, random.chance(0.2) ? 60_000 : 5_000);
      conn?.heal();
      return;
    case 'partition a node': {
      const ways = random.chance(0.5) ? WAYS : [way];
      for (const w of ways) path.close(w);
      await sleep(500, random.chance(0.3) ? 90_000 : 8_000);
      path.open();
      return;
    }
    case 'slow a path':
      path.delay = [100, 3_000];
      await sleep(1_000, 20_000);
      path.delay = [1, 20];
      return;
    case 'repeat a frame': {
      // of this socket or of an older one of anybody
      const from = random.chance(0.7) ? conn : pick(site.net.conns);
      const text = from && pick(from.sent[way]);
      if (conn && text !== undefined) conn.inject(way, text);
      return;
    }
    case 'kill an agent':
      pod.proc?.die();
      return;
    case 'crash an agent at a journal write': {
      pod.volume.fuse.arm(random.between(1, 6), random.chance(0.5) ? 'before' : 'after', () => pod.proc?.die());
      return;
    }
    case 'cut the power of a node':
      host.powered = false;
      pod.proc?.die();
      return;
    case 'hold an agent':
      pod.proc?.hold();
      await sleep(1_000, random.chance(0.3) ? 60_000 : 6_000);
      pod.proc?.release();
      return;
    case 'restart an agent in order':
      await pod.stop(random.between(0, 4_000));
      return;
    case 'crash an engine':
      pod.engine.crashes = random.between(1, 3);
      return;
    case 'kill the service':
      if (random.chance(0.3)) site.network.host.powered = false;
      site.network.running?.proc.die();
      return;
    case 'crash the service at a write': {
      const blow = (): void => site.network.running?.proc.die();
      site.network.volume.fuse.arm(random.between(1, 20), random.chance(0.5) ? 'before' : 'after', blow);
      return;
    }
    case 'jump a wall clock': {
      const who = random.chance(0.5) ? host : site.network.host;
      who.wallOffset += random.chance(0.5) ? HOUR : -HOUR;
      await sleep(1_000, 60_000);
      who.wallOffset = 0;
      return;
    }
    case 'replace a pod whose old one lives on':
      if (random.chance(0.6)) for (const w of WAYS) path.close(w);
      site.replace(pod);
      await sleep(1_000, 60_000);
      path.open();
      return;
  }
};
