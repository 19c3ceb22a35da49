import { expect } from 'chai';
import { FakeClock, settle } from '../../test/support/fake-clock.ts';
import { SignerKit, testSigner } from '../../test/support/signer-kit.ts';
import { createLogger } from '../lib/log.ts';
import { FrameWriter, type Hello, isTerminalClose, sessionId, type Welcome } from '../protocol/index.ts';
import { Connection } from './connection.ts';
import { afterSession, FRESH } from './reconnect.ts';
import { type Inbound, Session } from './session.ts';
import type { SocketEvents } from './socket.ts';

const ONLINE = testSigner('network');
const NODE = testSigner('node');
const SERVER_NONCE = `0x${'1'.repeat(64)}` as const;
const CLIENT_NONCE = `0x${'2'.repeat(64)}` as const;

/** One session over a socket in memory, with the network's end in the test's hands. */
class Peer {
  readonly clock: FakeClock;
  readonly domain = new SignerKit().domain;
  readonly network = new FrameWriter('net', this.domain, ONLINE);
  readonly sent: string[] = [];
  readonly heard: Inbound[] = [];
  jobs: Hello['jobs'] = [];
  closed: { code: number; reason: string } | undefined;
  terminatedAt: number | undefined;
  buffered = 0;
  paused = 0;
  onMessage: (message: Inbound) => void = (m) => void this.heard.push(m);
  events!: SocketEvents;
  readonly session: Session;

  constructor(clock = new FakeClock()) {
    this.clock = clock;
    this.session = new Session({
      open: (told) => {
        this.events = told;
        return {
          send: (text) => void this.sent.push(text),
          ping: () => {},
          close: (code, reason) => {
            this.closed ??= { code, reason };
          },
          terminate: () => {
            this.terminatedAt ??= this.clock.monotonic();
            told.closed(1006);
          },
          buffered: () => this.buffered,
          pause: () => void this.paused++,
          resume: () => {},
        };
      },
      clock: this.clock,
      logger: createLogger('test', 'silent'),
      domain: this.domain,
      signer: NODE,
      nonce: () => CLIENT_NONCE,
      now: () => this.clock.now(),
      onlineKeys: async () => [ONLINE.address],
      hello: async () => ({ jobs: this.jobs }) as unknown as Hello,
      onWelcome: () => {},
      onMessage: (message) => this.onMessage(message),
    });
  }

  frame(t: string, payload: object | string): string {
    return this.network.write(t, typeof payload === 'string' ? payload : JSON.stringify(payload), this.clock.now());
  }
  async say(t: string, payload: object | string): Promise<void> {
    this.events.message(this.frame(t, payload));
    await settle();
  }
  async raw(text: string): Promise<void> {
    this.events.message(text);
    await settle();
  }
  async challenge(): Promise<void> {
    await this.say('challenge', { serverNonce: SERVER_NONCE, limits: { frameBytes: 65_536 }, rootVersion: 1 });
  }
  async welcome(over: Partial<Welcome> = {}): Promise<this> {
    await this.challenge();
    const sid = sessionId(SERVER_NONCE, CLIENT_NONCE, NODE.address);
    this.network.rekey({ sid, node: NODE.address });
    const welcome = { sid, serverTime: this.clock.now(), state: 'registered', protocol: ['1'], heartbeatMs: 15_000 };
    await this.say('welcome', { ...welcome, config: null, jobs: [], ...over });
    return this;
  }
}

