import { expect } from 'chai';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { SignerKit, testSigner } from '../../test/support/signer-kit.ts';
import {
  BEFORE_HELLO,
  CLOSE,
  FrameReader,
  FrameWriter,
  parseFrame,
  parsePayload,
  sessionId,
  zChallenge,
} from '../protocol/index.ts';
import { systemRandom } from './random.ts';
import { Session } from './session.ts';

describe('liveness of a session, as the service sees it', () => {
  /** A session whose hello came `lastByteAt` ms after its socket opened. */
  const greeted = async (lastByteAt: number) => {
    const clock = new FakeClock();
    const { domain } = new SignerKit();
    const node = testSigner('node');
    const network = testSigner('network');
    const sent: string[] = [];
    const seen = {
      pings: 0,
      waiting: 0,
      endedAt: undefined as number | undefined,
      closed: undefined as number | undefined,
    };
    const wire = {
      send: (text: string) => void sent.push(text),
      ping: () => void seen.pings++,
      close: (code: number) => {
        seen.closed ??= code;
      },
      terminate: () => {
        seen.endedAt ??= clock.monotonic();
      },
      buffered: () => seen.waiting,
      pause: () => {},
      resume: () => {},
    };
    const session = new Session(
      {
        domain,
        signer: network,
        clock,
        random: systemRandom,
        frameBytes: 65_536,
        audiences: ['network.example'],
        handlers: new Map(),
        rootVersion: () => 1,
        mayConnect: () => {},
        welcome: () => ({ state: 'active', heartbeatMs: 1_000, config: null, jobs: [] }) as never,
        gone: () => {},
        refused: (reason) => expect.fail(reason),
      },
      wire,
    );
    const reader = new FrameReader('net', domain);
    const challenge = parseFrame(sent[0] ?? '', 65_536);
    reader.verify(challenge, network.address, BEFORE_HELLO);
    const { serverNonce } = parsePayload(zChallenge, challenge);
    const clientNonce = `0x${'1'.repeat(64)}` as const;
    const writer = new FrameWriter('node', domain, node);
    writer.rekey({ sid: sessionId(serverNonce, clientNonce, node.address), node: node.address });
    const hello = {
      ...{ node: node.address, clientNonce, audience: 'network.example', bootId: 'boot', incarnation: 1 },
      versions: { agent: '0.1.0', runtime: '0.32.0', protocol: ['1'] },
      ...{ config: null, capacity: { slots: 1, queue: 0 }, models: [], jobs: [] },
    };
    await clock.advance(lastByteAt);
    session.received(writer.write('hello', JSON.stringify(hello), clock.now()));
    expect(session.hello?.node).to.equal(node.address);
    return { clock, session, seen };
  };

  it('ends a socket that went silent before 40 s are over, whenever between two ticks the last byte came', async () => {
    for (const lastByteAt of [200, 1_999]) {
      const { clock, session, seen } = await greeted(lastByteAt);
      for (let at = Math.ceil((lastByteAt + 1) / 1_000) * 1_000; at <= 60_000; at += 1_000) {
        await clock.advance(at - clock.monotonic());
        session.tick();
      }
      expect(session.closed).to.equal(true);
      expect(seen.endedAt).to.be.within(lastByteAt + 39_000, lastByteAt + 40_000);
      expect(seen.pings).to.equal(2);
    }
  });

  it('closes 4008 when something waits for the node for 10 s without a moment in which all is taken', async () => {
    const { clock, session, seen } = await greeted(0);
    const seconds = async (count: number, waiting: number): Promise<void> => {
      seen.waiting = waiting;
      for (let i = 0; i < count; i++) {
        await clock.advance(1_000);
        // it talks all the while: it only does not read
        session.heard();
        session.tick();
      }
    };
    await seconds(10, 100);
    await seconds(1, 0);
    await seconds(10, 100);
    expect(seen.closed).to.equal(undefined);
    await seconds(2, 100);
    expect(seen.closed).to.equal(CLOSE.slow);
  });
});
