import { expect } from 'chai';
import { FakeClock, settle } from '../../test/support/fake-clock.ts';
import { SignerKit, testSigner } from '../../test/support/signer-kit.ts';
import { createLogger } from '../lib/log.ts';
import { FrameWriter, sessionId } from '../protocol/index.ts';
import { Session } from './session.ts';
import type { SocketEvents } from './socket.ts';

const NONCE = `0x${'0'.repeat(64)}` as const;
const SERVER_NONCE = `0x${'1'.repeat(64)}` as const;
const { domain } = new SignerKit();
const [node, network] = [testSigner('node'), testSigner('network')];

/** A welcomed session over a socket whose backlog this test sets. */
class Backlog {
  readonly clock = new FakeClock();
  bytes = 0;
  #events: SocketEvents | undefined;
  readonly session = new Session({
    open: (events) => {
      this.#events = events;
      return {
        send: () => {},
        ping: () => {},
        close: () => {},
        terminate: () => events.closed(1006),
        buffered: () => this.bytes,
        pause: () => {},
        resume: () => {},
      };
    },
    clock: this.clock,
    logger: createLogger('test', 'silent'),
    domain,
    signer: node,
    nonce: () => NONCE,
    now: () => this.clock.now(),
    onlineKeys: async () => [network.address],
    hello: async () => ({
      ...{ audience: 'io.example', bootId: 'boot', incarnation: 1, config: null, models: [], jobs: [] },
      versions: { agent: '0.1.0', runtime: '0.32.0', protocol: ['1'] },
      capacity: { slots: 1, queue: 1 },
    }),
    onWelcome: () => {},
    onMessage: () => {},
  });

  async open(): Promise<this> {
    const writer = new FrameWriter('net', domain, network);
    const say = (t: string, payload: object): void =>
      this.#events?.message(writer.write(t, JSON.stringify(payload), this.clock.now()));
    say('challenge', { serverNonce: SERVER_NONCE, limits: { frameBytes: 65_536 }, rootVersion: 1 });
    await settle();
    const sid = sessionId(SERVER_NONCE, NONCE, node.address);
    writer.rekey({ sid, node: node.address });
    const welcome = { sid, serverTime: this.clock.now(), state: 'active', protocol: ['1'], heartbeatMs: 15_000 };
    say('welcome', { ...welcome, config: null, jobs: [] });
    await settle();
    expect(this.session.open).to.equal(true);
    return this;
  }
  /** Ends it, and all its timers. */
  async end(): Promise<void> {
    this.#events?.closed(1006);
    await this.session.done;
    expect(this.clock.waiting).to.equal(0);
  }
}

describe('the backlog of a session, as the node sees it', () => {
  it('holds the engine back above 1 MiB and lets it go on at 256 KiB', async () => {
    const backlog = await new Backlog().open();
    backlog.bytes = 1 << 20;
    expect(backlog.session.congested).to.equal(true);
    let free = false;
    void backlog.session.writable().then(() => {
      free = true;
    });
    backlog.bytes = (256 << 10) + 1;
    await backlog.clock.advance(100);
    expect(free).to.equal(false);
    backlog.bytes = 256 << 10;
    await backlog.clock.advance(100);
    expect(free).to.equal(true);
    await backlog.end();
  });
});
