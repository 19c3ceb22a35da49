import { expect } from 'chai';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { DeltaStream } from './delta-stream.ts';

interface Delta {
  readonly at: number;
  readonly from: number;
  readonly lines: readonly string[];
}

const rigOf = (frameBytes = 65_536) => {
  const clock = new FakeClock();
  const sent: Delta[] = [];
  const state = { open: true };
  const stream = new DeltaStream({
    key: { jobId: 'job', attempt: 1 },
    clock,
    channel: {
      send: (_t, payload) => {
        if (!state.open) return false;
        const { from, lines } = payload as { from: number; lines: string[] };
        sent.push({ at: clock.monotonic(), from, lines });
        return true;
      },
      frameBytes: () => frameBytes,
    },
    onSent: () => {},
  });
  return { clock, sent, stream, state };
};

describe('the deltas of a streamed job', () => {
  it('send the first line at once, then at most 20 frames a second with what came together', async () => {
    const { clock, sent, stream } = rigOf();
    for (let i = 0; i < 200; i++) {
      stream.push(`line ${i}`);
      await clock.advance(5);
    }
    expect(sent[0]).to.deep.equal({ at: 0, from: 0, lines: ['line 0'] });
    expect(sent.length).to.be.within(19, 21);
    sent.slice(1).forEach((d, i) => {
      expect(d.at - (sent[i] as Delta).at).to.be.at.least(50);
    });
    // every line once, in order
    await clock.advance(50);
    expect(sent.flatMap((d) => d.lines)).to.deep.equal(Array.from({ length: 200 }, (_, i) => `line ${i}`));
    expect(sent.map((d) => d.from)).to.deep.equal(sent.map((_, i) => sent.slice(0, i).flatMap((d) => d.lines).length));
    stream.end();
    expect(clock.waiting).to.equal(0);
  });

  it('split a backlog over frames that fit', async () => {
    const { clock, sent, stream, state } = rigOf();
    state.open = false;
    for (let i = 0; i < 100; i++) stream.push('é'.repeat(2_000));
    expect(sent).to.deep.equal([]);
    state.open = true;
    stream.resumeAt(0);
    await clock.advance(1_000);
    expect(sent.length).to.be.above(5);
    for (const d of sent) expect(Buffer.byteLength(JSON.stringify(d.lines))).to.be.below(65_536 - 512);
    expect(sent.flatMap((d) => d.lines)).to.have.length(100);
    stream.end();
  });

  it('end with a line that fits into no frame: the rest comes with the result', async () => {
    const { clock, sent, stream } = rigOf();
    stream.push('first');
    await clock.advance(50);
    stream.push('x'.repeat(70_000));
    stream.push('after');
    await clock.advance(1_000);
    expect(sent.flatMap((d) => d.lines)).to.deep.equal(['first']);
    expect(stream.lines).to.equal(3);
    stream.end();
  });

  it('go on in a new session from the line that the network holds', async () => {
    const { clock, sent, stream, state } = rigOf();
    for (const line of ['a', 'b', 'c']) {
      stream.push(line);
      await clock.advance(50);
    }
    state.open = false;
    stream.push('d');
    await clock.advance(50);
    state.open = true;
    stream.resumeAt(2);
    await clock.advance(50);
    expect(sent.at(-1)).to.deep.include({ from: 2, lines: ['c', 'd'] });
    // a network that holds more than there is gets what follows
    stream.resumeAt(9);
    stream.push('e');
    await clock.advance(50);
    expect(sent.at(-1)).to.deep.include({ from: 4, lines: ['e'] });
    stream.end();
    stream.push('after the end');
    await clock.advance(1_000);
    expect(sent.at(-1)?.lines).to.deep.equal(['e']);
  });
});
