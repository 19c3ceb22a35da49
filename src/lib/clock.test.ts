import { getEventListeners } from 'node:events';
import { expect } from 'chai';
import { systemClock } from './clock.ts';

describe('systemClock', () => {
  it('sleeps at least as long as asked, and leaves no listener behind', async () => {
    const { signal } = new AbortController();
    const from = systemClock.monotonic();
    await systemClock.sleep(15, signal);
    expect(systemClock.monotonic() - from).to.be.at.least(14);
    expect(getEventListeners(signal, 'abort')).to.have.length(0);
  });

  it('gives a sleep up with the reason of its signal, whenever that ends', async () => {
    const reason = new Error('enough');
    const leave = new AbortController();
    const caught = systemClock.sleep(60_000, leave.signal).catch((error: unknown) => error);
    leave.abort(reason);
    expect(await caught).to.equal(reason);
    expect(await systemClock.sleep(60_000, leave.signal).catch((error: unknown) => error)).to.equal(reason);
  });
});
