import { expect } from 'chai';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { DeltaStream } from './delta-stream.ts';

const KEY = { jobId: 'job-1', attempt: 1 };
interface Delta {
  readonly at: number;
  readonly from: number;
  readonly lines: readonly string[];
}

describe('the deltas of a streamed job', () => {
  let clock: FakeClock;
  let sent: Delta[];
  let open: boolean;
  let stream: DeltaStream;
  const joined = (): string[] => sent.flatMap((d) => d.lines);
  beforeEach(() => {
    clock = new FakeClock();
    sent = [];
    open = true;
    stream = new DeltaStream({
      key: KEY,
      clock,
      channel: {
        send: (_t, payload) => {
          if (!open) return false;
          const { from, lines } = payload as Delta;
          sent.push({ at: clock.monotonic(), from, lines });
          return true;
        },
        frameBytes: () => 65_536,
      },
      onSent: () => {},
    });
  });

  it('go out at once at first, then in at most 20 frames a second, each line once and in order', async () => {
    const lines = Array.from({ length: 500 }, (_, i) => `line ${i}`);
    for (const line of lines) {
      stream.push(line);
      await clock.advance(5);
    }
    await clock.advance(100);
    expect(sent[0]).to.deep.equal({ at: 0, from: 0, lines: ['line 0'] });
    expect(joined()).to.deep.equal(lines);
    for (const [i, delta] of sent.entries()) {
      expect(delta.from).to.equal(sent.slice(0, i).reduce((n, d) => n + d.lines.length, 0));
      expect(delta.at - (sent[i - 1]?.at ?? -50)).to.be.at.least(50);
    }
  });

  it('are split over frames when there is a backlog', async () => {
    for (let i = 0; i < 10; i++) stream.push('x'.repeat(20_000));
    await clock.advance(1_000);
    expect(sent.map((d) => d.lines.length)).to.deep.equal([1, 3, 3, 3]);
  });

  it('end with a line that fits into no frame: the rest comes with the result', async () => {
    for (const line of ['a', 'x'.repeat(70_000), 'b']) stream.push(line);
    await clock.advance(1_000);
    expect(joined()).to.deep.equal(['a']);
    expect(stream.lines).to.equal(3);
  });

  it('go on in a new session from the line that the network holds', async () => {
    for (const line of ['a', 'b', 'c']) stream.push(line);
    await clock.advance(100);
    open = false;
    stream.push('d');
    await clock.advance(100);
    open = true;
    sent = [];
    stream.resumeAt(1);
    await clock.advance(100);
    expect(sent[0]?.from).to.equal(1);
    expect(joined()).to.deep.equal(['b', 'c', 'd']);
  });

  it('stop when the job ends, and leave no timer', async () => {
    stream.push('a');
    stream.push('b');
    stream.end();
    await clock.advance(1_000);
    expect(joined()).to.deep.equal(['a']);
    expect(clock.waiting).to.equal(0);
  });
});
