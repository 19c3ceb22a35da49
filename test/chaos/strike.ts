import { setTimeout as sleep } from 'node:timers/promises';
import type { NodeSite } from './node-site.ts';
import { until } from './processes.ts';
import type { FaultRecord, JournalRow } from './records.ts';
import type { Planned } from './schedule.ts';
import type { Site } from './site.ts';

/** What a strike came to, as the record keeps it. */
export type Struck = Pick<FaultRecord, 'at' | 'killedAt' | 'diedAt' | 'point' | 'silent' | 'gaveUpMs'> & {
  /** The journals' open rows at the moment of the strike. */
  readonly rows: readonly JournalRow[];
};

/** How long an end that hears nothing has to give up before the silence is ended for it; the goal is 40 s. */
const SILENCE_MS = 45_000;
/** How long a session may live on under doubled or reordered frames, before it is reset. */
const SHUFFLE_MS = 10_000;

/**
 * Forces one disconnect between a node and the service, and heals it; `signal` heals it early. Resolves when the path is
 * whole and the killed program starts again.
 */
export const strike = async (site: Site, node: NodeSite, fault: Planned, signal: AbortSignal): Promise<Struck> => {
  const { proxy } = node;
  const { kind } = fault;
  const pass = (ms: number): Promise<void> => sleep(ms, undefined, { signal }).catch(() => {});
  const heal = (): void => {
    proxy.toxics = [];
    proxy.reset();
  };
  switch (kind) {
    case 'kill-agent':
    case 'failpoint-agent': {
      if (fault.blindMs > 0) {
        proxy.toxics = [{ kind: 'blackhole' }];
        await pass(fault.blindMs);
      }
      const { point } = fault;
      const hit = point === undefined ? false : await node.killAgentAt(point, fault.skip);
      await node.killAgent();
      const at = Date.now();
      const rows = await node.openRows(at, 'dead');
      heal();
      await pass(fault.downMs);
      node.startAgent();
      return { at, rows, ...(hit && point !== undefined ? { point } : {}) };
    }
    case 'kill-network':
    case 'failpoint-network': {
      const at = Date.now();
      const whole = site.nodes.filter((n) => n === node || !n.struck);
      const rows = (await Promise.all(whole.map((n) => n.openRows(at, 'alive')))).flat();
      const { point } = fault;
      const died =
        point === undefined
          ? { hit: false, ...(await site.killNetwork()) }
          : await site.killNetworkAt(point, fault.skip);
      heal();
      await pass(fault.downMs);
      await site.startNetwork();
      const { killedAt, diedAt } = died;
      return { at, rows, killedAt, diedAt, ...(died.hit && point !== undefined ? { point } : {}) };
    }
    case 'blackhole':
    case 'blackhole-up':
    case 'blackhole-down':
    case 'slice':
    case 'slow':
    case 'limit': {
      const { at, rows } = await look(node);
      proxy.toxics = fault.toxics;
      await pass(fault.downMs);
      heal();
      return { at, rows };
    }
    case 'duplicate':
    case 'reorder': {
      const { at, rows } = await look(node);
      const before = proxy.sockets;
      proxy.toxics = fault.toxics;
      const gone = (): boolean => [...before].every((socket) => !proxy.sockets.has(socket));
      await until('the session is closed', SHUFFLE_MS, gone, signal).catch(() => {});
      heal();
      return { at, rows };
    }
    case 'reset': {
      const { at, rows } = await look(node);
      heal();
      return { at, rows };
    }
    case 'half-open': {
      const { at, rows } = await look(node);
      // the service finds out by itself only while the node cannot come back
      proxy.toxics = fault.patient && fault.cut === 'client' ? [{ kind: 'blackhole' }] : [];
      const { gaveUp, end } = proxy.halfOpen(fault.cut);
      const silent = fault.cut === 'client' ? 'service' : 'node';
      const over = pass(fault.patient ? SILENCE_MS : fault.downMs);
      const gaveUpMs = await Promise.race([gaveUp, over]);
      end();
      heal();
      return { at, rows, ...(fault.patient && !signal.aborted ? { silent, gaveUpMs: gaveUpMs ?? null } : {}) };
    }
    case 'freeze': {
      const { at, rows } = await look(node);
      await node.freeze(fault.downMs, signal);
      return { at, rows };
    }
  }
};

const look = async (node: NodeSite): Promise<{ at: number; rows: JournalRow[] }> => {
  const at = Date.now();
  return { at, rows: await node.openRows(at, 'alive') };
};