const PING = { action: 'ping', reason: 'a test' };
/** Code of §6 → what of the network's makes this node send it. */
const SENDS: [number, string, (peer: Peer) => Promise<void>][] = [
  [4400, 'a frame without LF', (p) => p.raw('{"v":1}')],
  [4400, 'a header that is no JSON', (p) => p.raw('{"v":1,\n{}')],
  [4400, 'a header of another version', (p) => p.raw(p.frame('control', PING).replace('"v":1', '"v":2'))],
  [4400, 'a payload that breaks its schema', (p) => p.say('control', { action: 'dance', reason: '' })],
  [4400, 'a payload that is no JSON', (p) => p.say('control', '{"action":')],
  [4400, 'an empty payload of a known type', (p) => p.say('control', '')],
  [4400, 'a second challenge', (p) => p.challenge()],
  [4400, 'a second welcome', async (p) => void (await p.say('welcome', {}))],
  [4400, 'a type of its own side', (p) => p.say('job.accept', { jobId: 'x', attempt: 1 })],
  [4401, 'a signature over other bytes', (p) => p.raw(p.frame('control', PING).replace('a test', 'b test'))],
  [4401, 'a malformed signature', (p) => p.raw(p.frame('control', PING).replace(/"sig":"0x../, '"sig":"0x'))],
  [4401, 'a missing signature', (p) => p.raw(p.frame('control', PING).replace(/,"sig":"[^"]*"/, ''))],
  [
    4401,
    'a frame of another session',
    async (p) => {
      p.network.rekey({ sid: `0x${'9'.repeat(64)}`, node: NODE.address });
      await p.say('control', PING);
    },
  ],
  [
    4010,
    'a gap in seq',
    async (p) => {
      p.frame('control', PING);
      await p.say('control', PING);
    },
  ],
  [
    4010,
    'a frame twice',
    async (p) => {
      const twice = p.frame('control', PING);
      await p.raw(twice);
      await p.raw(twice);
    },
  ],
  [4413, 'a frame above the limit', (p) => p.say('control', { ...PING, x: 'x'.repeat(70_000) })],
  [
    4004,
    'a message that its own program fails at',
    async (p) => {
      p.onMessage = () => {
        throw new Error('a bug');
      };
      await p.say('control', PING);
    },
  ],
  [
    4008,
    'not taking 8 MiB of what it is sent',
    async (p) => {
      p.buffered = 8 << 20;
      p.session.send('heartbeat', {});
      await settle();
    },
  ],
  [
    4008,
    'not taking 1 MiB for 10 s',
    async (p) => {
      p.buffered = 1 << 20;
      await p.clock.advance(12_000);
    },
  ],
];
/** What the network may close with, and whether the node then comes back by the back-off of §6. */
const RECEIVED: [number, boolean][] = [
  ...[1000, 1001, 1006, 1011, 1012, 4000, 4001, 4004, 4008, 4009, 4010, 4029, 4999].map((c): [number, boolean] => [
    c,
    true,
  ]),
  ...[1009, 4400, 4401, 4403, 4409, 4413, 4426].map((c): [number, boolean] => [c, false]),
];

describe('close codes of a session', () => {
  for (const [code, what, act] of SENDS)
    it(`closes ${code} for ${what}`, async () => {
      const peer = await new Peer().welcome();
      await act(peer);
      expect(peer.closed?.code).to.equal(code);
      expect(peer.session.open).to.equal(false);
      // the other end does not answer: it is cut, after 1 s when it is slow
      const since = peer.clock.monotonic();
      await peer.clock.advance(5_000);
      expect((peer.terminatedAt ?? Number.NaN) - since).to.be.at.most(code === 4008 ? 1_000 : 3_000);
      const end = await peer.session.done;
      expect(end).to.include({ code, own: true, welcomed: true });
      // a code that it sent itself is never terminal
      expect(afterSession(end, 0, FRESH, 0, () => 0.5)).to.deep.include({ kind: 'wait', ms: 250, register: false });
      expect(peer.clock.waiting).to.equal(0);
    });

  for (const [what, ms, start] of [
    ['no challenge within 15 s', 15_000, async () => new Peer()],
    [
      'no welcome within 20 s',
      20_000,
      async () => {
        const peer = new Peer();
        await peer.challenge();
        return peer;
      },
    ],
  ] as [string, number, () => Promise<Peer>][])
    it(`ends with 4009 after ${what}`, async () => {
      const peer = await start();
      await peer.clock.advance(ms - 1);
      expect(peer.terminatedAt).to.equal(undefined);
      await peer.clock.advance(1);
      expect(await peer.session.done).to.include({ code: 4009, own: true, welcomed: false });
    });

  it('closes 4401 for a welcome of another session, and 4400 for frames before their time', async () => {
    expect((await new Peer().welcome({ sid: `0x${'8'.repeat(64)}` })).closed?.code).to.equal(4401);
    const early = new Peer();
    await early.say('control', PING);
    expect(early.closed?.code).to.equal(4400);
  });

  for (const [code, back] of RECEIVED)
    it(`takes ${code} from the network for ${back ? 'a reason to come back' : 'terminal'}`, async () => {
      const peer = await new Peer().welcome();
      peer.events.closed(code);
      const end = await peer.session.done;
      expect(end).to.include({ code, own: false, welcomed: true });
      expect(isTerminalClose(code)).to.equal(!back);
      const next = afterSession(end, 0, FRESH, 0, () => 0.5);
      expect(next).to.deep.include({ kind: 'wait', ms: back ? 250 : 600_000 });
      expect(peer.clock.waiting).to.equal(0);
    });

  it('ignores 4409 on a socket that it has replaced by itself', async () => {
    const clock = new FakeClock();
    const peers: Peer[] = [];
    const stop = new AbortController();
    const connection = new Connection({
      clock,
      logger: createLogger('test', 'silent'),
      register: async () => {},
      beforeHello: async () => {},
      openSession: () => {
        peers.push(new Peer(clock));
        return (peers.at(-1) as Peer).session;
      },
      onEnd: () => undefined,
      random: () => 0.5,
    });
    const run = connection.run(stop.signal);
    await settle();
    const [old] = peers as [Peer];
    await old.welcome();
    // half-open: nothing is heard for 40 s, and the process opens another socket
    await clock.advance(41_000);
    const [, fresh] = peers as [Peer, Peer];
    await fresh.welcome();
    old.events.closed(4409);
    await old.say('bye', { reason: 'replaced', retryAfterMs: 600_000 });
    await clock.advance(1_000);
    expect(peers).to.have.length(2);
    expect(connection.session).to.equal(fresh.session);
    expect(await old.session.done).to.include({ code: 4009, own: true });
    stop.abort();
    fresh.events.closed(1006);
    expect(await run).to.equal('stopped');
    expect(clock.waiting).to.equal(0);
  });

  for (const [status, code] of [
    [401, 4401],
    [403, 4403],
    [426, 4426],
    [503, 1006],
  ] as const)
    it(`takes an upgrade answered ${status} for ${code}`, async () => {
      const peer = new Peer();
      peer.events.closed(1006, status);
      expect(await peer.session.done).to.include({ code, own: false, welcomed: false });
    });

  it('says hello with the jobs that fit into the smallest frame limit, running ones first', async () => {
    const peer = new Peer();
    const result = { attempt: 1, state: 'result' as const, deltas: 7 };
    peer.jobs = [
      { jobId: 'runs', attempt: 1, state: 'running', deltas: 3 },
      ...Array.from({ length: 1_023 }, (_, i) => ({ jobId: `01JDVECTOR${i}`.padEnd(128, 'x'), ...result })),
    ];
    await peer.challenge();
    const [hello = ''] = peer.sent;
    expect(Buffer.byteLength(hello)).to.be.within(64_000, 65_536);
    const { jobs } = JSON.parse(hello.slice(hello.indexOf('\n')));
    expect(jobs).to.deep.equal(peer.jobs.slice(0, jobs.length));
    expect(jobs[0].jobId).to.equal('runs');
  });

  it('takes over retryAfterMs of a bye, ignores experimental types and answers 16 unknown ones once each', async () => {
    const peer = await new Peer().welcome();
    await peer.say('x-dance', '');
    for (let i = 0; i < 20; i++) await peer.say(`new.type${i}`, '');
    await peer.say('new.type0', '');
    const errors = peer.sent.filter((text) => text.includes('"t":"error"'));
    expect(errors).to.have.length(16);
    await peer.say('error', { code: 'unknown_type', message: 'x' });
    expect(peer.sent.filter((text) => text.includes('"t":"error"'))).to.have.length(16);
    await peer.say('bye', { reason: 'restart', retryAfterMs: 7_000 });
    peer.events.closed(4001);
    expect(await peer.session.done).to.include({ code: 4001, retryAfterMs: 7_000 });
  });

  it('stops reading at 64 frames that wait, so that a fast network cannot fill its memory', async () => {
    const peer = await new Peer().welcome();
    for (let i = 0; i < 100; i++) peer.events.message(peer.frame('control', PING));
    expect(peer.paused).to.equal(1);
    await settle(40);
    expect(peer.heard).to.have.length(100);
  });
});
