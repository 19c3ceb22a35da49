import type { MinimalAgent } from '../agent/index.ts';
import {
  type Case,
  expectEqual,
  expectThat,
  isInteger,
  type Json,
  list,
  object,
  type Peer,
  spoiled,
  ZERO32,
} from '../kit/index.ts';
import { expectClean, type NetworkContext } from './network-context.ts';

/** The code with which the network closes after `act` in a fresh session. */
const closes = async (agent: MinimalAgent, act: (peer: Peer) => void, wanted: number[]): Promise<string> => {
  await agent.hangUp();
  const { peer } = await agent.connect();
  act(peer);
  const { code, reason } = await peer.closeWithin(5_000);
  expectThat(wanted.includes(code), `expected ${wanted.join(' or ')}, closed with ${code} ${reason}`);
  expectClean(peer);
  return `closed ${code} ${reason}`;
};
const refuses = async (
  agent: MinimalAgent,
  greet: (peer: Peer, challenge: Json) => void,
  wanted: number,
  ms = 5_000,
): Promise<string> => {
  await agent.hangUp();
  const { peer, challenge } = await agent.open();
  greet(peer, challenge);
  const { code, reason } = await peer.closeWithin(ms);
  expectThat(code === wanted, `expected ${wanted}, closed with ${code} ${reason}`);
  expectThat(!peer.frames.some(({ header }) => header.t === 'welcome'), 'a welcome came all the same');
  return `closed ${code} ${reason}`;
};
const all = async (ways: Record<string, () => Promise<string>>): Promise<string> => {
  const seen: string[] = [];
  for (const [name, way] of Object.entries(ways))
    try {
      seen.push(`${name}: ${await way()}`);
    } catch (error) {
      throw new Error(`${name}: ${(error as Error).message}`);
    }
  return seen.join('; ');
};

