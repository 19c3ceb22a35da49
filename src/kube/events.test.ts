import { expect } from 'chai';
import { pino } from 'pino';
import { FakeClock, settle } from '../../test/support/fake-clock.ts';
import { ApiError } from './errors.ts';
import { type EventObject, EventRecorder, type RecorderOptions } from './events.ts';
import { resource } from './types.ts';

const things = resource({ group: 'example.com', version: 'v1', plural: 'things', kind: 'Thing' });
const thing = { metadata: { name: 't', namespace: 'n', uid: 'u' } };

const make = () => {
  const clock = new FakeClock();
  const made: EventObject[] = [];
  const series: unknown[] = [];
  const state: { refuse: boolean; slow?: Promise<void> } = { refuse: false };
  const client = {
    create: async (_: unknown, event: EventObject) => {
      if (state.refuse) throw new ApiError('no', { status: 403 });
      await state.slow;
      made.push(event);
    },
    patchMerge: async (_: unknown, ref: { name: string }, patch: { series: unknown }) => {
      if (made.length === 0) throw new ApiError('not there yet', { status: 404 });
      series.push([ref.name, patch.series]);
    },
  } as unknown as RecorderOptions['client'];
  const recorder = new EventRecorder({
    client,
    clock,
    log: pino({ level: 'silent' }),
    controller: 'example.com/c',
    instance: 'i',
  });
  const say = (note = 'said', reason = 'Said'): void =>
    recorder.record(things, thing, { type: 'Normal', reason, note });
  return { clock, made, series, state, recorder, say };
};

describe('EventRecorder', () => {
  it('folds what repeats into one series, written at most every ten seconds', async () => {
    const t = make();
    for (let i = 0; i < 5; i++) t.say();
    await t.clock.advance(9_999);
    expect([t.made.length, t.series.length]).to.deep.equal([1, 0]);
    await t.clock.advance(1);
    expect(t.series).to.have.length(1);
    expect(t.series[0]).to.have.nested.property('1.count', 5);
    expect(t.made[0]).to.have.nested.property('regarding.uid', 'u');
    expect(t.clock.waiting).to.equal(0);
  });

  it('writes a series only after its event stands, also when it closes at once', async () => {
    const t = make();
    let arrive = (): void => undefined;
    t.state.slow = new Promise((resolve) => {
      arrive = resolve;
    });
    for (let i = 0; i < 3; i++) t.say();
    const closed = t.recorder.close();
    await settle();
    arrive();
    await closed;
    expect(t.series).to.have.length(1);
    expect(t.series[0]).to.have.nested.property('1.count', 3);
  });

  it('begins a new event for another reason, and after six minutes of silence', async () => {
    const t = make();
    t.say();
    t.say('said', 'Other');
    await t.clock.advance(6 * 60_000 + 1);
    t.say();
    await settle();
    expect(t.made.map((e) => e.reason)).to.deep.equal(['Said', 'Other', 'Said']);
    expect(new Set(t.made.map((e) => e.metadata?.name)).size).to.equal(3);
  });

  it('never throws when it is refused, and tries again with the next one', async () => {
    const t = make();
    t.state.refuse = true;
    t.say();
    await settle();
    t.state.refuse = false;
    t.say();
    await settle();
    expect(t.made).to.have.length(1);
  });

  it('writes at its own pace, drops Normal events whose turn is far away, and Warnings later than those', async () => {
    const t = make();
    for (let i = 0; i < 100; i++) t.say('said', `Burst${i}`);
    await settle();
    expect(t.made).to.have.length(100);
    for (let i = 0; i < 1_000; i++) t.say('said', `More${i}`);
    for (let i = 0; i < 50; i++) t.recorder.record(things, thing, { type: 'Warning', reason: `Bad${i}`, note: 'bad' });
    await t.clock.advance(1_000);
    expect(t.made).to.have.length(120);
    await t.clock.advance(30_000);
    expect(t.made.filter((e) => e.type === 'Normal')).to.have.length(300);
    expect(t.made.filter((e) => e.type === 'Warning')).to.have.length(50);
    t.say('said', 'More999');
    await settle();
    expect(t.made.at(-1)?.reason).to.equal('More999');
    expect(t.clock.waiting).to.equal(0);
  });

  it('cuts a note to what the server takes, and writes what has gathered when it closes', async () => {
    const t = make();
    t.say('ü'.repeat(2_000));
    t.say();
    await settle();
    await t.recorder.close();
    expect(Buffer.byteLength(t.made[0]?.note ?? '')).to.be.at.most(1_024);
    expect(t.series).to.have.length(1);
    t.say('late', 'Late');
    expect([t.made.length, t.clock.waiting]).to.deep.equal([1, 0]);
  });
});
