import { expect } from 'chai';
import { createLogger } from '../lib/log.ts';
import type { Control } from '../protocol/index.ts';
import { handleInbound, type InboundTargets } from './inbound.ts';
import type { Inbound } from './session.ts';

const NOW = 1_800_000_000_000;

/** Writes down what an order leads to. */
const rigOf = () => {
  const done: string[] = [];
  const logs: string[] = [];
  const records: Record<string, unknown>[] = [];
  const to = {
    drain: {
      pause: (by: string, on: boolean) => void done.push(`pause ${by} ${on}`),
      end: (cause: string) => void done.push(`end ${cause}`),
      begin: async (cause: string, ms: number, retry?: number) => void done.push(`begin ${cause} ${ms} ${retry}`),
    },
    heartbeats: { now: () => void done.push('heartbeat') },
    logger: createLogger('test', 'trace', { write: (line: string) => void logs.push(line) }),
    serverNow: () => NOW,
    drainMs: 300_000,
    record: (kind: string, data: Record<string, unknown>) => void records.push({ kind, ...data }),
    onError: () => {},
    shutdown: () => void done.push('shutdown'),
  } as unknown as InboundTargets;
  const order = (body: Omit<Control, 'reason'>, ts = NOW): void =>
    handleInbound({ t: 'control', body: { reason: 'maintenance', ...body }, payload: '', ts } as Inbound, to);
  return { done, logs, records, order };
};

describe('orders of the network', () => {
  for (const [body, effects] of [
    [{ action: 'ping' }, ['heartbeat']],
    [{ action: 'pause' }, ['pause network true']],
    [{ action: 'resume' }, ['pause network false', 'end network']],
    [{ action: 'drain' }, ['begin network 300000 undefined']],
    [{ action: 'drain', graceMs: 5_000, retryAfterMs: 90_000 }, ['begin network 5000 90000']],
    [{ action: 'shutdown', graceMs: 1_000 }, ['begin network 1000 undefined', 'shutdown']],
  ] as [Omit<Control, 'reason'>, string[]][])
    it(`${JSON.stringify(body)} leads to ${effects.join(', ')}, is logged and recorded with its reason`, async () => {
      const rig = rigOf();
      rig.order(body);
      await new Promise((resolve) => setImmediate(resolve));
      expect(rig.done).to.deep.equal(effects);
      if (body.action === 'ping') return;
      expect(rig.records).to.deep.equal([{ kind: 'control', action: body.action, reason: 'maintenance' }]);
      expect(rig.logs.join('')).to.contain(`"action":"${body.action}"`).and.contain('maintenance');
    });

  it('older than 60 s by server time are dropped and logged', () => {
    const rig = rigOf();
    rig.order({ action: 'shutdown' }, NOW - 60_001);
    expect(rig.done).to.deep.equal([]);
    expect(rig.records).to.deep.equal([]);
    expect(rig.logs.join('')).to.contain('too old');
    rig.order({ action: 'ping' }, NOW - 60_000);
    expect(rig.done).to.deep.equal(['heartbeat']);
  });
});