/** §3 and §6: handshake, frames, one live session per identity. */
export const networkSocketCases: Case<NetworkContext>[] = [
  {
    section: '3',
    title: 'an upgrade without the subprotocol resultity.v1 is answered 426',
    run: async ({ agent }) => {
      expectEqual(await agent.upgrade(['resultity.v0']), 426, 'status for another subprotocol');
      expectEqual(await agent.upgrade([]), 426, 'status for none');
      return '426 for another and for none';
    },
  },
  {
    section: '3',
    title: 'the challenge comes within 2 s, signed by an online key under the empty session',
    run: async ({ agent }) => {
      const from = performance.now();
      const { peer, challenge } = await agent.open();
      const ms = Math.round(performance.now() - from);
      expectClean(peer);
      expectEqual(peer.socket.protocol, 'resultity.v1', 'subprotocol');
      expectEqual(peer.socket.extensions, '', 'extensions (no per-message deflate)');
      const bytes = Number(object(challenge.limits).frameBytes);
      expectThat(bytes >= 65_536 && bytes <= 16_777_216, `limits.frameBytes is ${bytes}`);
      expectEqual(challenge.rootVersion, agent.root.version, 'rootVersion');
      expectThat(ms < 3_000, `it took ${ms} ms`);
      await peer.close();
      return `after ${ms} ms, frames ≤ ${bytes} bytes`;
    },
  },
  {
    section: '3',
    title: 'hello is answered by welcome with the session, time, state, heartbeatMs, config and jobs',
    run: async (context) => {
      const { agent } = context;
      const { peer, welcome } = await agent.connect();
      expectClean(peer);
      expectEqual(welcome.sid, peer.sid, 'sid = sha256(serverNonce ‖ clientNonce ‖ node)');
      expectThat(isInteger(welcome.serverTime), 'serverTime is an integer');
      expectThat(list(welcome.protocol).includes('1'), 'protocol names "1"');
      expectEqual(welcome.heartbeatMs, context.heartbeatMs, 'heartbeatMs = ttl.heartbeatMs');
      expectEqual(object(welcome.config).digest, object(agent.config).digest, 'config.digest');
      expectEqual(welcome.jobs, [], 'jobs');
      await peer.close(4000);
      return `state ${welcome.state}, heartbeat every ${welcome.heartbeatMs} ms`;
    },
  },
  {
    section: '4',
    title: 'a heartbeat that shows a loaded model makes the node active, hanging up takes it out of rotation',
    run: async (context) => {
      const { agent } = context;
      const peer = await context.ready();
      const state = async () => (await agent.client.get(`/v1/status/nodes/${agent.node}`)).body;
      const before = await state();
      await peer.close(4000);
      agent.stopBeating();
      await new Promise((resolve) => setTimeout(resolve, 300));
      const after = await state();
      expectEqual(before.state, 'active', 'state with a session');
      expectThat(after.state !== 'active', 'still active without a session');
      return `active, then ${after.state} (${list(after.reasons).join(', ')})`;
    },
  },
  {
    section: '6',
    title: 'hello: a wrong audience, a wrong or malleated signature, another session’s frame is 4401',
    run: async ({ agent, second }) => {
      const { peer: old } = await agent.connect();
      const recorded = old.lastSent;
      const way =
        (over: Json, wrong: object = {}) =>
        () =>
          refuses(agent, (peer, c) => void peer.send('hello', agent.hello(peer, c, over), wrong), 4401);
      return all({
        'wrong audience': way({ audience: 'another.example.com' }),
        'another key': way({}, { key: second.key }),
        malleated: way({}, { spoil: (sig: string) => Object.values(spoiled(sig))[0] ?? '' }),
        'sig without 0x': way({}, { spoil: (sig: string) => sig.slice(2) }),
        'signed under the empty session': way({}, { sid: ZERO32 }),
        'signed as the network': way({}, { side: 'net' }),
        'a recorded hello': () => refuses(agent, (peer) => peer.socket.send(recorded), 4401),
      });
    },
  },
  {
    section: '6',
    title: 'no hello within 5 s is 4401',
    run: ({ agent }) => refuses(agent, () => {}, 4401, 9_000),
  },
  {
    section: '6',
    title: 'hello of a node that never registered is 4403',
    run: ({ stranger }) => refuses(stranger, (peer, c) => void peer.send('hello', stranger.hello(peer, c)), 4403),
  },
  {
    section: '6',
    title: 'before hello: another type, a malformed frame or a schema error is 4400',
    run: ({ agent }) =>
      all({
        'a heartbeat first': () =>
          refuses(
            agent,
            (peer, c) => {
              agent.hello(peer, c);
              peer.send('heartbeat', agent.heartbeat(null));
            },
            4400,
          ),
        'no LF': () => refuses(agent, (peer) => peer.socket.send('{"v":1}'), 4400),
        'hello without bootId': () =>
          refuses(
            agent,
            (peer, c) => {
              const { bootId: _, ...rest } = agent.hello(peer, c);
              peer.send('hello', rest);
            },
            4400,
          ),
      }),
  },
  {
    section: '3',
    title: 'a gap, a repeated seq or a repeated frame closes 4010',
    run: ({ agent }) =>
      all({
        gap: () => closes(agent, (peer) => void peer.send('heartbeat', agent.heartbeat(null), { seq: 3 }), [4010]),
        repeated: () => closes(agent, (peer) => void peer.send('heartbeat', agent.heartbeat(null), { seq: 1 }), [4010]),
        replayed: () =>
          closes(
            agent,
            (peer) => {
              peer.send('heartbeat', agent.heartbeat(null));
              peer.socket.send(peer.lastSent);
            },
            [4010],
          ),
      }),
  },
  {
    section: '3',
    title: 'a frame of another session with the right seq, or a wrong signature, closes 4401',
    run: async ({ agent, second }) => {
      const { peer } = await agent.connect();
      const recorded = peer.send('heartbeat', agent.heartbeat(null));
      await peer.close(4000);
      const way = (wrong: object) => () =>
        closes(agent, (p) => void p.send('heartbeat', agent.heartbeat(null), wrong), [4401]);
      return all({
        'another session': () => closes(agent, (p) => p.socket.send(recorded), [4401]),
        malleated: way({ spoil: (sig: string) => Object.values(spoiled(sig))[0] ?? '' }),
        'another key': way({ key: second.key }),
        'sig without 0x': way({ spoil: (sig: string) => sig.slice(2) }),
        'empty sig': way({ spoil: () => '' }),
      });
    },
  },
  {
    section: '6',
    title: 'a missing sig, in hello and after it, closes 4401 and not 4400',
    run: ({ agent }) =>
      all({
        'in hello': () =>
          refuses(agent, (peer, c) => void peer.send('hello', agent.hello(peer, c), { spoil: () => undefined }), 4401),
        later: () =>
          closes(agent, (p) => void p.send('heartbeat', agent.heartbeat(null), { spoil: () => undefined }), [4401]),
      }),
  },
  {
    section: '6',
    title: 'a second hello, a type of the other side, schema and header errors close 4400',
    run: ({ agent }) =>
      all({
        'second hello': () =>
          closes(
            agent,
            (peer) => {
              const { sid } = peer;
              const again = agent.hello(peer, { serverNonce: ZERO32 });
              peer.sid = sid;
              peer.send('hello', again);
            },
            [4400],
          ),
        'job.offer of a node': () => closes(agent, (p) => void p.send('job.offer', { jobId: 'x', attempt: 1 }), [4400]),
        'welcome of a node': () => closes(agent, (p) => void p.send('welcome', {}), [4400]),
        'schema of heartbeat': () => closes(agent, (p) => void p.send('heartbeat', { bootId: 1 }), [4400]),
        'payload is a list': () => closes(agent, (p) => void p.send('heartbeat', '[]'), [4400]),
        'duplicate key': () =>
          closes(agent, (p) => void p.send('job.accept', '{"jobId":"a","jobId":"a","attempt":1}'), [4400]),
        'empty payload': () => closes(agent, (p) => void p.send('heartbeat', ''), [4400]),
        'header no JSON': () => closes(agent, (p) => p.socket.send('x\n{}'), [4400]),
        'header above 4 KiB': () =>
          closes(agent, (p) => p.socket.send(`{"v":1,"x":"${'x'.repeat(4_096)}"}\n{}`), [4400]),
        binary: () => closes(agent, (p) => p.socket.send(Buffer.from('{}\n{}')), [4400]),
      }),
  },
  {
    section: '6',
    title: 'a frame above limits.frameBytes closes 4413 or 1009',
    run: async ({ agent }) => {
      await agent.hangUp();
      const { peer, challenge } = await agent.open();
      peer.send('hello', agent.hello(peer, challenge));
      await peer.next('welcome');
      const bytes = Number(object(challenge.limits).frameBytes);
      peer.send('heartbeat', agent.heartbeat(null, { x: 'x'.repeat(bytes) }));
      const { code } = await peer.closeWithin(5_000);
      expectThat(code === 4413 || code === 1009, `closed with ${code}`);
      return `closed ${code}`;
    },
  },
  {
    section: '3',
    title: 'an unknown type is answered once with error unknown_type, x- types and errors never',
    run: async ({ agent }) => {
      await agent.hangUp();
      const { peer } = await agent.connect();
      peer.send('zzz.unknown', {});
      peer.send('zzz.unknown', '');
      peer.send('x-mine', { a: 1 });
      peer.send('error', { code: 'something', message: 'an error is never answered' });
      peer.send('zzz.other', {});
      await peer.next('error', 3_000);
      await peer.next('error', 3_000);
      peer.send('heartbeat', agent.heartbeat(null, { unknownField: { a: [1] } }));
      const more = await peer.maybe('error', 700);
      expectThat(!more, `a third answer: ${more?.payload}`);
      const codes = peer.frames.filter(({ header }) => header.t === 'error').map(({ body }) => body.code);
      expectEqual(codes, ['unknown_type', 'unknown_type'], 'codes');
      expectThat(!peer.closeCode, `the session ended with ${peer.closeCode?.code}`);
      expectClean(peer);
      await peer.close(4000);
      return 'two types, two answers; the session went on';
    },
  },
  {
    section: '3',
    title: 'an equal or higher incarnation supersedes the old socket with 4409, a lower one is answered 4409',
    run: async ({ second }) => {
      const { peer: first } = await second.connect();
      const { peer: equal } = await second.connect();
      expectEqual((await first.closeWithin(3_000)).code, 4409, 'code of the first');
      second.incarnation += 1;
      const { peer: higher } = await second.connect();
      expectEqual((await equal.closeWithin(3_000)).code, 4409, 'code of the second');
      const { peer: lower, challenge } = await second.open();
      lower.send('hello', second.hello(lower, challenge, { incarnation: second.incarnation - 1 }));
      expectEqual((await lower.closeWithin(3_000)).code, 4409, 'code of the lower one');
      expectThat(!higher.closeCode, 'the lower one superseded the live session');
      const { body } = await second.client.get(`/v1/status/nodes/${second.node}`);
      expectEqual(body.incarnation, second.incarnation, 'incarnation in the status');
      await second.hangUp();
      return '4409 for both, the highest stays connected';
    },
  },
  {
    section: '3',
    title: 'a forged hello does not raise the incarnation',
    run: async ({ agent, second }) => {
      const over = { incarnation: second.incarnation + 1_000_000 };
      await refuses(
        second,
        (peer, c) => void peer.send('hello', second.hello(peer, c, over), { key: agent.key }),
        4401,
      );
      const { welcome } = await second.connect();
      await second.hangUp();
      return `the old incarnation is still welcome (${welcome.state})`;
    },
  },
];
