import { expect } from 'chai';
import { FakeClock } from '../../test/support/fake-clock.ts';
import type { AgentPhase } from '../api/resultity-node-status.ts';
import { createLogger } from '../lib/log.ts';
import { StatusWriter } from './status.ts';

describe('writing status.agent', () => {
  const clock = new FakeClock();
  const applied: { phase: string; at: number }[] = [];
  let phase: AgentPhase = 'Registering';
  let version = '1';
  let answer = 200;
  let stop: AbortController;
  let loop: Promise<void>;
  let writer: StatusWriter;

  beforeEach(() => {
    applied.length = 0;
    phase = 'Registering';
    stop = new AbortController();
    const started = clock.monotonic();
    writer = new StatusWriter({
      apiServer: 'api:443',
      serviceAccount: '/nowhere',
      name: 'gpu-a',
      namespace: 'default',
      status: () => ({ phase, version }),
      clock,
      logger: createLogger('test', 'silent'),
      apply: async (path, body) => {
        expect(path).to.contain('/namespaces/default/resultitynodes/gpu-a/status?fieldManager=resultity-agent');
        if (answer === 200)
          applied.push({ phase: JSON.parse(body).status.agent.phase, at: clock.monotonic() - started });
        return { status: answer, reason: '' };
      },
    });
    loop = writer.run(stop.signal);
  });
  afterEach(async () => {
    stop.abort();
    await clock.advance(100);
    await loop;
    expect(clock.waiting).to.equal(0);
  });

  it('writes the first at once, a new phase a second later, anything else ten seconds later, and nothing without a change', async () => {
    await clock.advance(10);
    expect(applied).to.have.length(1);
    phase = 'Active';
    writer.changed();
    await clock.advance(1_200);
    expect(applied.map((a) => a.phase)).to.deep.equal(['Registering', 'Active']);
    version = '2';
    writer.changed();
    await clock.advance(9_000);
    expect(applied).to.have.length(2);
    await clock.advance(2_000);
    expect(applied).to.have.length(3);
    await clock.advance(600_000);
    expect(applied).to.have.length(3);
  });
  it('tries again while the API server refuses or is away', async () => {
    await clock.advance(10);
    answer = 503;
    version = '3';
    writer.changed();
    await clock.advance(30_000);
    expect(applied).to.have.length(1);
    answer = 200;
    await clock.advance(70_000);
    expect(applied).to.have.length(2);
  });
});
