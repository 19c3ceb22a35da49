import { expect } from 'chai';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { SignerKit, testSigner } from '../../test/support/signer-kit.ts';
import { createLogger } from '../lib/log.ts';
import { FrameWriter } from '../protocol/index.ts';
import { Session } from './session.ts';
import type { SocketEvents } from './socket.ts';

describe('liveness of a session, as the node sees it', () => {
  it('ends a socket that went silent before 40 s are over, whenever in its tick the last byte came', async () => {
    for (const lastByteAt of [200, 1_999]) {
      const clock = new FakeClock();
      const { domain } = new SignerKit();
      let events: SocketEvents | undefined;
      let endedAt: number | undefined;
      let pings = 0;
      const session = new Session({
        open: (told) => {
          events = told;
          return {
            send: () => {},
            ping: () => pings++,
            close: () => {},
            terminate: () => {
              endedAt = clock.monotonic();
              told.closed(1006);
            },
            buffered: () => 0,
            pause: () => {},
            resume: () => {},
          };
        },
        clock,
        logger: createLogger('test', 'silent'),
        domain,
        signer: testSigner('node'),
        nonce: () => `0x${'0'.repeat(64)}`,
        now: () => clock.now(),
        // never answers: the session stays between challenge and hello, where only liveness ends it
        onlineKeys: () => new Promise(() => {}),
        hello: () => new Promise(() => {}),
        onWelcome: () => {},
        onMessage: () => {},
      });
      await clock.advance(lastByteAt);
      const challenge = { serverNonce: `0x${'1'.repeat(64)}`, limits: { frameBytes: 65_536 }, rootVersion: 1 };
      const network = new FrameWriter('net', domain, testSigner('network'));
      events?.message(network.write('challenge', JSON.stringify(challenge), clock.now()));
      events?.alive();
      await clock.advance(60_000);
      expect(await session.done).to.include({ own: true, code: 4009 });
      expect(endedAt).to.be.within(lastByteAt + 39_000, lastByteAt + 40_000);
      expect(pings).to.equal(2);
      expect(clock.waiting).to.equal(0);
    }
  });
});
